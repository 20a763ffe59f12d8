# Every validation refuses what it is for. A run breaks one rule of each variable; a rule that compares variables
# is tried only where the others are right, because Terraform skips it otherwise. A test of loadtests reads these
# runs, and names the rule that none of them breaks.

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

run "too_small" {
  command = plan

  variables {
    generation_workers                 = 0
    tasks_min                          = 0
    autoscaling_cpu_target_percent     = 0
    autoscaling_memory_target_percent  = 0
    autoscaling_queue_depth_target     = 0
    scale_out_cooldown_s               = -1
    scale_in_cooldown_s                = -1
    nat_gateways                       = -1
    alb_idle_timeout_s                 = 0
    deregistration_delay_s             = -1
    stop_timeout_s                     = 0
    generation_duration_s              = 0
    request_timeout_s                  = 0
    fargate_vcpu_quota                 = 0
    health_check_interval_s            = 4
    health_check_healthy_count         = 1
    health_check_unhealthy_count       = 1
    waf_requests_per_5_min_max         = 99
    spot_percent                       = -1
    deployment_minimum_healthy_percent = -1
    database_storage_gb                = 19
    database_backup_days               = 0
    database_read_replicas             = -1
    database_pool_max                  = 2
    database_connections_max           = 0
    cache_replicas                     = -1
    log_retention_days                 = 0
    name                               = "a"
    environment                        = "a"
    openai_model                       = ""
    vpc_cidr                           = "10.0.0.0/8"
    # A domain without its zone.
    domain_name = "api.example.com"
    # 2048 CPU units have at least 4096 MiB.
    task_cpu        = 2048
    task_memory_mib = 3072
  }

  expect_failures = [
    var.generation_workers,
    var.tasks_min,
    var.autoscaling_cpu_target_percent,
    var.autoscaling_memory_target_percent,
    var.autoscaling_queue_depth_target,
    var.scale_out_cooldown_s,
    var.scale_in_cooldown_s,
    var.nat_gateways,
    var.alb_idle_timeout_s,
    var.deregistration_delay_s,
    var.stop_timeout_s,
    var.generation_duration_s,
    var.request_timeout_s,
    var.fargate_vcpu_quota,
    var.health_check_interval_s,
    var.health_check_healthy_count,
    var.health_check_unhealthy_count,
    var.waf_requests_per_5_min_max,
    var.spot_percent,
    var.deployment_minimum_healthy_percent,
    var.database_storage_gb,
    var.database_backup_days,
    var.database_read_replicas,
    var.database_pool_max,
    var.database_connections_max,
    var.cache_replicas,
    var.log_retention_days,
    var.name,
    var.environment,
    var.openai_model,
    var.vpc_cidr,
    var.domain_name,
    var.task_memory_mib,
  ]
}

run "too_large" {
  command = plan

  variables {
    generation_workers                 = 100001
    tasks_min                          = 1.5
    autoscaling_cpu_target_percent     = 101
    autoscaling_memory_target_percent  = 101
    scale_out_cooldown_s               = 86401
    scale_in_cooldown_s                = 86401
    nat_gateways                       = 3
    alb_idle_timeout_s                 = 4001
    deregistration_delay_s             = 3601
    stop_timeout_s                     = 121
    generation_duration_s              = 43201
    request_timeout_s                  = 4001
    health_check_interval_s            = 301
    health_check_healthy_count         = 11
    health_check_unhealthy_count       = 11
    waf_requests_per_5_min_max         = 2000000001
    spot_percent                       = 101
    deployment_minimum_healthy_percent = 101
    database_storage_gb                = 65537
    database_backup_days               = 36
    database_read_replicas             = 6
    database_pool_max                  = 3.5
    database_connections_max           = 1.5
    cache_replicas                     = 6
    log_retention_days                 = 31
    # The longest names that a load balancer can bear have 12 letters each.
    name        = "thirteen-long"
    environment = "thirteen-long"
    # 256 CPU units have at most 2048 MiB.
    task_cpu        = 256
    task_memory_mib = 4096
  }

  expect_failures = [
    var.generation_workers,
    var.tasks_min,
    var.autoscaling_cpu_target_percent,
    var.autoscaling_memory_target_percent,
    var.scale_out_cooldown_s,
    var.scale_in_cooldown_s,
    var.nat_gateways,
    var.alb_idle_timeout_s,
    var.deregistration_delay_s,
    var.stop_timeout_s,
    var.generation_duration_s,
    var.request_timeout_s,
    var.health_check_interval_s,
    var.health_check_healthy_count,
    var.health_check_unhealthy_count,
    var.waf_requests_per_5_min_max,
    var.spot_percent,
    var.deployment_minimum_healthy_percent,
    var.database_storage_gb,
    var.database_backup_days,
    var.database_read_replicas,
    var.database_pool_max,
    var.database_connections_max,
    var.cache_replicas,
    var.log_retention_days,
    var.name,
    var.environment,
    var.task_memory_mib,
  ]
}

run "fractions_and_unknown_words" {
  command = plan

  variables {
    task_cpu                = 2000
    cpu_architecture        = "RISCV"
    autoscaling_metric      = "requests"
    nat_gateways            = 0.5
    db_instance_class       = "t4g.micro"
    cache_mode              = "memcached"
    scale_out_cooldown_s    = 0.5
    scale_in_cooldown_s     = 0.5
    generation_workers      = 2.5
    generation_duration_s   = 1.5
    request_timeout_s       = 1.5
    spot_percent            = 0.5
    generation_mode         = "async"
    region                  = "useast1"
    vpc_cidr                = "10.0.0/16"
    route53_zone_id         = "example.com"
    health_check_path       = "health"
    image_tag               = "latest"
    cache_sidecar_image     = "redis"
    collector_image         = "collector"
    deployment_strategy     = "canary"
    database_engine_version = "13"
    cache_engine            = "memcached"
    cache_node_type         = "t4g.micro"
    alarm_email             = "nobody"
    tasks_min               = 3
    tasks_max               = 2
  }

  expect_failures = [
    var.task_cpu,
    var.cpu_architecture,
    var.autoscaling_metric,
    var.nat_gateways,
    var.db_instance_class,
    var.cache_mode,
    var.scale_out_cooldown_s,
    var.scale_in_cooldown_s,
    var.generation_workers,
    var.generation_duration_s,
    var.request_timeout_s,
    var.spot_percent,
    var.generation_mode,
    var.region,
    var.vpc_cidr,
    var.route53_zone_id,
    var.health_check_path,
    var.image_tag,
    var.cache_sidecar_image,
    var.collector_image,
    var.deployment_strategy,
    var.database_engine_version,
    var.cache_engine,
    var.cache_node_type,
    var.alarm_email,
    var.tasks_max,
  ]
}

run "values_that_contradict_each_other" {
  command = plan

  variables {
    # 8192 CPU units come in steps of 4096 MiB.
    task_cpu                           = 8192
    task_memory_mib                    = 17408
    tasks_desired                      = 5
    image_tag                          = "has space"
    domain_name                        = "API.example.com"
    route53_zone_id                    = "Z0123456789ABCDEFGHIJ"
    health_check_interval_s            = 5
    health_check_timeout_s             = 5
    deployment_minimum_healthy_percent = 100
    deployment_maximum_percent         = 100
    database_storage_gb                = 100
    database_storage_gb_max            = 100
    cache_engine                       = "valkey"
    cache_engine_version               = "6.2"
    # The zones are those of us-east-1, and so is CloudFront's firewall.
    region             = "eu-west-1"
    availability_zones = ["us-east-1a", "us-east-1b"]
    cloudfront_enabled = true
    waf_enabled        = true
  }

  expect_failures = [
    var.task_memory_mib,
    var.tasks_desired,
    var.image_tag,
    var.domain_name,
    var.health_check_timeout_s,
    var.deployment_maximum_percent,
    var.database_storage_gb_max,
    var.cache_engine_version,
    var.availability_zones,
    var.waf_enabled,
  ]
}
