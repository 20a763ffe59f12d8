//! Prometheus metrics of one process: what autoscaling and people on call look at.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::db::generations::QueueNumbers;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels of an HTTP request; the route is the pattern, so ids do not multiply the series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// HTTP method.
    pub method: &'static str,
    /// Route pattern.
    pub route: String,
    /// HTTP status.
    pub status: u16,
}

/// One label that says what kind of thing it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// Step, direction, outcome or error kind.
    pub kind: &'static str,
}

type HistogramFamily = Family<KindLabels, Histogram, fn() -> Histogram>;
type FloatGauge = Gauge<f64, AtomicU64>;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histogram,
    worker_slots: Gauge,
    worker_slots_busy: Gauge,
    queue_depth: Gauge,
    generations_running: Gauge,
    queue_oldest_age: FloatGauge,
    queue_depth_per_slot: FloatGauge,
    queue_depth_per_task: FloatGauge,
    worker_tasks: Gauge,
    wait: Histogram,
    steps: HistogramFamily,
    generations: Family<KindLabels, Counter>,
    tokens: Family<KindLabels, Counter>,
    upstream_errors: Family<KindLabels, Counter>,
    webhooks: Family<KindLabels, Counter>,
    openai_cost_usd_micros: Counter,
    openai_creates: Counter,
    openai_creates_uncertain: Counter,
    leases_lost: Counter,
    leases_rescued: Counter,
    rate_limited: Family<KindLabels, Counter>,
    rate_limits_unavailable: Counter,
}

fn long_buckets() -> Histogram {
    Histogram::new([
        0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 3600.0,
    ])
}

impl Metrics {
    /// Registers everything, for a process with so many worker slots.
    pub fn new(slots: usize) -> Self {
        let constructor: fn() -> Histogram = long_buckets;
        let mut metrics = Self {
            registry: Registry::with_prefix("allegiant"),
            requests: Family::default(),
            request_duration: Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
            ]),
            worker_slots: Gauge::default(),
            worker_slots_busy: Gauge::default(),
            queue_depth: Gauge::default(),
            generations_running: Gauge::default(),
            queue_oldest_age: Gauge::default(),
            queue_depth_per_slot: Gauge::default(),
            queue_depth_per_task: Gauge::default(),
            worker_tasks: Gauge::default(),
            wait: long_buckets(),
            steps: Family::new_with_constructor(constructor),
            generations: Family::default(),
            tokens: Family::default(),
            upstream_errors: Family::default(),
            webhooks: Family::default(),
            openai_cost_usd_micros: Counter::default(),
            openai_creates: Counter::default(),
            openai_creates_uncertain: Counter::default(),
            leases_lost: Counter::default(),
            leases_rescued: Counter::default(),
            rate_limited: Family::default(),
            rate_limits_unavailable: Counter::default(),
        };
        metrics
            .worker_slots
            .set(i64::try_from(slots).unwrap_or(i64::MAX));
        metrics.register();
        metrics.register_queue();
        metrics.register_limits();
        metrics
    }

    fn register_queue(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "queue_depth",
            "Generations that wait, in all processes",
            self.queue_depth.clone(),
        );
        registry.register(
            "generations_running",
            "Generations that run, in all processes",
            self.generations_running.clone(),
        );
        registry.register_with_unit(
            "queue_oldest_age",
            "Age of the oldest generation that waits",
            Unit::Seconds,
            self.queue_oldest_age.clone(),
        );
        registry.register(
            "queue_depth_per_slot",
            "Generations that wait, per worker slot of one task",
            self.queue_depth_per_slot.clone(),
        );
        registry.register(
            "queue_depth_per_task",
            "Generations that wait, per live worker task; with no task as for one",
            self.queue_depth_per_task.clone(),
        );
        registry.register(
            "worker_tasks",
            "Live tasks with workers",
            self.worker_tasks.clone(),
        );
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time to answer a request",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        registry.register(
            "worker_slots",
            "Generations this process can run at a time",
            self.worker_slots.clone(),
        );
        registry.register(
            "worker_slots_busy",
            "Generations this process runs",
            self.worker_slots_busy.clone(),
        );
        registry.register_with_unit(
            "generation_wait",
            "From accepted to first claimed",
            Unit::Seconds,
            self.wait.clone(),
        );
        registry.register_with_unit(
            "step_duration",
            "Time of a finished step",
            Unit::Seconds,
            self.steps.clone(),
        );
        registry.register(
            "generations",
            "Attempts by how they ended",
            self.generations.clone(),
        );
        registry.register("openai_tokens", "Tokens by direction", self.tokens.clone());
        registry.register(
            "openai_cost_usd_micros",
            "What the tokens cost, in millionths of a dollar",
            self.openai_cost_usd_micros.clone(),
        );
        registry.register(
            "upstream_errors",
            "Failed calls to OpenAI and S3",
            self.upstream_errors.clone(),
        );
        registry.register(
            "webhook_attempts",
            "Attempts to deliver a webhook, by what became of them",
            self.webhooks.clone(),
        );
        registry.register(
            "openai_creates",
            "Responses asked for",
            self.openai_creates.clone(),
        );
        registry.register(
            "openai_creates_uncertain",
            "Responses asked for where an earlier one may exist unknown",
            self.openai_creates_uncertain.clone(),
        );
        registry.register(
            "leases_lost",
            "Leases lost while the worker was alive",
            self.leases_lost.clone(),
        );
        registry.register(
            "leases_rescued",
            "Expired leases put back into the queue",
            self.leases_rescued.clone(),
        );
    }

    fn register_limits(&mut self) {
        self.registry.register(
            "rate_limited",
            "Requests refused by a rate limit",
            self.rate_limited.clone(),
        );
        self.registry.register(
            "rate_limits_unavailable",
            "Requests allowed because Redis did not answer for a rate limit",
            self.rate_limits_unavailable.clone(),
        );
    }

    /// Counts an answered request.
    pub fn request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.request_duration.observe(took.as_secs_f64());
    }

    /// Sets how many slots are busy.
    pub fn slots_busy(&self, busy: usize) {
        self.worker_slots_busy
            .set(i64::try_from(busy).unwrap_or(i64::MAX));
    }

    /// Records how long a generation waited before its first claim.
    pub fn waited(&self, wait: Duration) {
        self.wait.observe(wait.as_secs_f64());
    }

    /// Records a finished step.
    pub fn step(&self, kind: &'static str, took: Duration) {
        self.steps
            .get_or_create(&KindLabels { kind })
            .observe(took.as_secs_f64());
    }

    /// Counts the end of an attempt.
    pub fn attempt_ended(&self, outcome: &'static str) {
        self.generations
            .get_or_create(&KindLabels { kind: outcome })
            .inc();
    }

    /// Counts tokens.
    pub fn tokens(&self, input: i64, output: i64) {
        self.tokens
            .get_or_create(&KindLabels { kind: "input" })
            .inc_by(input.unsigned_abs());
        self.tokens
            .get_or_create(&KindLabels { kind: "output" })
            .inc_by(output.unsigned_abs());
    }

    /// Counts money.
    pub fn spent(&self, usd_micros: i64) {
        self.openai_cost_usd_micros
            .inc_by(usd_micros.unsigned_abs());
    }

    /// Counts a failed call to OpenAI or S3.
    pub fn upstream_error(&self, kind: &'static str) {
        self.upstream_errors
            .get_or_create(&KindLabels { kind })
            .inc();
    }

    /// Counts an attempt to deliver a webhook.
    pub fn webhook(&self, kind: &'static str) {
        self.webhooks.get_or_create(&KindLabels { kind }).inc();
    }

    /// Counts a response asked for; `uncertain` when an earlier one may exist that nobody knows the id of.
    pub fn openai_create(&self, uncertain: bool) {
        self.openai_creates.inc();
        if uncertain {
            self.openai_creates_uncertain.inc();
        }
    }

    /// Counts a lease that was lost while its worker was alive.
    pub fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    /// Counts expired leases put back into the queue.
    pub fn leases_rescued(&self, count: i64) {
        self.leases_rescued.inc_by(count.unsigned_abs());
    }

    /// Counts a request refused by a rate limit.
    pub fn rate_limited(&self, limit: &'static str) {
        self.rate_limited
            .get_or_create(&KindLabels { kind: limit })
            .inc();
    }

    /// Counts a request that no limit could be asked about.
    pub fn rate_limits_unavailable(&self) {
        self.rate_limits_unavailable.inc();
    }

    /// The text that Prometheus scrapes, with the queue's numbers when the database gave them.
    pub fn render(&self, queue: Option<QueueNumbers>) -> String {
        if let Some(numbers) = queue {
            self.queue_depth.set(numbers.queued);
            self.generations_running.set(numbers.running);
            self.queue_oldest_age.set(numbers.oldest_queued_s);
            let slots = u32::try_from(self.worker_slots.get())
                .unwrap_or(u32::MAX)
                .max(1);
            let queued = u32::try_from(numbers.queued).unwrap_or(u32::MAX);
            self.queue_depth_per_slot
                .set(f64::from(queued) / f64::from(slots));
            let tasks = u32::try_from(numbers.tasks).unwrap_or(u32::MAX).max(1);
            self.queue_depth_per_task
                .set(f64::from(queued) / f64::from(tasks));
            self.worker_tasks.set(numbers.tasks);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::new(6);
        metrics.step("write_outline", Duration::from_secs(2));
        metrics.tokens(10, 20);
        metrics.openai_create(true);
        metrics.slots_busy(3);
        let labels = RequestLabels {
            method: "GET",
            route: "/health".to_owned(),
            status: 200,
        };
        metrics.request(&labels, Duration::from_millis(1));
        let text = metrics.render(Some(QueueNumbers {
            queued: 12,
            running: 3,
            oldest_queued_s: 1.5,
            tasks: 4,
        }));
        for line in [
            "allegiant_worker_slots 6",
            "allegiant_worker_slots_busy 3",
            "allegiant_queue_depth 12",
            "allegiant_queue_depth_per_slot 2.0",
            "allegiant_queue_depth_per_task 3.0",
            "allegiant_worker_tasks 4",
            "allegiant_queue_oldest_age_seconds 1.5",
            r#"allegiant_openai_tokens_total{kind="output"} 20"#,
            "allegiant_openai_creates_uncertain_total 1",
            r#"allegiant_http_requests_total{method="GET",route="/health",status="200"} 1"#,
            r#"allegiant_step_duration_seconds_count{kind="write_outline"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
