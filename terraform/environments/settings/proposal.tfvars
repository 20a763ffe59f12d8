# What else the infrastructure review of 2025-10-22 says.

environment = "proposal"

# "Gunicorn (6 workers, timeout 900s)": the request stays open while the generation runs.
generation_mode       = "sync"
generation_duration_s = 900

# "PostgreSQL 14", "Redis 6.2".
database_engine_version = "14"
cache_engine            = "redis"
cache_engine_version    = "6.2"

# "Rolling updates configurado".
deployment_strategy = "rolling"

# The review's own values break some rules of findings.tf: a plan tells them, and goes on.
enforce_findings = false
