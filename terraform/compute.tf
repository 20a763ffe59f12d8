# The service: cluster, task definition, roles, ECS service.

locals {
  blue_green          = var.deployment_strategy == "blue_green"
  scales_on_queue     = var.autoscaling_metric == "queue_depth"
  metric_namespace    = local.prefix
  stop_timeout_margin = 5

  user_id = 10001 # of the image (backend/Dockerfile); owns nothing but /tmp

  backend_environment = merge(
    {
      AWS_REGION          = var.region
      S3_BUCKET           = local.buckets.documents
      LISTEN_ADDR         = "0.0.0.0:${local.container_port}"
      GENERATION_WORKERS  = tostring(var.generation_workers)
      DATABASE_POOL_MAX   = tostring(var.database_pool_max)
      OPENAI_MODEL        = var.openai_model
      REQUEST_TIMEOUT_MS  = tostring(1000 * var.request_timeout_s)
      SHUTDOWN_TIMEOUT_MS = tostring(1000 * max(1, var.stop_timeout_s - local.stop_timeout_margin))
      SPOOL_DIR           = "/tmp"
      LOG_FORMAT          = "json"
      # The load balancer appends the address it was asked from, and so does CloudFront in front of it.
      TRUSTED_PROXY_HOPS = var.cloudfront_enabled ? "2" : "1"
    },
    var.cache_mode == "sidecar" ? { REDIS_URL = "redis://127.0.0.1:6379/0" } : {},
  )

  # What every container has: an own log stream, a file system that cannot be written, no root.
  container_defaults = {
    readonlyRootFilesystem = true
    user                   = tostring(local.user_id)
    stopTimeout            = var.stop_timeout_s
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"], add = [] } }
  }

  backend_image = "${aws_ecr_repository.backend.repository_url}:${var.image_tag}"

  log_configurations = {
    for name in ["backend", "migrate", "cache", "collector"] : name => {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.service.name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = name
        # A full log buffer must not stop the service.
        "mode"            = "non-blocking"
        "max-buffer-size" = "4m"
      }
    }
  }

  backend_secrets = [for name, arn in local.task_secrets : { name = name, valueFrom = arn }]

  container_migrate = merge(local.container_defaults, {
    name             = "migrate"
    image            = local.backend_image
    command          = ["migrate"]
    essential        = false
    secrets          = [for secret in local.backend_secrets : secret if secret.name == "DATABASE_URL"]
    environment      = []
    logConfiguration = local.log_configurations["migrate"]
  })

  container_backend = merge(local.container_defaults, {
    name        = "backend"
    image       = local.backend_image
    command     = ["serve"]
    essential   = true
    environment = [for name, value in local.backend_environment : { name = name, value = value }]
    secrets     = local.backend_secrets
    portMappings = [{
      containerPort = local.container_port
      hostPort      = local.container_port
      protocol      = "tcp"
    }]
    mountPoints = [{ sourceVolume = "spool", containerPath = "/tmp", readOnly = false }]
    dependsOn = concat(
      [{ containerName = "migrate", condition = "SUCCESS" }],
      var.cache_mode == "sidecar" ? [{ containerName = "cache", condition = "HEALTHY" }] : [],
    )
    # The image has a shell, but no curl.
    healthCheck = {
      command     = ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${local.container_port} && printf 'GET ${var.health_check_path} HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
      interval    = 15
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }
    logConfiguration = local.log_configurations["backend"]
  })

  container_cache = merge(local.container_defaults, {
    name      = "cache"
    image     = var.cache_sidecar_image
    command   = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "volatile-ttl"]
    essential = true
    healthCheck = {
      command  = ["CMD", "redis-cli", "ping"]
      interval = 10
      timeout  = 3
      retries  = 3
    }
    logConfiguration = local.log_configurations["cache"]
  })

  # The queue is one for all tasks, so every task reports the same depth, and the policy takes the average.
  collector_config = yamlencode({
    receivers = {
      prometheus = {
        config = {
          scrape_configs = [{
            job_name        = "backend"
            scrape_interval = "30s"
            metrics_path    = "/metrics"
            static_configs  = [{ targets = ["127.0.0.1:${local.container_port}"], labels = { service = "backend" } }]
          }]
        }
      }
    }
    exporters = {
      awsemf = {
        namespace               = local.metric_namespace
        region                  = var.region
        log_group_name          = aws_cloudwatch_log_group.metrics.name
        log_stream_name         = "collector"
        dimension_rollup_option = "NoDimensionRollup"
        metric_declarations = [{
          dimensions            = [["service"]]
          metric_name_selectors = ["^allegiant_queue_depth$", "^allegiant_queue_oldest_age_seconds$", "^allegiant_generations_running$"]
        }]
      }
    }
    service = { pipelines = { metrics = { receivers = ["prometheus"], exporters = ["awsemf"] } } }
  })

  container_collector = merge(local.container_defaults, {
    name      = "collector"
    image     = var.collector_image
    essential = false
    environment = [
      { name = "AOT_CONFIG_CONTENT", value = local.collector_config },
      { name = "AWS_REGION", value = var.region },
    ]
    logConfiguration = local.log_configurations["collector"]
  })

  # Each through JSON, because a list in Terraform holds values of one type only.
  container_definitions = format("[%s]", join(",", concat(
    [jsonencode(local.container_migrate), jsonencode(local.container_backend)],
    var.cache_mode == "sidecar" ? [jsonencode(local.container_cache)] : [],
    local.scales_on_queue ? [jsonencode(local.container_collector)] : [],
  )))

  # The first task is always on demand, so that a shortage of Spot cannot stop the service.
  capacity_providers = merge(
    { FARGATE = { base = 1, weight = 100 - var.spot_percent } },
    var.spot_percent > 0 ? { FARGATE_SPOT = { base = 0, weight = var.spot_percent } } : {},
  )

  service_name = local.blue_green ? aws_ecs_service.blue_green[0].name : aws_ecs_service.rolling[0].name
}

resource "aws_ecs_cluster" "main" {
  # checkov:skip=CKV_AWS_65:Container Insights is charged by the metric; it is on where the task count is needed for scaling.
  name = local.prefix

  setting {
    name  = "containerInsights"
    value = local.scales_on_queue ? "enabled" : "disabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_ecs_task_definition" "backend" {
  family                   = "${local.prefix}-backend"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task_cpu
  memory                   = var.task_memory_mib
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = local.container_definitions

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  # Uploads are spooled here: the only place that can be written.
  volume {
    name = "spool"
  }
}

# --- Service ---

# The two strategies are two resources, because what CodeDeploy changes must be ignored, and a lifecycle
# block cannot depend on a variable.
resource "aws_ecs_service" "rolling" {
  count = local.blue_green ? 0 : 1

  # checkov:skip=CKV_AWS_333:Without a NAT gateway a public address is the only way out; the security group still admits the load balancer alone.
  name             = "${local.prefix}-backend"
  cluster          = aws_ecs_cluster.main.id
  task_definition  = aws_ecs_task_definition.backend.arn
  desired_count    = var.tasks_desired
  platform_version = "1.4.0"
  propagate_tags   = "SERVICE"

  enable_ecs_managed_tags            = true
  health_check_grace_period_seconds  = 60
  wait_for_steady_state              = true
  deployment_minimum_healthy_percent = var.deployment_minimum_healthy_percent
  deployment_maximum_percent         = var.deployment_maximum_percent

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "capacity_provider_strategy" {
    for_each = local.capacity_providers
    content {
      capacity_provider = capacity_provider_strategy.key
      base              = capacity_provider_strategy.value.base
      weight            = capacity_provider_strategy.value.weight
    }
  }

  network_configuration {
    subnets          = local.task_subnets
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = local.tasks_public
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.tasks["blue"].arn
    container_name   = "backend"
    container_port   = local.container_port
  }

  lifecycle {
    # Autoscaling's to change.
    ignore_changes = [desired_count]
  }

  # A target group takes tasks only once a listener leads to it, and a task needs its roles to start.
  depends_on = [
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
    aws_ecs_cluster_capacity_providers.main,
  ]
}

resource "aws_ecs_service" "blue_green" {
  count = local.blue_green ? 1 : 0

  # checkov:skip=CKV_AWS_333:Without a NAT gateway a public address is the only way out; the security group still admits the load balancer alone.
  name             = "${local.prefix}-backend"
  cluster          = aws_ecs_cluster.main.id
  task_definition  = aws_ecs_task_definition.backend.arn
  desired_count    = var.tasks_desired
  platform_version = "1.4.0"
  propagate_tags   = "SERVICE"

  enable_ecs_managed_tags           = true
  health_check_grace_period_seconds = 60

  deployment_controller {
    type = "CODE_DEPLOY"
  }

  dynamic "capacity_provider_strategy" {
    for_each = local.capacity_providers
    content {
      capacity_provider = capacity_provider_strategy.key
      base              = capacity_provider_strategy.value.base
      weight            = capacity_provider_strategy.value.weight
    }
  }

  network_configuration {
    subnets          = local.task_subnets
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = local.tasks_public
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.tasks["blue"].arn
    container_name   = "backend"
    container_port   = local.container_port
  }

  lifecycle {
    # CodeDeploy's and autoscaling's to change.
    ignore_changes = [task_definition, load_balancer, desired_count, capacity_provider_strategy]
  }

  depends_on = [
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
    aws_ecs_cluster_capacity_providers.main,
  ]
}

# --- Blue/green ---

resource "aws_codedeploy_app" "main" {
  count = local.blue_green ? 1 : 0

  name             = local.prefix
  compute_platform = "ECS"
}

resource "aws_codedeploy_deployment_group" "main" {
  count = local.blue_green ? 1 : 0

  app_name               = aws_codedeploy_app.main[0].name
  deployment_group_name  = "${local.prefix}-backend"
  deployment_config_name = "CodeDeployDefault.ECSCanary10Percent5Minutes"
  service_role_arn       = aws_iam_role.codedeploy[0].arn

  deployment_style {
    deployment_type   = "BLUE_GREEN"
    deployment_option = "WITH_TRAFFIC_CONTROL"
  }

  blue_green_deployment_config {
    deployment_ready_option {
      action_on_timeout = "CONTINUE_DEPLOYMENT"
    }

    # The old set stays as long as a generation may take, so that a rollback finds it and no work is cut.
    terminate_blue_instances_on_deployment_success {
      action                           = "TERMINATE"
      termination_wait_time_in_minutes = ceil(var.generation_duration_s / 60)
    }
  }

  auto_rollback_configuration {
    enabled = true
    events  = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]
  }

  alarm_configuration {
    enabled = true
    alarms  = [for key in ["errors", "unanswered"] : aws_cloudwatch_metric_alarm.main[key].alarm_name]
  }

  ecs_service {
    cluster_name = aws_ecs_cluster.main.name
    service_name = aws_ecs_service.blue_green[0].name
  }

  load_balancer_info {
    target_group_pair_info {
      prod_traffic_route {
        listener_arns = [local.https_enabled ? aws_lb_listener.https[0].arn : aws_lb_listener.http.arn]
      }

      dynamic "target_group" {
        for_each = local.target_groups
        content {
          name = aws_lb_target_group.tasks[target_group.value].name
        }
      }
    }
  }
}

resource "aws_iam_role" "codedeploy" {
  count = local.blue_green ? 1 : 0

  name = "${local.prefix}-codedeploy"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "codedeploy.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
}

# AWS's own policy for this service; the one with limits (it may pass a role to ECS tasks only).
resource "aws_iam_role_policy_attachment" "codedeploy" {
  count = local.blue_green ? 1 : 0

  role       = aws_iam_role.codedeploy[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AWSCodeDeployRoleForECS"
}

# --- Who may talk to a task, and to whom it may talk ---

resource "aws_security_group" "tasks" {
  name        = "${local.prefix}-tasks"
  description = "Tasks: from the load balancer, to the database, the cache and HTTPS."
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-tasks" }
}

resource "aws_vpc_security_group_ingress_rule" "tasks_load_balancer" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "Load balancer"
  ip_protocol                  = "tcp"
  from_port                    = local.container_port
  to_port                      = local.container_port
  referenced_security_group_id = aws_security_group.load_balancer.id
}

# OpenAI publishes no list of addresses, and AWS's own are too many.
resource "aws_vpc_security_group_egress_rule" "tasks_https" {
  security_group_id = aws_security_group.tasks.id
  description       = "OpenAI, S3, ECR, Secrets Manager, CloudWatch"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

# --- Roles ---

locals {
  assume_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${var.region}:${local.account_id}:*" }
      }
    }]
  })

  execution_statements = [
    {
      Sid      = "SignInToRegistry"
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken"]
      Resource = ["*"] # the action knows no resource
    },
    {
      Sid      = "PullImage"
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = [aws_ecr_repository.backend.arn]
    },
    {
      Sid      = "ReadSecrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = values(local.task_secrets)
    },
    {
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["${aws_cloudwatch_log_group.service.arn}:*"]
    },
  ]

  task_statements = concat(
    [
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = ["${aws_s3_bucket.main["documents"].arn}/*"]
      },
      {
        # With it S3 answers "not found" instead of "forbidden" for an object that is not there.
        Sid      = "Bucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [aws_s3_bucket.main["documents"].arn]
      },
    ],
    local.scales_on_queue ? [{
      Sid      = "Metrics"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = ["${aws_cloudwatch_log_group.metrics.arn}:*"]
    }] : [],
    var.task_protection_enabled ? [{
      Sid      = "ProtectItself"
      Effect   = "Allow"
      Action   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
      Resource = ["arn:${local.partition}:ecs:${var.region}:${local.account_id}:task/${local.prefix}/*"]
    }] : [],
    var.dispatch_queue_enabled ? [{
      Sid      = "Dispatch"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"]
      Resource = [aws_sqs_queue.generations[0].arn]
    }] : [],
  )
}

# What ECS does for a task before it runs: pull, read secrets, open the log.
resource "aws_iam_role" "execution" {
  name               = "${local.prefix}-execution"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "execution" {
  # checkov:skip=CKV_AWS_355:ecr:GetAuthorizationToken is the one action on all resources: it knows none.
  name   = "start-task"
  role   = aws_iam_role.execution.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.execution_statements })
}

# What the backend itself may do.
resource "aws_iam_role" "task" {
  name               = "${local.prefix}-task"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "task" {
  name   = "serve"
  role   = aws_iam_role.task.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.task_statements })
}
