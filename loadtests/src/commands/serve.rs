//! `sizing serve`: the page on which to try a sizing.

use anyhow::{Context, Result};
use loadtests::command_line::ServeArguments;
use loadtests::exit_code::Outcome;
use loadtests::requirements::Requirements;
use loadtests::serve::{Cost, Lab, listen, serve};

use super::console::say;
use super::files::{existing, read_calibration};

pub(crate) fn run(arguments: &ServeArguments) -> Result<Outcome> {
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let file = &arguments.calibration;
    let cost = Cost::new(&read_calibration(file)?, file, arguments.vcpu_score);
    let lab = Lab::new(cost, (requirements, &arguments.slo))?;
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let listener = runtime.block_on(listen(arguments.port))?;
    let address = listener.local_addr().context("find the port")?;
    say(&format!("What if: http://{address}/ (Ctrl-C ends it)"))?;
    // Both ends are wanted ones: a page is served until somebody has enough of it.
    let (end, ended) = tokio::sync::watch::channel(false);
    ctrlc::set_handler(move || {
        end.send_replace(true);
    })
    .context("listen for Ctrl-C")?;
    let told = |mut ended: tokio::sync::watch::Receiver<bool>| async move {
        // The handler lives as long as the process, so its channel does not close.
        let _ = ended.wait_for(|ended| *ended).await;
    };
    runtime.block_on(async {
        tokio::select! {
            result = serve(listener, lab, told(ended.clone())) => result,
            // A browser may keep its connection open: nobody waits for it.
            () = told(ended) => Ok(()),
        }
    })?;
    runtime.shutdown_background();
    Ok(Outcome::Success)
}
