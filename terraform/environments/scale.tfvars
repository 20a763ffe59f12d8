# Scale, more than 10,000 users. Redis with a standby, read replicas, CloudFront and the firewall are
# settings/scale.tfvars's part.

# 96 workers wait for OpenAI on 1 vCPU as 24 do. Two of the three tasks carry the busiest hour, so that losing one
# costs nobody a wait.
task_cpu           = 1024
task_memory_mib    = 2048
generation_workers = 96

tasks_min                      = 3
tasks_desired                  = 4
tasks_max                      = 12
autoscaling_metric             = "queue_depth"
autoscaling_queue_depth_target = 1
scale_out_cooldown_s           = 60
scale_in_cooldown_s            = 300

nat_gateways           = 2
alb_idle_timeout_s     = 120
deregistration_delay_s = 60
stop_timeout_s         = 120

# Blue and green together may open 240 connections: three times what a micro allows.
db_instance_class = "db.t4g.medium"
db_multi_az       = true
cache_mode        = "elasticache"
