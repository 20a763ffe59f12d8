# The infrastructure review of 2025-10-22, to the letter.

# "CPU: 2048 (2 vCPU), Memory: 4096 MB (4 GB)", "6 Gunicorn workers".
task_cpu           = 2048
task_memory_mib    = 4096
generation_workers = 6

# "Desired: 2 tasks, Min: 1, Max: 3 (auto-scaling)", "CPU > 70 %", "Memory > 80 %", "Cooldown: 60s out, 300s in".
tasks_min                         = 1
tasks_desired                     = 2
tasks_max                         = 3
autoscaling_metric                = "cpu_and_memory"
autoscaling_cpu_target_percent    = 70
autoscaling_memory_target_percent = 80
scale_out_cooldown_s              = 60
scale_in_cooldown_s               = 300

# "2 NAT Gateways", "Deregistration delay: 30s". The review says nothing of the load balancer's idle
# time-out nor of the stop time-out, so AWS's defaults hold.
nat_gateways           = 2
alb_idle_timeout_s     = 60
deregistration_delay_s = 30
stop_timeout_s         = 30

# "db.t4g.micro, Multi-AZ: disabled por defecto", "cache.t4g.micro, Single node".
db_instance_class = "db.t4g.micro"
db_multi_az       = false
cache_mode        = "elasticache"
