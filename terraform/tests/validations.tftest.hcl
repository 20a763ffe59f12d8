# Every validation refuses what it is for. A run breaks one rule of each variable.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "us_east_1"
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  image_tag          = "0123abc"
  task_cpu           = 1024
  task_memory_mib    = 2048
  generation_workers = 24
  tasks_min          = 1
  tasks_desired      = 2
  tasks_max          = 4

  # Nothing but the rule that is broken may stop a plan.
  fargate_vcpu_quota = 1000
}

run "sizing" {
  command = plan

  variables {
    task_cpu                          = 2000
    cpu_architecture                  = "RISCV"
    generation_workers                = 0
    tasks_min                         = 0
    autoscaling_metric                = "requests"
    autoscaling_cpu_target_percent    = 0
    autoscaling_memory_target_percent = 101
    autoscaling_queue_depth_target    = 0
    scale_out_cooldown_s              = -1
    scale_in_cooldown_s               = 0.5
    nat_gateways                      = 3
    alb_idle_timeout_s                = 4001
    deregistration_delay_s            = 3601
    stop_timeout_s                    = 121
    db_instance_class                 = "t4g.micro"
    cache_mode                        = "memcached"
  }

  expect_failures = [
    var.task_cpu,
    var.cpu_architecture,
    var.generation_workers,
    var.tasks_min,
    var.autoscaling_metric,
    var.autoscaling_cpu_target_percent,
    var.autoscaling_memory_target_percent,
    var.autoscaling_queue_depth_target,
    var.scale_out_cooldown_s,
    var.scale_in_cooldown_s,
    var.nat_gateways,
    var.alb_idle_timeout_s,
    var.deregistration_delay_s,
    var.stop_timeout_s,
    var.db_instance_class,
    var.cache_mode,
  ]
}

run "sizing_at_its_other_ends" {
  command = plan

  variables {
    # 256 CPU units have at most 2048 MiB.
    task_cpu                          = 256
    task_memory_mib                   = 4096
    tasks_min                         = 3
    tasks_max                         = 2
    generation_workers                = 100001
    alb_idle_timeout_s                = 0
    deregistration_delay_s            = -1
    stop_timeout_s                    = 0
    autoscaling_cpu_target_percent    = 101
    autoscaling_memory_target_percent = 0
    nat_gateways                      = 0.5
  }

  expect_failures = [
    var.task_memory_mib,
    var.tasks_max,
    var.generation_workers,
    var.alb_idle_timeout_s,
    var.deregistration_delay_s,
    var.stop_timeout_s,
    var.autoscaling_cpu_target_percent,
    var.autoscaling_memory_target_percent,
    var.nat_gateways,
  ]
}

run "settings" {
  command = plan

  variables {
    # 2048 CPU units have at least 4096 MiB.
    task_cpu                           = 2048
    task_memory_mib                    = 3072
    tasks_desired                      = 5
    region                             = "useast1"
    name                               = "A"
    environment                        = "has space"
    generation_mode                    = "async"
    generation_duration_s              = 0
    fargate_vcpu_quota                 = 0
    request_timeout_s                  = 0
    vpc_cidr                           = "10.0.0.0/8"
    route53_zone_id                    = "example.com"
    health_check_path                  = "health"
    health_check_interval_s            = 4
    health_check_healthy_count         = 1
    health_check_unhealthy_count       = 11
    waf_requests_per_5_min_max         = 99
    image_tag                          = "latest"
    cache_sidecar_image                = "redis"
    collector_image                    = "collector"
    openai_model                       = ""
    spot_percent                       = 101
    deployment_strategy                = "canary"
    deployment_minimum_healthy_percent = -1
    database_engine_version            = "13"
    database_storage_gb                = 19
    database_backup_days               = 0
    database_read_replicas             = 6
    database_pool_max                  = 2
    database_connections_max           = 0
    cache_engine                       = "memcached"
    cache_node_type                    = "t4g.micro"
    cache_replicas                     = 6
    log_retention_days                 = 31
    alarm_email                        = "nobody"
  }

  expect_failures = [
    var.task_memory_mib,
    var.tasks_desired,
    var.region,
    var.name,
    var.environment,
    var.generation_mode,
    var.generation_duration_s,
    var.request_timeout_s,
    var.fargate_vcpu_quota,
    var.vpc_cidr,
    var.route53_zone_id,
    var.health_check_path,
    var.health_check_interval_s,
    var.health_check_healthy_count,
    var.health_check_unhealthy_count,
    var.waf_requests_per_5_min_max,
    var.image_tag,
    var.cache_sidecar_image,
    var.collector_image,
    var.openai_model,
    var.spot_percent,
    var.deployment_strategy,
    var.deployment_minimum_healthy_percent,
    var.database_engine_version,
    var.database_storage_gb,
    var.database_backup_days,
    var.database_read_replicas,
    var.database_pool_max,
    var.database_connections_max,
    var.cache_engine,
    var.cache_node_type,
    var.cache_replicas,
    var.log_retention_days,
    var.alarm_email,
  ]
}

run "settings_that_contradict_each_other" {
  command = plan

  variables {
    # 8192 CPU units come in steps of 4096 MiB.
    task_cpu                           = 8192
    task_memory_mib                    = 17408
    domain_name                        = "api.example.com"
    health_check_interval_s            = 5
    health_check_timeout_s             = 5
    deployment_minimum_healthy_percent = 100
    deployment_maximum_percent         = 100
    database_storage_gb                = 100
    database_storage_gb_max            = 100
    cache_engine                       = "valkey"
    cache_engine_version               = "6.2"
    region                             = "eu-west-1"
    waf_enabled                        = true
    cloudfront_enabled                 = true
  }

  expect_failures = [
    var.availability_zones,
    var.task_memory_mib,
    var.domain_name,
    var.health_check_timeout_s,
    var.deployment_maximum_percent,
    var.database_storage_gb_max,
    var.cache_engine_version,
    var.waf_enabled,
  ]
}
