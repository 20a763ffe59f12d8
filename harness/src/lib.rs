//! Starts Postgres, Redis, S3 and a scripted OpenAI for tests and for development.

pub mod openai;
