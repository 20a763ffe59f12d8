# Validation, up to 1,000 users: the review's "MVP" column. One task, so that sessions may live in it.

# "2 vCPU -> 1 vCPU". A worker waits for OpenAI nearly all of its time, so one vCPU carries many.
task_cpu           = 1024
task_memory_mib    = 2048
generation_workers = 24

# "Redis in-memory": a second task would not know the sessions of the first.
tasks_min          = 1
tasks_desired      = 1
tasks_max          = 1
autoscaling_metric = "none"
cache_mode         = "none"

# "2 NAT Gateways -> 1 NAT Gateway".
nat_gateways           = 1
alb_idle_timeout_s     = 60
deregistration_delay_s = 30
stop_timeout_s         = 30

# "Multi-AZ RDS -> Single AZ".
db_instance_class = "db.t4g.micro"
db_multi_az       = false
