//! The platforms that the review compares, on the same two instances of 2 vCPU and 4 GiB, priced from public prices.

use serde::Serialize;
use simulator::platform::ALB_IDLE_TIMEOUT_S_MAX;

use super::Text;
use super::evidence::Evidence;
use super::words::say;

const HOURS: f64 = 730.0;
const SECONDS: f64 = HOURS * 3600.0;

/// One platform.
#[derive(Clone, Debug, Serialize)]
pub struct Alternative {
    /// Its name.
    pub name: String,
    /// Longest silent request in seconds that it carries, at its most generous setting; none where there is no limit.
    pub silent_request_s_max: Option<u64>,
    /// Share of the generations that such a request can wait for.
    pub share_within: f64,
    /// Two instances of 2 vCPU and 4 GiB, always on, in dollars a month.
    pub compute_usd_month: f64,
    /// With database, cache, network and storage, where the review names them.
    pub total_usd_month: Option<f64>,
    /// What a price does not say.
    pub note: Text,
    /// Where limit and prices were read, and when.
    pub source: Text,
}

/// App Runner, active: dollars per vCPU-hour and GB-hour.
const APP_RUNNER: [f64; 2] = [0.064, 0.007];
/// Supabase Pro, Upstash's fixed 250 MB, and the review's own $3 of S3.
const SUPABASE_UPSTASH_S3: [f64; 3] = [25.0, 10.0, 3.0];
/// Cloud Run, instance-based, tier 1: dollars per vCPU-second and GiB-second.
const CLOUD_RUN: [f64; 2] = [0.000_018, 0.000_002];
/// Railway: dollars per vCPU-month and GB-month.
const RAILWAY: [f64; 2] = [20.0, 10.0];
/// Render's smallest plan that has 4 GB for this: Pro, unofficial.
const RENDER_PRO: f64 = 85.0;

/// Instances, vCPU and GiB that the platforms are compared with.
const INSTANCES: f64 = 2.0;
const VCPU: f64 = 2.0;
const GIB: f64 = 4.0;

/// Two instances always on.
fn always_on(per_vcpu: f64, per_gib: f64, units: f64) -> f64 {
    INSTANCES * (VCPU * per_vcpu + GIB * per_gib) * units
}

/// App Runner's compute, as the review's option A would need it.
pub(super) fn app_runner_usd() -> f64 {
    always_on(APP_RUNNER[0], APP_RUNNER[1], HOURS)
}

/// Supabase and Upstash, which stand for RDS and `ElastiCache` in it.
pub(super) fn companions_usd() -> f64 {
    let [supabase, upstash, _] = SUPABASE_UPSTASH_S3;
    supabase + upstash
}

/// The review's option A as a whole.
pub(super) fn option_a_usd() -> f64 {
    app_runner_usd() + SUPABASE_UPSTASH_S3.iter().sum::<f64>()
}

/// Cloud Run's two instances.
pub(super) fn cloud_run_usd() -> f64 {
    always_on(CLOUD_RUN[0], CLOUD_RUN[1], SECONDS)
}

/// Railway's two instances.
pub(super) fn railway_usd() -> f64 {
    always_on(RAILWAY[0], RAILWAY[1], 1.0)
}

/// Seconds after which each platform ends a silent request.
pub(super) const APP_RUNNER_LIMIT_S: u64 = 120;
/// See [`APP_RUNNER_LIMIT_S`].
pub(super) const CLOUD_RUN_LIMIT_S: u64 = 3600;
/// See [`APP_RUNNER_LIMIT_S`].
pub(super) const RAILWAY_LIMIT_S: u64 = 300;
const RENDER_LIMIT_S: u64 = 6000;

pub(super) fn rows(evidence: &Evidence) -> Vec<Alternative> {
    let bill = evidence.proposal_bill();
    let row = |name: &str, limit_s: u64, compute: f64, total: Option<f64>, note: Text, source| {
        Alternative {
            name: name.to_owned(),
            silent_request_s_max: Some(limit_s),
            share_within: evidence.share_within_s(limit_s),
            compute_usd_month: compute,
            total_usd_month: total,
            note,
            source,
        }
    };
    vec![
        row(
            "ECS Fargate + ALB",
            ALB_IDLE_TIMEOUT_S_MAX.into(),
            bill.fargate().as_usd(),
            Some(bill.total().as_usd()),
            say!(
                "The limit is a setting whose default is 60 s; a stopped task gets at most 120 s, and a NAT gateway cuts a silent call to OpenAI after 350 s.",
                "El límite es un ajuste cuyo valor por defecto es 60 s; una tarea detenida recibe 120 s como máximo, y un NAT corta una llamada silenciosa a OpenAI a los 350 s."
            ),
            say!(
                "price book simulator/prices/us-east-1.toml; botocore 1.44.5",
                "lista de precios simulator/prices/us-east-1.toml; botocore 1.44.5"
            ),
        ),
        row(
            "App Runner + Supabase + Upstash",
            APP_RUNNER_LIMIT_S,
            app_runner_usd(),
            Some(option_a_usd()),
            say!(
                "Closed to new customers since spring 2026; its CPU is throttled between requests, so work in the background is not safe either. Supabase's smallest database takes 60 direct connections.",
                "Cerrado a clientes nuevos desde la primavera de 2026; la CPU se frena entre peticiones, así que tampoco es seguro trabajar en segundo plano. La base más pequeña de Supabase admite 60 conexiones directas."
            ),
            say!(
                "https://aws.amazon.com/apprunner/pricing/, https://docs.aws.amazon.com/apprunner/latest/dg/develop.html (2026-10-01); Supabase and Upstash: their repositories' documentation (2026-08-21)",
                "https://aws.amazon.com/apprunner/pricing/, https://docs.aws.amazon.com/apprunner/latest/dg/develop.html (2026-10-01); Supabase y Upstash: la documentación de sus repositorios (2026-08-21)"
            ),
        ),
        row(
            "Cloud Run",
            CLOUD_RUN_LIMIT_S,
            cloud_run_usd(),
            None,
            say!(
                "Default 300 s. Ten seconds between SIGTERM and the end: a held request dies on every deployment.",
                "Por defecto 300 s. Diez segundos entre SIGTERM y el final: una petición abierta muere en cada despliegue."
            ),
            say!(
                "https://cloud.google.com/run/pricing, https://docs.cloud.google.com/run/docs/configuring/request-timeout (2026-10-01)",
                "https://cloud.google.com/run/pricing, https://docs.cloud.google.com/run/docs/configuring/request-timeout (2026-10-01)"
            ),
        ),
        row(
            "Render",
            RENDER_LIMIT_S,
            INSTANCES * RENDER_PRO,
            None,
            say!(
                "Limit and price are users' reports; no official page was found. The plan is Pro.",
                "El límite y el precio son testimonios de usuarios; no se encontró página oficial. El plan es Pro."
            ),
            say!(
                "users' reports (2026-11-24), unofficial",
                "testimonios de usuarios (2026-11-24), no oficiales"
            ),
        ),
        row(
            "Railway",
            RAILWAY_LIMIT_S,
            railway_usd(),
            None,
            say!(
                "Five minutes without data, fifteen in all: a generation of 15 minutes does not fit even when it streams.",
                "Cinco minutos sin datos, quince en total: una generación de 15 minutos no cabe ni aunque envíe datos."
            ),
            say!(
                "https://github.com/railwayapp/docs, content/docs/pricing/plans.md and .../specs-and-limits.md (2026-08-21)",
                "https://github.com/railwayapp/docs, content/docs/pricing/plans.md y .../specs-and-limits.md (2026-08-21)"
            ),
        ),
    ]
}
