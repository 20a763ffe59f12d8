# Each stage, with the very values that are deployed.

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
  image_tag = "0123abc"
}

run "proposal_values" {
  module {
    source = "./tests/environment"
  }

  variables {
    stage = "proposal"
  }

  assert {
    condition     = length(output.unknown) == 0
    error_message = "the run below does not hand on ${join(", ", output.unknown)}"
  }
}

run "proposal" {
  command = plan

  variables {
    task_cpu                          = run.proposal_values.values.task_cpu
    task_memory_mib                   = run.proposal_values.values.task_memory_mib
    generation_workers                = run.proposal_values.values.generation_workers
    tasks_min                         = run.proposal_values.values.tasks_min
    tasks_desired                     = run.proposal_values.values.tasks_desired
    tasks_max                         = run.proposal_values.values.tasks_max
    autoscaling_metric                = run.proposal_values.values.autoscaling_metric
    autoscaling_cpu_target_percent    = run.proposal_values.values.autoscaling_cpu_target_percent
    autoscaling_memory_target_percent = run.proposal_values.values.autoscaling_memory_target_percent
    autoscaling_queue_depth_target    = run.proposal_values.values.autoscaling_queue_depth_target
    scale_out_cooldown_s              = run.proposal_values.values.scale_out_cooldown_s
    scale_in_cooldown_s               = run.proposal_values.values.scale_in_cooldown_s
    nat_gateways                      = run.proposal_values.values.nat_gateways
    alb_idle_timeout_s                = run.proposal_values.values.alb_idle_timeout_s
    deregistration_delay_s            = run.proposal_values.values.deregistration_delay_s
    stop_timeout_s                    = run.proposal_values.values.stop_timeout_s
    db_instance_class                 = run.proposal_values.values.db_instance_class
    db_multi_az                       = run.proposal_values.values.db_multi_az
    cache_mode                        = run.proposal_values.values.cache_mode
    environment                       = run.proposal_values.values.environment
    generation_mode                   = run.proposal_values.values.generation_mode
    generation_duration_s             = run.proposal_values.values.generation_duration_s
    fargate_vcpu_quota                = run.proposal_values.values.fargate_vcpu_quota
    enforce_findings                  = run.proposal_values.values.enforce_findings
    cloudfront_enabled                = run.proposal_values.values.cloudfront_enabled
    waf_enabled                       = run.proposal_values.values.waf_enabled
    deployment_strategy               = run.proposal_values.values.deployment_strategy
    database_engine_version           = run.proposal_values.values.database_engine_version
    database_read_replicas            = run.proposal_values.values.database_read_replicas
    cache_engine                      = run.proposal_values.values.cache_engine
    cache_engine_version              = run.proposal_values.values.cache_engine_version
    cache_replicas                    = run.proposal_values.values.cache_replicas
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 2
    error_message = "the review has two NAT gateways"
  }

  assert {
    condition     = aws_ecs_task_definition.backend.cpu == "2048" && aws_ecs_task_definition.backend.memory == "4096"
    error_message = "the review has tasks of 2 vCPU and 4 GB"
  }

  assert {
    condition     = one(aws_ecs_service.rolling).desired_count == 2
    error_message = "the review starts two tasks"
  }

  assert {
    condition     = one(aws_appautoscaling_target.tasks).min_capacity == 1 && one(aws_appautoscaling_target.tasks).max_capacity == 3
    error_message = "the review scales from one to three tasks"
  }

  assert {
    condition     = alltrue([for key, target in { cpu = 70, memory = 80 } : one(aws_appautoscaling_policy.predefined[key].target_tracking_scaling_policy_configuration).target_value == target])
    error_message = "the review scales at 70 % CPU and 80 % memory"
  }

  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.predefined : one(policy.target_tracking_scaling_policy_configuration).scale_out_cooldown == 60 && one(policy.target_tracking_scaling_policy_configuration).scale_in_cooldown == 300])
    error_message = "the review cools down for 60 s out and 300 s in"
  }

  assert {
    condition     = aws_db_instance.main.engine_version == "14" && aws_db_instance.main.instance_class == "db.t4g.micro" && aws_db_instance.main.multi_az == false
    error_message = "the review has a single PostgreSQL 14 on a micro"
  }

  assert {
    condition     = one(aws_elasticache_replication_group.main).engine_version == "6.2" && one(aws_elasticache_replication_group.main).num_cache_clusters == 1
    error_message = "the review has a single node of Redis 6.2"
  }

  assert {
    condition     = aws_lb_target_group.tasks["blue"].deregistration_delay == "30"
    error_message = "the review deregisters for 30 s"
  }

  assert {
    condition     = toset(keys(output.findings)) == toset(["alb_idle_timeout", "deregistration_delay", "stop_timeout"])
    error_message = "the plan must tell what breaks the proposal"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.main : contains(alarm.alarm_actions, aws_sns_topic.alarms.arn)]) && length(aws_cloudwatch_metric_alarm.main) == 6
    error_message = "six alarms must tell the topic"
  }

  # The first three are why the proposal breaks; the others cost time or money.
  expect_failures = [
    check.alb_idle_timeout,
    check.deregistration_delay,
    check.stop_timeout,
    check.deployment_surge,
    check.database_support,
    check.cache_support,
  ]
}

run "mvp_values" {
  module {
    source = "./tests/environment"
  }

  variables {
    stage = "mvp"
  }

  assert {
    condition     = length(output.unknown) == 0
    error_message = "the run below does not hand on ${join(", ", output.unknown)}"
  }
}

run "mvp" {
  command = plan

  variables {
    task_cpu                          = run.mvp_values.values.task_cpu
    task_memory_mib                   = run.mvp_values.values.task_memory_mib
    generation_workers                = run.mvp_values.values.generation_workers
    tasks_min                         = run.mvp_values.values.tasks_min
    tasks_desired                     = run.mvp_values.values.tasks_desired
    tasks_max                         = run.mvp_values.values.tasks_max
    autoscaling_metric                = run.mvp_values.values.autoscaling_metric
    autoscaling_cpu_target_percent    = run.mvp_values.values.autoscaling_cpu_target_percent
    autoscaling_memory_target_percent = run.mvp_values.values.autoscaling_memory_target_percent
    autoscaling_queue_depth_target    = run.mvp_values.values.autoscaling_queue_depth_target
    scale_out_cooldown_s              = run.mvp_values.values.scale_out_cooldown_s
    scale_in_cooldown_s               = run.mvp_values.values.scale_in_cooldown_s
    nat_gateways                      = run.mvp_values.values.nat_gateways
    alb_idle_timeout_s                = run.mvp_values.values.alb_idle_timeout_s
    deregistration_delay_s            = run.mvp_values.values.deregistration_delay_s
    stop_timeout_s                    = run.mvp_values.values.stop_timeout_s
    db_instance_class                 = run.mvp_values.values.db_instance_class
    db_multi_az                       = run.mvp_values.values.db_multi_az
    cache_mode                        = run.mvp_values.values.cache_mode
    environment                       = run.mvp_values.values.environment
    generation_mode                   = run.mvp_values.values.generation_mode
    generation_duration_s             = run.mvp_values.values.generation_duration_s
    fargate_vcpu_quota                = run.mvp_values.values.fargate_vcpu_quota
    enforce_findings                  = run.mvp_values.values.enforce_findings
    cloudfront_enabled                = run.mvp_values.values.cloudfront_enabled
    waf_enabled                       = run.mvp_values.values.waf_enabled
    deployment_strategy               = run.mvp_values.values.deployment_strategy
    database_engine_version           = run.mvp_values.values.database_engine_version
    database_read_replicas            = run.mvp_values.values.database_read_replicas
    cache_engine                      = run.mvp_values.values.cache_engine
    cache_engine_version              = run.mvp_values.values.cache_engine_version
    cache_replicas                    = run.mvp_values.values.cache_replicas
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 1
    error_message = "the stage has one NAT gateway"
  }

  assert {
    condition     = length(aws_elasticache_replication_group.main) == 0
    error_message = "the stage has no managed cache"
  }

  assert {
    condition     = length(aws_appautoscaling_target.tasks) == 0
    error_message = "a single task does not scale"
  }

  assert {
    condition     = aws_db_instance.main.multi_az == false
    error_message = "the stage has a single database"
  }

  assert {
    condition     = length(output.findings) == 0
    error_message = "a stage must have no finding"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.main : contains(alarm.alarm_actions, aws_sns_topic.alarms.arn)]) && length(aws_cloudwatch_metric_alarm.main) == 6
    error_message = "six alarms must tell the topic"
  }
}

run "growth_values" {
  module {
    source = "./tests/environment"
  }

  variables {
    stage = "growth"
  }

  assert {
    condition     = length(output.unknown) == 0
    error_message = "the run below does not hand on ${join(", ", output.unknown)}"
  }
}

run "growth" {
  command = plan

  variables {
    task_cpu                          = run.growth_values.values.task_cpu
    task_memory_mib                   = run.growth_values.values.task_memory_mib
    generation_workers                = run.growth_values.values.generation_workers
    tasks_min                         = run.growth_values.values.tasks_min
    tasks_desired                     = run.growth_values.values.tasks_desired
    tasks_max                         = run.growth_values.values.tasks_max
    autoscaling_metric                = run.growth_values.values.autoscaling_metric
    autoscaling_cpu_target_percent    = run.growth_values.values.autoscaling_cpu_target_percent
    autoscaling_memory_target_percent = run.growth_values.values.autoscaling_memory_target_percent
    autoscaling_queue_depth_target    = run.growth_values.values.autoscaling_queue_depth_target
    scale_out_cooldown_s              = run.growth_values.values.scale_out_cooldown_s
    scale_in_cooldown_s               = run.growth_values.values.scale_in_cooldown_s
    nat_gateways                      = run.growth_values.values.nat_gateways
    alb_idle_timeout_s                = run.growth_values.values.alb_idle_timeout_s
    deregistration_delay_s            = run.growth_values.values.deregistration_delay_s
    stop_timeout_s                    = run.growth_values.values.stop_timeout_s
    db_instance_class                 = run.growth_values.values.db_instance_class
    db_multi_az                       = run.growth_values.values.db_multi_az
    cache_mode                        = run.growth_values.values.cache_mode
    environment                       = run.growth_values.values.environment
    generation_mode                   = run.growth_values.values.generation_mode
    generation_duration_s             = run.growth_values.values.generation_duration_s
    fargate_vcpu_quota                = run.growth_values.values.fargate_vcpu_quota
    enforce_findings                  = run.growth_values.values.enforce_findings
    cloudfront_enabled                = run.growth_values.values.cloudfront_enabled
    waf_enabled                       = run.growth_values.values.waf_enabled
    deployment_strategy               = run.growth_values.values.deployment_strategy
    database_engine_version           = run.growth_values.values.database_engine_version
    database_read_replicas            = run.growth_values.values.database_read_replicas
    cache_engine                      = run.growth_values.values.cache_engine
    cache_engine_version              = run.growth_values.values.cache_engine_version
    cache_replicas                    = run.growth_values.values.cache_replicas
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 2
    error_message = "the stage has two NAT gateways"
  }

  assert {
    condition     = aws_db_instance.main.multi_az == true
    error_message = "the stage has a standby of the database"
  }

  assert {
    condition     = length(aws_appautoscaling_policy.queue_depth) == 1
    error_message = "the stage scales on the queue"
  }

  assert {
    condition     = length(aws_elasticache_replication_group.main) == 1
    error_message = "the stage has a managed cache"
  }

  assert {
    condition     = length(output.findings) == 0
    error_message = "a stage must have no finding"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.main : contains(alarm.alarm_actions, aws_sns_topic.alarms.arn)]) && length(aws_cloudwatch_metric_alarm.main) == 6
    error_message = "six alarms must tell the topic"
  }

  # Six tasks take the whole quota: a deployment that comes while they run has to wait.
  expect_failures = [check.deployment_surge]
}

run "scale_values" {
  module {
    source = "./tests/environment"
  }

  variables {
    stage = "scale"
  }

  assert {
    condition     = length(output.unknown) == 0
    error_message = "the run below does not hand on ${join(", ", output.unknown)}"
  }
}

run "scale" {
  command = plan

  variables {
    task_cpu                          = run.scale_values.values.task_cpu
    task_memory_mib                   = run.scale_values.values.task_memory_mib
    generation_workers                = run.scale_values.values.generation_workers
    tasks_min                         = run.scale_values.values.tasks_min
    tasks_desired                     = run.scale_values.values.tasks_desired
    tasks_max                         = run.scale_values.values.tasks_max
    autoscaling_metric                = run.scale_values.values.autoscaling_metric
    autoscaling_cpu_target_percent    = run.scale_values.values.autoscaling_cpu_target_percent
    autoscaling_memory_target_percent = run.scale_values.values.autoscaling_memory_target_percent
    autoscaling_queue_depth_target    = run.scale_values.values.autoscaling_queue_depth_target
    scale_out_cooldown_s              = run.scale_values.values.scale_out_cooldown_s
    scale_in_cooldown_s               = run.scale_values.values.scale_in_cooldown_s
    nat_gateways                      = run.scale_values.values.nat_gateways
    alb_idle_timeout_s                = run.scale_values.values.alb_idle_timeout_s
    deregistration_delay_s            = run.scale_values.values.deregistration_delay_s
    stop_timeout_s                    = run.scale_values.values.stop_timeout_s
    db_instance_class                 = run.scale_values.values.db_instance_class
    db_multi_az                       = run.scale_values.values.db_multi_az
    cache_mode                        = run.scale_values.values.cache_mode
    environment                       = run.scale_values.values.environment
    generation_mode                   = run.scale_values.values.generation_mode
    generation_duration_s             = run.scale_values.values.generation_duration_s
    fargate_vcpu_quota                = run.scale_values.values.fargate_vcpu_quota
    enforce_findings                  = run.scale_values.values.enforce_findings
    cloudfront_enabled                = run.scale_values.values.cloudfront_enabled
    waf_enabled                       = run.scale_values.values.waf_enabled
    deployment_strategy               = run.scale_values.values.deployment_strategy
    database_engine_version           = run.scale_values.values.database_engine_version
    database_read_replicas            = run.scale_values.values.database_read_replicas
    cache_engine                      = run.scale_values.values.cache_engine
    cache_engine_version              = run.scale_values.values.cache_engine_version
    cache_replicas                    = run.scale_values.values.cache_replicas
  }

  assert {
    condition     = length(aws_ecs_service.blue_green) == 1 && length(aws_ecs_service.rolling) == 0
    error_message = "the stage deploys blue/green"
  }

  assert {
    condition     = length(aws_db_instance.replica) == 1
    error_message = "the stage has a read replica"
  }

  assert {
    condition     = one(aws_elasticache_replication_group.main).multi_az_enabled
    error_message = "the stage has a standby of the cache"
  }

  assert {
    condition     = length(aws_cloudfront_distribution.main) == 1 && length(aws_wafv2_web_acl.main) == 1
    error_message = "the stage has CloudFront and the firewall"
  }

  assert {
    condition     = length(output.findings) == 0
    error_message = "a stage must have no finding"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.main : contains(alarm.alarm_actions, aws_sns_topic.alarms.arn)]) && length(aws_cloudwatch_metric_alarm.main) == 6
    error_message = "six alarms must tell the topic"
  }
}
