//! Every default of a scenario, in one place; the README's reference repeats them.

use crate::time::Duration;

pub(super) fn seed() -> u64 {
    42
}
pub(super) fn horizon() -> Duration {
    Duration::from_hours(24)
}
pub(super) fn warmup() -> Duration {
    Duration::from_hours(1)
}
pub(super) fn poll_every() -> Duration {
    Duration::from_millis(2_500)
}
pub(super) fn steps_per_generation() -> u32 {
    5
}
pub(super) fn attempts_max() -> u32 {
    5
}
pub(super) fn start_delay() -> Duration {
    Duration::from_secs(55)
}
pub(super) fn alb_idle_timeout() -> Duration {
    Duration::from_secs(60)
}
pub(super) fn deregistration_delay() -> Duration {
    Duration::from_secs(300)
}
pub(super) fn stop_timeout() -> Duration {
    Duration::from_secs(30)
}
pub(super) fn nat_gateways() -> u32 {
    1
}
pub(super) fn db_instance_class() -> String {
    "db.t4g.micro".to_owned()
}
pub(super) fn db_storage_gb() -> u32 {
    20
}
pub(super) fn cpu_target_percent() -> f64 {
    70.0
}
pub(super) fn memory_target_percent() -> f64 {
    80.0
}
pub(super) fn queue_depth_per_task_target() -> f64 {
    1.0
}
pub(super) fn scale_out_cooldown() -> Duration {
    Duration::from_secs(60)
}
pub(super) fn scale_in_cooldown() -> Duration {
    Duration::from_secs(300)
}
pub(super) fn minimum_healthy_percent() -> u32 {
    100
}
pub(super) fn maximum_percent() -> u32 {
    200
}
pub(super) fn pool_connections_max() -> u32 {
    30
}
pub(super) fn worker_boot() -> Duration {
    Duration::from_secs(7)
}
pub(super) fn health_check_interval() -> Duration {
    Duration::from_secs(30)
}
pub(super) fn health_check_timeout() -> Duration {
    Duration::from_secs(5)
}
pub(super) fn health_check_unhealthy_count() -> u32 {
    2
}
pub(super) fn health_check_cpu_s() -> f64 {
    0.0015
}
pub(super) fn redis_memory_mib() -> f64 {
    384.0
}
pub(super) fn redis_connections_max() -> u32 {
    65_000
}
pub(super) fn redis_connections_per_task() -> u32 {
    1
}
pub(super) fn redis_session_kib() -> f64 {
    1.0
}
pub(super) fn redis_session_lasts() -> Duration {
    Duration::from_hours(24)
}
pub(super) fn zones() -> u32 {
    2
}
pub(super) fn tokens_per_generation() -> u32 {
    50_000
}
pub(super) fn requests_per_task_target() -> f64 {
    1000.0
}
/// Whether a key is left out when a scenario is written, so that one without it reads as it always did.
pub(super) fn are_usual_tokens(tokens: &u32) -> bool {
    *tokens == tokens_per_generation()
}
pub(super) fn are_usual_requests(target: &f64) -> bool {
    target.to_bits() == requests_per_task_target().to_bits()
}
