# What each toggle makes, and what is gone without it. Each further plan costs two seconds, so a run turns on
# whatever does not contradict; the comments in it say which toggle an assertion is of.

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
  tasks_max          = 3
}

override_resource {
  target          = aws_security_group.load_balancer
  override_during = plan
  values          = { id = "sg-balancer" }
}

override_resource {
  target          = aws_security_group.tasks
  override_during = plan
  values          = { id = "sg-tasks" }
}

override_resource {
  target          = aws_security_group.database
  override_during = plan
  values          = { id = "sg-database" }
}

override_resource {
  target          = aws_security_group.cache
  override_during = plan
  values          = { id = "sg-cache" }
}

override_resource {
  target          = aws_subnet.public
  override_during = plan
  values          = { id = "subnet-public" }
}

run "as_little_as_possible" {
  command = plan

  variables {
    nat_gateways                         = 0
    cache_mode                           = "none"
    tasks_desired                        = 1
    tasks_max                            = 1
    database_deletion_protection_enabled = false
    database_engine_version              = "17"
  }

  # --- No NAT gateway ---

  assert {
    condition     = length(aws_nat_gateway.main) == 0 && length(aws_eip.nat) == 0 && length(aws_route.private_nat) == 0
    error_message = "no NAT gateway means no address and no route to one"
  }

  assert {
    condition     = one(one(aws_ecs_service.rolling).network_configuration).assign_public_ip == true
    error_message = "without NAT a task needs a public address"
  }

  assert {
    condition     = contains(local.task_subnets, "subnet-public")
    error_message = "without NAT a task must be in a public subnet"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks_load_balancer.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.tasks_load_balancer.referenced_security_group_id == "sg-balancer"
    error_message = "a public task must still admit the load balancer only"
  }

  # --- No cache, no second task, nothing protected ---

  assert {
    condition     = length(aws_elasticache_replication_group.main) == 0 && length(aws_sqs_queue.generations) == 0 && length(aws_sns_topic_subscription.email) == 0 && toset(keys({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })) == toset(["backend", "migrate"])
    error_message = "none means none"
  }

  assert {
    condition     = !contains([for secret in({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].secrets : secret.name], "REDIS_URL")
    error_message = "the backend must keep sessions itself"
  }

  assert {
    condition     = aws_db_instance.main.deletion_protection == false && aws_db_instance.main.skip_final_snapshot
    error_message = "a throw-away stage must be removable"
  }

  assert {
    condition     = length(aws_db_instance.replica) == 0
    error_message = "no replica unless asked for"
  }

  assert {
    condition     = aws_db_instance.main.engine_version == "17" && aws_db_parameter_group.main.family == "postgres17"
    error_message = "the parameters must be those of the version that runs"
  }
}

run "everything_on" {
  command = plan

  variables {
    database_read_replicas         = 2
    db_multi_az                    = true
    database_engine_version        = "15"
    cache_replicas                 = 1
    cache_engine                   = "redis"
    cache_engine_version           = "7.1"
    dispatch_queue_enabled         = true
    generation_duration_s          = 900
    alarm_email                    = "oncall@example.com"
    log_retention_days             = 30
    task_protection_enabled        = true
    autoscaling_metric             = "queue_depth"
    autoscaling_queue_depth_target = 2
    scale_out_cooldown_s           = 60
    cloudfront_enabled             = true
  }

  # --- Database, cache, buckets, registry, queue, logs, alarms ---

  assert {
    condition     = aws_db_instance.main.storage_encrypted && alltrue(aws_db_instance.replica[*].storage_encrypted)
    error_message = "the disks must be encrypted"
  }

  assert {
    condition     = aws_db_instance.main.publicly_accessible == false && alltrue([for replica in aws_db_instance.replica : replica.publicly_accessible == false])
    error_message = "no database may have a public address"
  }

  assert {
    condition     = aws_db_instance.main.backup_retention_period == 7 && aws_db_instance.main.deletion_protection && aws_db_instance.main.skip_final_snapshot == false
    error_message = "the database must be backed up for 7 days and hard to delete"
  }

  assert {
    condition     = aws_db_instance.main.multi_az && length(aws_db_instance.replica) == 2
    error_message = "standby and replicas must be as asked for"
  }

  assert {
    condition     = aws_db_parameter_group.main.family == "postgres15" && contains([for parameter in aws_db_parameter_group.main.parameter : "${parameter.name}=${parameter.value}"], "rds.force_ssl=1")
    error_message = "TLS must be forced"
  }

  assert {
    condition     = length(terraform_data.database_password.input) >= 32 && aws_db_instance.main.username != "postgres"
    error_message = "the password must be generated, and the server's name checked"
  }

  assert {
    condition     = one(aws_elasticache_replication_group.main).at_rest_encryption_enabled == "true" && one(aws_elasticache_replication_group.main).transit_encryption_enabled && length(one(terraform_data.cache_password).input) >= 16
    error_message = "the cache must be encrypted and ask for a password"
  }

  assert {
    condition     = one(aws_elasticache_replication_group.main).num_cache_clusters == 2 && one(aws_elasticache_replication_group.main).automatic_failover_enabled
    error_message = "a replica must take over"
  }

  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.main : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets]) && length(aws_s3_bucket_public_access_block.main) == length(aws_s3_bucket.main)
    error_message = "every bucket must be private"
  }

  assert {
    condition     = length(aws_s3_bucket_server_side_encryption_configuration.main) == length(aws_s3_bucket.main)
    error_message = "every bucket must be encrypted"
  }

  assert {
    condition     = alltrue([for policy in aws_s3_bucket_policy.main : anytrue([for statement in jsondecode(policy.policy).Statement : statement.Effect == "Deny" && statement.Condition == { Bool = { "aws:SecureTransport" = "false" } }])])
    error_message = "every bucket must refuse plain HTTP"
  }

  assert {
    condition     = one(aws_s3_bucket_versioning.documents.versioning_configuration).status == "Enabled"
    error_message = "documents must be versioned"
  }

  assert {
    condition     = toset([for transition in one(aws_s3_bucket_lifecycle_configuration.documents.rule).transition : "${transition.days} ${transition.storage_class}"]) == toset(["90 STANDARD_IA", "180 GLACIER"]) && one(one(aws_s3_bucket_lifecycle_configuration.documents.rule).expiration).days == 365
    error_message = "documents must age as the review says"
  }

  assert {
    condition     = aws_ecr_repository.backend.image_tag_mutability == "IMMUTABLE" && one(aws_ecr_repository.backend.image_scanning_configuration).scan_on_push
    error_message = "images must be scanned and never change"
  }

  assert {
    condition     = jsondecode(aws_ecr_lifecycle_policy.backend.policy).rules[0].selection.countNumber == 10
    error_message = "ten images must be kept"
  }

  assert {
    condition     = one(aws_sqs_queue.generations).visibility_timeout_seconds == 1200 && one(aws_sqs_queue.generations).sqs_managed_sse_enabled
    error_message = "a message must stay hidden for longer than a generation takes"
  }

  assert {
    condition     = jsondecode(one(aws_sqs_queue.generations).redrive_policy).maxReceiveCount == 5 && length(aws_sqs_queue_policy.tls_only) == 2
    error_message = "a poisonous message must end somewhere"
  }

  assert {
    condition     = aws_cloudwatch_log_group.service.retention_in_days == 30 && alltrue([for group in aws_cloudwatch_log_group.database : group.retention_in_days == 30])
    error_message = "logs must be kept for 30 days"
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.main)) == toset(["cpu", "memory", "errors", "unanswered", "database_storage", "database_connections"])
    error_message = "the six alarms must be there"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.main["database_connections"].threshold == 63
    error_message = "four fifths of the 79 connections of a micro"
  }

  assert {
    condition     = one(aws_sns_topic_subscription.email).endpoint == "oncall@example.com"
    error_message = "somebody must be told"
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.main.dashboard_body).widgets) == 6
    error_message = "the dashboard must show six graphs"
  }

  # --- Permissions, and scaling on the queue ---

  assert {
    condition     = alltrue(flatten([for policy in [aws_iam_role_policy.execution.policy, aws_iam_role_policy.task.policy, aws_iam_role_policy.flow_log.policy] : [for statement in jsondecode(policy).Statement : [for action in flatten([statement.Action]) : !strcontains(action, "*")]]]))
    error_message = "no action may be a wildcard"
  }

  assert {
    condition     = alltrue(flatten([for policy in [aws_iam_role_policy.execution.policy, aws_iam_role_policy.task.policy] : [for statement in jsondecode(policy).Statement : !contains(statement.Resource, "*") || statement.Action == ["ecr:GetAuthorizationToken"]]]))
    error_message = "all resources may be meant only where the action knows none"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.task.policy, "secretsmanager")
    error_message = "the backend itself must not read secrets: it gets them at its start"
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.task.policy, "ecs:UpdateTaskProtection") && strcontains(aws_iam_role_policy.task.policy, "sqs:ReceiveMessage")
    error_message = "a toggle must bring its permission"
  }

  assert {
    condition     = length(aws_appautoscaling_policy.predefined) == 0 && one(one(aws_appautoscaling_policy.queue_depth).target_tracking_scaling_policy_configuration).target_value == 2
    error_message = "the queue must be followed, and nothing else"
  }

  assert {
    condition     = one(one(aws_appautoscaling_policy.queue_depth).target_tracking_scaling_policy_configuration).scale_out_cooldown == 60 && one(one(aws_appautoscaling_policy.queue_depth).target_tracking_scaling_policy_configuration).scale_in_cooldown == 300
    error_message = "the cooldowns must be the sizing's, or AWS's"
  }

  assert {
    condition     = contains([for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name], "collector")
    error_message = "somebody must report the depth"
  }

  assert {
    condition     = one([for setting in aws_ecs_cluster.main.setting : setting.value if setting.name == "containerInsights"]) == "enabled"
    error_message = "somebody must report the task count"
  }

  # --- CloudFront under its own name ---

  assert {
    condition     = one(one(one(aws_cloudfront_distribution.main).origin).custom_origin_config).origin_protocol_policy == "http-only"
    error_message = "without a certificate the origin is HTTP"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.load_balancer["80"].prefix_list_id == "pl-0123456789abcdef0" && aws_vpc_security_group_ingress_rule.load_balancer["80"].cidr_ipv4 == null
    error_message = "the load balancer must admit nobody but CloudFront"
  }

  assert {
    condition     = one(one(aws_cloudfront_distribution.main).default_cache_behavior).viewer_protocol_policy == "redirect-to-https"
    error_message = "clients must come by HTTPS"
  }

  expect_failures = [check.task_protection]
}

run "arm_and_spot_scaled_on_cpu" {
  command = plan

  variables {
    cpu_architecture     = "ARM64"
    spot_percent         = 60
    autoscaling_metric   = "cpu"
    scale_out_cooldown_s = 60
    scale_in_cooldown_s  = 300
  }

  # --- ARM and Spot ---

  assert {
    condition     = one(aws_ecs_task_definition.backend.runtime_platform).cpu_architecture == "ARM64"
    error_message = "the tasks must run on ARM"
  }

  assert {
    condition     = toset([for strategy in one(aws_ecs_service.rolling).capacity_provider_strategy : "${strategy.capacity_provider} ${strategy.weight}"]) == toset(["FARGATE 40", "FARGATE_SPOT 60"])
    error_message = "the mix must be as asked for"
  }

  assert {
    condition     = one([for strategy in one(aws_ecs_service.rolling).capacity_provider_strategy : strategy.base if strategy.capacity_provider == "FARGATE"]) == 1
    error_message = "the first task must be on demand"
  }

  # --- CPU ---

  assert {
    condition     = toset(keys(aws_appautoscaling_policy.predefined)) == toset(["cpu"])
    error_message = "the policies must follow what is named, and nothing else"
  }

  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.predefined : one(policy.target_tracking_scaling_policy_configuration).scale_out_cooldown == 60 && one(policy.target_tracking_scaling_policy_configuration).scale_in_cooldown == 300])
    error_message = "the cooldowns must be the sizing's"
  }

  assert {
    condition     = one(aws_appautoscaling_target.tasks).min_capacity == 1 && one(aws_appautoscaling_target.tasks).max_capacity == 3
    error_message = "the bounds must be the sizing's"
  }

  assert {
    condition     = length(aws_appautoscaling_policy.queue_depth) == 0
    error_message = "the queue must not be followed"
  }
}

run "blue_green_scaled_on_memory" {
  command = plan

  variables {
    deployment_strategy  = "blue_green"
    fargate_vcpu_quota   = 6
    database_pool_max    = 9
    autoscaling_metric   = "memory"
    scale_out_cooldown_s = 60
    scale_in_cooldown_s  = 300
  }

  # --- Blue/green ---

  assert {
    condition     = length(aws_ecs_service.rolling) == 0 && one(one(aws_ecs_service.blue_green).deployment_controller).type == "CODE_DEPLOY"
    error_message = "CodeDeploy must control the service"
  }

  assert {
    condition     = toset(keys(aws_lb_target_group.tasks)) == toset(["blue", "green"])
    error_message = "two sets need two target groups"
  }

  assert {
    condition     = one(one(aws_codedeploy_deployment_group.main).auto_rollback_configuration).enabled && one(one(aws_codedeploy_deployment_group.main).alarm_configuration).enabled
    error_message = "an alarm must roll back"
  }

  assert {
    condition     = one(one(one(aws_codedeploy_deployment_group.main).blue_green_deployment_config).terminate_blue_instances_on_deployment_success).termination_wait_time_in_minutes == 15
    error_message = "the old set must outlive a generation"
  }

  # --- Memory ---

  assert {
    condition     = toset(keys(aws_appautoscaling_policy.predefined)) == toset(["memory"])
    error_message = "the policies must follow what is named, and nothing else"
  }

  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.predefined : one(policy.target_tracking_scaling_policy_configuration).scale_out_cooldown == 60 && one(policy.target_tracking_scaling_policy_configuration).scale_in_cooldown == 300])
    error_message = "the cooldowns must be the sizing's"
  }

  assert {
    condition     = one(aws_appautoscaling_target.tasks).min_capacity == 1 && one(aws_appautoscaling_target.tasks).max_capacity == 3
    error_message = "the bounds must be the sizing's"
  }

  assert {
    condition     = length(aws_appautoscaling_policy.queue_depth) == 0
    error_message = "the queue must not be followed"
  }
}
