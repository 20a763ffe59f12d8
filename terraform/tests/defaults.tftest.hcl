# What the defaults make, with nothing turned on. Each further plan costs two seconds, so one run has all of it.

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

run "defaults" {
  command = plan

  variables {
    nat_gateways           = 1
    cache_mode             = "elasticache"
    autoscaling_metric     = "none"
    alb_idle_timeout_s     = 1000
    deregistration_delay_s = 60
    stop_timeout_s         = 90
  }

  # --- Network ---

  assert {
    condition     = length(aws_nat_gateway.main) == 1 && length(aws_route.private_nat) == 2
    error_message = "both private subnets must use the one gateway"
  }

  assert {
    condition     = one(one(aws_ecs_service.rolling).network_configuration).assign_public_ip == false
    error_message = "a task behind NAT needs no public address"
  }

  assert {
    condition     = aws_vpc.main.cidr_block == "10.0.0.0/16"
    error_message = "the review has 10.0.0.0/16"
  }

  assert {
    condition     = toset(aws_subnet.public[*].cidr_block) == toset(["10.0.0.0/24", "10.0.1.0/24"]) && toset(aws_subnet.private[*].cidr_block) == toset(["10.0.10.0/24", "10.0.11.0/24"])
    error_message = "two public and two private subnets must not overlap"
  }

  assert {
    condition     = toset(aws_subnet.private[*].availability_zone) == toset(["us-east-1a", "us-east-1b"])
    error_message = "the private subnets must be in two zones"
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch == false])
    error_message = "nothing must get a public address by accident"
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "S3 must be reached past NAT"
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.load_balancer) == 1 && aws_vpc_security_group_ingress_rule.load_balancer["80"].cidr_ipv4 == "0.0.0.0/0"
    error_message = "without a domain the load balancer answers on port 80 only"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.load_balancer_tasks.referenced_security_group_id == "sg-tasks" && aws_vpc_security_group_egress_rule.load_balancer_tasks.from_port == 8000
    error_message = "the load balancer may reach nothing but the tasks"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks_load_balancer.from_port == 8000 && aws_vpc_security_group_ingress_rule.tasks_load_balancer.to_port == 8000
    error_message = "the tasks must admit one port only"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.database_tasks.security_group_id == "sg-database" && aws_vpc_security_group_ingress_rule.database_tasks.referenced_security_group_id == "sg-tasks" && aws_vpc_security_group_ingress_rule.database_tasks.from_port == 5432 && aws_vpc_security_group_ingress_rule.database_tasks.to_port == 5432
    error_message = "the database must admit the tasks only"
  }

  assert {
    condition     = one(aws_vpc_security_group_ingress_rule.cache_tasks).security_group_id == "sg-cache" && one(aws_vpc_security_group_ingress_rule.cache_tasks).referenced_security_group_id == "sg-tasks" && one(aws_vpc_security_group_ingress_rule.cache_tasks).from_port == 6379
    error_message = "the cache must admit the tasks only"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.tasks_https.from_port == 443 && aws_vpc_security_group_egress_rule.tasks_https.to_port == 443
    error_message = "to the internet a task may speak HTTPS only"
  }

  # --- Edge ---

  assert {
    condition     = aws_lb.main.idle_timeout == 1000 && aws_lb.main.internal == false && aws_lb.main.drop_invalid_header_fields
    error_message = "the idle time-out must be the sizing's"
  }

  assert {
    condition     = one(aws_lb.main.access_logs).enabled
    error_message = "every request must be logged"
  }

  assert {
    condition     = length(aws_lb_listener.https) == 0 && one(aws_lb_listener.http.default_action).type == "forward"
    error_message = "without a domain the service answers by HTTP"
  }

  assert {
    condition     = aws_lb_target_group.tasks["blue"].deregistration_delay == "60" && one(aws_lb_target_group.tasks["blue"].health_check).path == "/health"
    error_message = "the health check must ask /health"
  }

  assert {
    condition     = length(aws_cloudfront_distribution.main) == 0 && length(aws_wafv2_web_acl.main) == 0
    error_message = "CDN and firewall must be off unless asked for"
  }

  # --- Task definition, service, roles ---

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
