//! The reference service, driven as the comparison drives it. Its 400 MB of Python packages are not
//! downloaded for a test: `cargo sizing compare` does that, and until then the test says that it is skipped.

use std::path::Path;
use std::time::Duration;

use harness::{ProviderChoice, Stack};
use loadtests::backend_process;
use loadtests::hardware::Hardware;
use loadtests::reference::cells::Cells;
use loadtests::reference::comparison::{Asked, Comparison, Part, Services, compare};
use loadtests::reference::environment::{Environment, NotMeasured};
use loadtests::reference::service::{CALLS_PER_GENERATION, Conditions, Kind, Service};
use loadtests::reference::table::differences;
use loadtests::reference::user::{Generation, User};
use loadtests::source_document::source_document;

use crate::backend;

const CONDITIONS: Conditions = Conditions {
    workers: 1,
    vcpu: 1.0,
    memory_mib: 2048,
    speedup: 600.0,
    generations: 1,
    repetitions: 1,
    rounds: 1,
    seed: 7,
};

/// Rules of the contract that the reference breaks: what it leaves out, and what `FastAPI` answers by itself.
const BROKEN: [&str; 12] = [
    "a body that cannot be read is a problem",
    "a body of another kind is a problem",
    "an order of more than 256 KiB is refused unread",
    "a damaged PDF is refused when it is uploaded",
    "the same file is kept once per user",
    "every answer carries a request id, and a sane one is kept",
    "an idempotency key makes one generation",
    "Prefer: wait answers with the finished generation",
    "a running generation is cancelled",
    "documents and generations are listed",
    "a document is deleted",
    "metrics and the interface's description are served",
];

/// The reference's environment; where there is none, says that the test is skipped.
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
fn environment() -> Option<Environment> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference");
    let found = Environment::find(&source, &harness::cache_folder());
    if found.is_none() {
        eprintln!(
            "skipped: the reference's environment is not made yet, `cargo sizing compare` makes it"
        );
    }
    found
}

/// One part of the services, natively, with these numbers of generations at a time.
async fn measured(
    kinds: &[Kind],
    part: Part,
    generations: &[u32],
    environment: Result<Environment, NotMeasured>,
) -> Comparison {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let binary = match backend() {
        Some(path) => path.into(),
        None => backend_process::build(&workspace).await.expect("it builds"),
    };
    let stack = Stack::start_with(ProviderChoice::Native)
        .await
        .expect("a stack");
    let services = Services {
        stack: &stack,
        binary: &binary,
        environment: &environment,
    };
    let document = source_document(3).expect("a PDF");
    let cells = Cells::new(generations.to_vec(), vec![CONDITIONS.vcpu]);
    let asked = Asked {
        polled_alike: true,
        kinds,
        parts: &[part],
        cells: &cells.expect("a grid"),
    };
    let hardware = Hardware::unknown();
    let comparison = compare(&services, hardware, CONDITIONS, asked, &document, |_| {})
        .await
        .expect("the backend can be measured");
    stack.stop().await.expect("nothing is left behind");
    comparison
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_keeps_the_contract_and_goes_on_without_the_reference() {
    let missing = Err(NotMeasured::Install("no network".to_owned()));
    let comparison = measured(&[Kind::Rust, Kind::FastApi], Part::Contract, &[1], missing).await;
    let rust = comparison.service(Kind::Rust).expect("measured");
    assert!(rust.contract.len() > 20);
    assert!(differences(rust).is_empty(), "{:#?}", rust.contract);
    assert!(comparison.service(Kind::FastApi).is_none());
    let (kind, reason) = &comparison.not_measured[0];
    assert_eq!(*kind, Kind::FastApi);
    assert!(reason.contains("no network"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_counted_in_every_cell_and_all_else_once() {
    let not_asked = Err(NotMeasured::NotAsked);
    let comparison = measured(&[Kind::Rust], Part::Costs, &[1, 3], not_asked).await;
    let costs = comparison.costs(Kind::Rust).expect("measured");
    for (found, generations) in costs.cells.iter().zip([1, 3]) {
        assert_eq!(found.cell.generations, generations);
        assert_eq!((found.asked, found.failed), (generations, 0));
        assert!(found.cpu_s_per_generation.value > 0.0, "{found:?}");
        assert!(found.polls_per_generation >= 1.0, "{found:?}");
        // Each has a slot: none waits for another to end.
        let pace = found.pace.expect("some have ended");
        let generation_s = CONDITIONS.generation().as_secs_f64();
        assert!(pace.beyond_openai_p95_s < generation_s, "{found:?}");
    }
    assert_eq!(costs.cells.len(), 2);
    assert!(comparison.base_cell(Kind::Rust).is_some());
    assert_eq!(costs.in_flight_max, u64::from(costs.in_flight_asked));
    assert!(costs.health.per_s > 0.0 && costs.poll.per_s > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
async fn the_reference_differs_from_the_contract_where_it_is_said_to() {
    let Some(environment) = environment() else {
        eprintln!(
            "not run: the reference's environment is not made yet, `cargo sizing compare` makes it"
        );
        return;
    };
    let comparison = measured(&[Kind::FastApi], Part::Contract, &[1], Ok(environment)).await;
    let reference = comparison
        .service(Kind::FastApi)
        .unwrap_or_else(|| panic!("{:?}", comparison.not_measured));
    assert_eq!(differences(reference), BROKEN, "{:#?}", reference.contract);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_writes_a_proposal_of_the_pages_it_says() {
    let Some(environment) = environment() else {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_of_the_reference_does_with_the_connection_it_holds() {
    let Some(environment) = environment() else {
        return;
    };
    let stack = Stack::start_with(ProviderChoice::Native)
        .await
        .expect("a stack");
    let service = Service::fastapi(&stack, CONDITIONS, &environment, false);
    let sandbox = service.sandbox().await.expect("its tables are made");
    let openai = CONDITIONS.openai().await.expect("a scripted OpenAI");
    // Polls wait for it until the generation has ended.
    let one = [
        ("DATABASE_POOL_MAX", "1".to_owned()),
        ("DATABASE_POOL_OVERFLOW", "0".to_owned()),
    ];
    let started = service
        .start(&sandbox, &openai, "one-connection", &one)
        .await
        .expect("it starts");
    let document = source_document(3).expect("a PDF");
    let user = User::enter(started.base_url(), document)
        .await
        .expect("register and log in");
    let begun = user.begin().await.expect("upload and create");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    let ended = user.follow(&begun.id, deadline).await;
    let log = std::fs::read_to_string(&started.log).unwrap_or_default();
    let ended = ended.unwrap_or_else(|| panic!("it does not end\n{log}"));
    assert!(ended.succeeded(), "{ended:?}\n{log}");
    started.stop().await;
    openai.stop().await;
    stack.stop().await.expect("nothing is left behind");
}

#[test]
fn a_sync_worker_is_refused_a_background_task() {
    let Some(environment) = environment() else {
        return;
    };
    let refused = |options: &[&str]| {
        let mut serve = std::process::Command::new(&environment.python);
        serve.arg(&environment.script).arg("serve").args(options);
        serve.env_remove("REFERENCE_MODE").envs([
            ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
            ("REDIS_URL", "redis://127.0.0.1:1"),
            ("S3_BUCKET", "none"),
            ("OPENAI_API_KEY", "scripted"),
        ]);
        let output = serve.output().expect("Python runs");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&["--worker-class", "sync", "--mode", "background"]);
    assert!(
        said.contains("read REFERENCE_MODE: ") && said.contains("must be sync, or left out"),
        "{said}"
    );
    let said = refused(&["--worker-class", "threads"]);
    assert!(said.contains("--worker-class: invalid choice"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_worker_of_the_reference_takes_no_order_before_it_has_answered_the_last() {
    let Some(environment) = environment() else {
        return;
    };
    let stack = Stack::start_with(ProviderChoice::Native)
        .await
        .expect("a stack");
    let service = Service::fastapi(&stack, CONDITIONS, &environment, false);
    let sandbox = service.sandbox().await.expect("its tables are made");
    let openai = CONDITIONS.openai().await.expect("a scripted OpenAI");
    let sync = [("REFERENCE_WORKER_CLASS", "sync".to_owned())];
    let started = service
        .start(&sandbox, &openai, "sync", &sync)
        .await
        .expect("it starts");
    let document = source_document(3).expect("a PDF");
    let user = User::enter(started.base_url(), document)
        .await
        .expect("register and log in");
    let document = user.upload().await.expect("an upload");
    let (one, other) = (user.apart().expect("TLS"), user.apart().expect("TLS"));
    let held = tokio::join!(one.hold(&document, "one"), other.hold(&document, "other"));
    let log = std::fs::read_to_string(&started.log).unwrap_or_default();
    let (Ok(one), Ok(other)) = held else {
        panic!("{held:?}\n{log}");
    };
    assert!(one.succeeded() && other.succeeded(), "{one:?} {other:?}");
    // A row is created by the worker that has accepted its order.
    let finished = |one: &Generation| one.finished_at.expect("it has ended");
    assert!(
        one.created_at >= finished(&other) || other.created_at >= finished(&one),
        "{one:?} {other:?}"
    );
    assert_eq!(
        openai.billing().responses_completed,
        u64::from(2 * CALLS_PER_GENERATION)
    );
    // Its clients are closed, and it goes in peace.
    started.terminate().await;
    assert!(started.has_gone_within(Duration::from_secs(30)).await);
    let log = std::fs::read_to_string(&started.log).unwrap_or_default();
    assert!(!log.contains("Traceback"), "{log}");
    started.stop().await;
    openai.stop().await;
    stack.stop().await.expect("nothing is left behind");
}
