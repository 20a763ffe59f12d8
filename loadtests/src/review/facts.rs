//! What the answers take from others: limits and prices that no price book or scenario of this repository holds. Each
//! with its source and the day on which it was read or last confirmed.

/// Silence after which a NAT gateway drops a connection, in seconds.
/// <https://repost.aws/knowledge-center/vpc-troubleshoot-nat-gateway-connection>, 2026-11-24.
pub(super) const NAT_IDLE_S: f64 = 350.0;

/// Price of an hour of a network load balancer's capacity unit, in dollars; the balancer itself costs what an application
/// load balancer does. Infracost's `lb_test`, from the AWS Price List API, 2026-08-21.
pub(super) const NLCU_USD_HOUR: f64 = 0.006;

/// Price of an hour of an interface endpoint in one zone, in dollars. Infracost's `vpc_endpoint_test`, 2026-08-21.
pub(super) const INTERFACE_ENDPOINT_USD_HOUR: f64 = 0.01;

/// Endpoints that tasks without a way to the internet need: ECR (two), `CloudWatch` Logs, Secrets Manager; S3's is free.
pub(super) const INTERFACE_ENDPOINTS: f64 = 4.0;

/// vCPU that a region gives an account's on-demand Fargate tasks by default.
/// <https://docs.aws.amazon.com/general/latest/gr/ecs-service.html>, 2026-10-01.
pub(super) const FARGATE_VCPU_QUOTA: f64 = 6.0;

/// Share of each vCPU that a db.t4g.micro may use without spending credits, and its vCPU: AWS's table of the t4g
/// family, 2026-11-24.
pub(super) const T4G_MICRO_BASELINE: f64 = 0.1;
/// See [`T4G_MICRO_BASELINE`].
pub(super) const T4G_MICRO_VCPU: f64 = 2.0;

/// Connections seen on a db.t4g.micro: least and most of four reports; the formula on a nominal GiB says 112.
/// <https://gist.github.com/guizmaii/1cacffef793c2ba9645083c3e18b3d8c>, 2026-11-24.
pub(super) const T4G_MICRO_CONNECTIONS: [f64; 2] = [79.0, 87.0];

/// Connections of one task of this repository's backend: the default of `DATABASE_POOL_MAX`.
pub(super) const POOL_CONNECTIONS_PER_TASK: f64 = 10.0;

/// Seconds that a failover of RDS Multi-AZ typically takes, least and most.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZ.Failover.html>, 2026-10-01.
pub(super) const FAILOVER_S: [f64; 2] = [60.0, 120.0];

/// Extended support of PostgreSQL 14 from 2027-03-01, in dollars per vCPU and hour; standard support ends 2027-02-28.
/// <https://www.usage.ai/blogs/aws/reserved-instances/rds/extended-support/>, 2026-05-06; the date:
/// <https://github.com/endoflife-date/endoflife.date>, `products/amazon-rds-postgresql.md`, 2026-08-22.
pub(super) const EXTENDED_SUPPORT_USD_VCPU_HOUR: f64 = 0.1;

/// Months of standard support left on the day of the review, 2025-10-22: of PostgreSQL 14 (until 2027-02-28) and of
/// the newest version, 18 (until 2031-02-28). Source as [`EXTENDED_SUPPORT_USD_VCPU_HOUR`].
pub(super) const SUPPORT_MONTHS_LEFT: [f64; 2] = [16.0, 64.0];

/// Price of an hour of cache.t4g.micro with Valkey instead of Redis OSS, in dollars: AWS Price List API, 2026-10-02.
pub(super) const VALKEY_USD_HOUR: f64 = 0.0128;

/// Hours that an availability zone is assumed to be out in a year. Nobody publishes it; every answer that uses it says
/// so, and scales with it.
pub(super) const ZONE_OUT_H_PER_YEAR: f64 = 1.0;

/// Price of a million standard SQS requests, in dollars: Infracost's `sqs_queue_test`, 2026-08-21.
pub(super) const SQS_USD_PER_MILLION: f64 = 0.4;
/// Longest poll of an SQS queue, in seconds: botocore 1.44.5, `sqs/ReceiveMessage`.
pub(super) const SQS_LONG_POLL_S: f64 = 20.0;

/// Tokens of one generation, in and out: an assumption, since no length of a proposal is known.
pub(super) const TOKENS: [f64; 2] = [20_000.0, 30_000.0];
/// Dollars for a million tokens in and out, gpt-5, standard tier: litellm 1.109.1, 2026-11-24 (third party).
pub(super) const TOKEN_USD_PER_MILLION: [f64; 2] = [1.25, 10.0];
/// What the review sets aside for OpenAI, in dollars a month.
pub(super) const SEED_OPENAI_USD: f64 = 50.0;
/// Its whole month: 183 of infrastructure and 50 of OpenAI.
pub(super) const SEED_TOTAL_USD: f64 = 233.0;

/// Generations that a day brings over those of its busiest hour: `slo.toml` puts 8 % of a day into that hour.
pub(super) const DAY_OVER_PEAK_HOUR: f64 = 12.5;
/// Days of a month of 730 hours.
pub(super) const DAYS_PER_MONTH: f64 = 730.0 / 24.0;

/// Memory of a public `FastAPI` service of the proposal's kind once each of its six workers has written a PDF, in GiB, a
/// Chromium beside each included: median of three starts. `simulator/scenarios/fastapi.toml` has the rest of it.
/// <https://github.com/ricardoalt1515/h2o-allegiant-backend> at 273b7ad, run on 2026-11-24.
pub(super) const PUBLIC_FASTAPI_GIB: f64 = 2.3;
