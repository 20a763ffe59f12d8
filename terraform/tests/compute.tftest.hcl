# Task definition, service, roles.

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
}

run "as_little_as_possible" {
  command = plan

  variables {
    stop_timeout_s     = 90
    autoscaling_metric = "none"
  }

  assert {
    condition     = alltrue([for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.readonlyRootFilesystem && container.user != "0" && container.user != "root" && contains(container.linuxParameters.capabilities.drop, "ALL")])
    error_message = "no container may be root, write its file system or have a capability"
  }

  assert {
    condition     = alltrue([for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.stopTimeout == 90])
    error_message = "the stop time-out must be the sizing's"
  }

  assert {
    condition     = contains(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].environment, { name = "GENERATION_WORKERS", value = "24" })
    error_message = "the backend must run as many generations as the sizing says"
  }

  assert {
    condition     = contains(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].environment, { name = "SHUTDOWN_TIMEOUT_MS", value = "85000" })
    error_message = "the backend must be done before it is killed"
  }

  assert {
    condition     = toset([for secret in({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].secrets : secret.name]) == toset(["DATABASE_URL", "OPENAI_API_KEY", "REDIS_URL"])
    error_message = "the three secrets must come from Secrets Manager"
  }

  assert {
    condition     = alltrue([for variable in({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].environment : !can(regex("KEY|SECRET|PASSWORD|_URL", variable.name))])
    error_message = "no secret may be a plain variable"
  }

  assert {
    condition     = contains(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].dependsOn, { containerName = "migrate", condition = "SUCCESS" })
    error_message = "the schema must be there before the backend serves"
  }

  assert {
    condition     = endswith(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].image, ":0123abc")
    error_message = "the image must be the build that was asked for"
  }

  assert {
    condition     = toset(keys({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })) == toset(["backend", "migrate"])
    error_message = "no sidecar unless asked for"
  }

  assert {
    condition     = one(one(aws_ecs_service.rolling).deployment_circuit_breaker).enable && one(one(aws_ecs_service.rolling).deployment_circuit_breaker).rollback
    error_message = "a failed deployment must roll back"
  }

  assert {
    condition     = one(aws_ecs_service.rolling).deployment_minimum_healthy_percent == 100 && one(aws_ecs_service.rolling).deployment_maximum_percent == 200
    error_message = "a deployment must keep the tasks that serve"
  }

  assert {
    condition     = length(aws_ecs_service.blue_green) == 0 && length(aws_codedeploy_deployment_group.main) == 0 && length(aws_lb_target_group.tasks) == 1
    error_message = "rolling needs no second set"
  }

  assert {
    condition     = [for strategy in one(aws_ecs_service.rolling).capacity_provider_strategy : strategy.capacity_provider] == ["FARGATE"]
    error_message = "no Spot unless asked for"
  }

  assert {
    condition     = length(output.findings) == 0
    error_message = "nothing must be found"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.task.policy, "ecs:") && !strcontains(aws_iam_role_policy.task.policy, "sqs:") && !strcontains(aws_iam_role_policy.task.policy, "logs:")
    error_message = "a toggle that is off must bring no permission"
  }

  assert {
    condition     = alltrue([for role in [aws_iam_role.execution, aws_iam_role.task] : strcontains(role.assume_role_policy, "aws:SourceAccount")])
    error_message = "no other account's tasks may take a role"
  }

  assert {
    condition     = length(aws_appautoscaling_target.tasks) == 0 && length(aws_appautoscaling_policy.predefined) == 0
    error_message = "nothing may scale"
  }
}

run "arm_and_spot" {
  command = plan

  variables {
    cpu_architecture = "ARM64"
    spot_percent     = 60
  }

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
}

run "blue_green" {
  command = plan

  variables {
    deployment_strategy = "blue_green"
    fargate_vcpu_quota  = 8
    database_pool_max   = 9
  }

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
}

run "every_permission" {
  command = plan

  variables {
    task_protection_enabled        = true
    dispatch_queue_enabled         = true
    autoscaling_metric             = "queue_depth"
    autoscaling_queue_depth_target = 2
    scale_out_cooldown_s           = 60
  }

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
}
