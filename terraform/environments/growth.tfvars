# Growth, 1,000 to 10,000 users: the review's architecture with a standby and room to scale.

# Six tasks of 1 vCPU are all that the default quota of 6 vCPU allows. With 24 workers each, as in the MVP, the
# morning's rise outran autoscaling (95 % waited up to 2.5 min, `cargo sizing gate`); with 64 two tasks carry the
# busiest hour, and the other four are there for what nobody foresees.
task_cpu           = 1024
task_memory_mib    = 2048
generation_workers = 64

# "Auto-scaling mas agresivo": on the queue, which tells of load minutes before CPU would, if CPU ever does.
tasks_min                      = 2
tasks_desired                  = 2
tasks_max                      = 6
autoscaling_metric             = "queue_depth"
autoscaling_queue_depth_target = 1
scale_out_cooldown_s           = 60
scale_in_cooldown_s            = 300

# "Segundo NAT Gateway".
nat_gateways           = 2
alb_idle_timeout_s     = 60
deregistration_delay_s = 60
stop_timeout_s         = 60

# "Habilitar Multi-AZ en RDS".
db_instance_class = "db.t4g.micro"
db_multi_az       = true
cache_mode        = "elasticache"
