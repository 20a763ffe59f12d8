//! The service end to end, on real Postgres, Redis and S3 and a scripted OpenAI; each test in its own sandbox.

mod accounts;
mod allowances;
mod api;
mod app;
mod binary;
mod client;
mod crashes;
mod documents;
mod durability;
mod generations;
mod leases;
mod limits;
mod operations;
mod outages;
mod progress;
mod traces;
mod upstream;
mod webhooks;
