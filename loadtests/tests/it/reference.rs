//! The reference service, driven as the comparison drives it. Its 400 MB of Python packages are not
//! downloaded for a test: `cargo sizing compare` does that, and until then the test says that it is skipped.

use std::path::Path;
use std::time::Duration;

use harness::{ProviderChoice, Stack};
use loadtests::reference::environment::Environment;
use loadtests::reference::service::{CALLS_PER_GENERATION, Conditions, Kind, Service};
use loadtests::reference::user::User;
use loadtests::source_document::source_document;

const CONDITIONS: Conditions = Conditions {
    workers: 1,
    vcpu: 1.0,
    memory_mib: 2048,
    speedup: 600.0,
    generations: 1,
    repetitions: 1,
    seed: 7,
};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
async fn the_reference_writes_a_proposal_of_the_pages_it_says() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference");
    let Some(environment) = Environment::find(&source, &harness::cache_folder()) else {
        eprintln!(
            "skipped: the reference's environment is not made yet, `cargo sizing compare` makes it"
        );
        return;
    };
    let stack = Stack::start_with(ProviderChoice::Native)
        .await
        .expect("a stack");
    for tuned in [false, true] {
        let service = Service::fastapi(&stack, CONDITIONS, &environment, tuned);
        assert_ne!(service.kind, Kind::Rust);
        let sandbox = service.sandbox().await.expect("its tables are made");
        let openai = CONDITIONS.openai().await.expect("a scripted OpenAI");
        let started = service
            .start(&sandbox, &openai, "test", &[])
            .await
            .expect("it starts");
        let document = source_document(3).expect("a PDF");
        let user = User::enter(started.base_url(), document)
            .await
            .expect("register and log in");
        let begun = user.begin().await.expect("upload and create");
        let early = user
            .download(&begun.id)
            .await
            .expect_err("there is no PDF yet")
            .to_string();
        assert!(
            early.contains("409") && early.contains("urn:allegiant:problem:conflict"),
            "{early}"
        );
        let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
        let ended = user.follow(&begun.id, deadline).await;
        let log = std::fs::read_to_string(&started.log).unwrap_or_default();
        let ended = ended.unwrap_or_else(|| panic!("it does not end\n{log}"));
        assert!(ended.succeeded(), "{ended:?}\n{log}");
        let bytes = user.download(&begun.id).await.expect("a link to the PDF");
        let pdf = lopdf::Document::load_mem(&bytes).expect("a PDF that another library reads");
        assert_eq!(Some(pdf.get_pages().len()), ended.page_count);
        let billed = openai.billing().responses_completed;
        assert_eq!(
            billed,
            u64::from(CALLS_PER_GENERATION),
            "one response for each step"
        );
        started.stop().await;
        openai.stop().await;
    }
    stack.stop().await.expect("nothing is left behind");
}
