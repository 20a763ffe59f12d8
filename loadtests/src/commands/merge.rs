//! `sizing merge`: what several processes measured, joined.

use anyhow::{Context, Result};
use loadtests::command_line::MergeArguments;
use loadtests::exit_code::Outcome;
use loadtests::measurement::Measurement;
use loadtests::result_file;

use super::console::{complain, say};
use super::files::{json, write};

pub(crate) fn run(arguments: &MergeArguments) -> Result<Outcome> {
    let read = async {
        let mut texts = Vec::new();
        for source in &arguments.sources {
            texts.extend(result_file::read_all(source).await?);
        }
        anyhow::Ok(texts)
    };
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let texts: Vec<(String, String)> = runtime.block_on(read)?;
    let parts = texts
        .into_iter()
        .map(|(name, text)| {
            let part: Measurement = serde_json::from_str(&text)
                .with_context(|| format!("read {name}: it is no measurement of this version"))?;
            Ok((name, part))
        })
        .collect::<Result<Vec<_>>>()?;
    let joined = loadtests::merge::merge(parts)?;
    match &arguments.out {
        Some(file) => write(file, &json(&joined)?)?,
        None => say(&json(&joined)?)?,
    }
    match &joined.incomplete_because {
        None if joined.complete => Ok(Outcome::Success),
        reason => {
            let reason = reason.as_deref().unwrap_or("a part is partial");
            complain(&format!(
                "the joined result is partial and will not be judged: {reason}"
            ));
            Ok(Outcome::Failed)
        }
    }
}
