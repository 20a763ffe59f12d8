# Logs for 30 days, six alarms, a dashboard.

resource "aws_cloudwatch_log_group" "service" {
  # checkov:skip=CKV_AWS_158:AWS encrypts log groups with its own key; a customer key costs 1 USD a month.
  # checkov:skip=CKV_AWS_338:The review asks for 30 days; a year would cost 12 times the archive.
  name              = "/${local.prefix}/service"
  retention_in_days = var.log_retention_days
}

# Metrics arrive as log lines (embedded metric format), and are of no use as lines afterwards.
resource "aws_cloudwatch_log_group" "metrics" {
  # checkov:skip=CKV_AWS_158:AWS encrypts log groups with its own key.
  # checkov:skip=CKV_AWS_338:The metric outlives the line that carried it.
  name              = "/${local.prefix}/metrics"
  retention_in_days = 1
}

# --- Alarms ---

locals {
  service_dimensions  = { ClusterName = aws_ecs_cluster.main.name, ServiceName = local.service_name }
  database_dimensions = { DBInstanceIdentifier = aws_db_instance.main.identifier }
  balancer_dimensions = { LoadBalancer = aws_lb.main.arn_suffix }

  alarms = {
    cpu = {
      description = "Tasks use more than 85 % of their vCPU: requests slow down."
      namespace   = "AWS/ECS", metric = "CPUUtilization", statistic = "Average"
      comparison  = "GreaterThanThreshold", threshold = 85, minutes = 10, missing = "missing"
      dimensions  = local.service_dimensions
    }
    memory = {
      description = "Tasks use more than 90 % of their memory: the next step is a kill."
      namespace   = "AWS/ECS", metric = "MemoryUtilization", statistic = "Maximum"
      comparison  = "GreaterThanThreshold", threshold = 90, minutes = 5, missing = "missing"
      dimensions  = local.service_dimensions
    }
    errors = {
      description = "The backend answered more than 5 requests a minute with a 5xx."
      namespace   = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
      comparison  = "GreaterThanThreshold", threshold = 5, minutes = 3, missing = "notBreaching"
      dimensions  = local.balancer_dimensions
    }
    # 502, 503 and 504 of the load balancer itself: a request that outlived its time-out, or no task.
    unanswered = {
      description = "The load balancer could not get an answer to more than 5 requests a minute."
      namespace   = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", statistic = "Sum"
      comparison  = "GreaterThanThreshold", threshold = 5, minutes = 3, missing = "notBreaching"
      dimensions  = local.balancer_dimensions
    }
    database_storage = {
      description = "The database has less than 2 GB of storage left."
      namespace   = "AWS/RDS", metric = "FreeStorageSpace", statistic = "Minimum"
      comparison  = "LessThanThreshold", threshold = 2 * 1024 * 1024 * 1024, minutes = 5, missing = "breaching"
      dimensions  = local.database_dimensions
    }
    database_connections = {
      description = "Four fifths of the database's connections are taken."
      namespace   = "AWS/RDS", metric = "DatabaseConnections", statistic = "Maximum"
      comparison  = "GreaterThanThreshold", threshold = floor(0.8 * local.database_connections_max), minutes = 5, missing = "breaching"
      dimensions  = local.database_dimensions
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "main" {
  for_each = local.alarms

  alarm_name          = "${local.prefix}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  dimensions          = each.value.dimensions
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# The messages hold names and thresholds, but a topic without a key is a finding of every audit. AWS's
# own SNS key would shut CloudWatch out, so this is the one customer key.
resource "aws_kms_key" "alarms" {
  description             = "Alarms of ${local.prefix}"
  enable_key_rotation     = true
  deletion_window_in_days = 7

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administration"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
      },
    ]
  })
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.prefix}-alarms"
  kms_master_key_id = aws_kms_key.alarms.arn
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

# --- Dashboard ---

locals {
  dashboard_graphs = [
    { title = "Task CPU and memory, %", metrics = [
      ["AWS/ECS", "CPUUtilization", "ClusterName", aws_ecs_cluster.main.name, "ServiceName", local.service_name],
      ["AWS/ECS", "MemoryUtilization", "ClusterName", aws_ecs_cluster.main.name, "ServiceName", local.service_name],
    ] },
    { title = "Requests and errors", metrics = [
      ["AWS/ApplicationELB", "RequestCount", "LoadBalancer", aws_lb.main.arn_suffix, { stat = "Sum" }],
      ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "LoadBalancer", aws_lb.main.arn_suffix, { stat = "Sum" }],
      ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "LoadBalancer", aws_lb.main.arn_suffix, { stat = "Sum" }],
    ] },
    { title = "Answer time, s", metrics = [
      ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", aws_lb.main.arn_suffix, { stat = "p50" }],
      ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", aws_lb.main.arn_suffix, { stat = "p95" }],
    ] },
    { title = "Generations", metrics = [
      [local.metric_namespace, "allegiant_queue_depth", "service", "backend"],
      [local.metric_namespace, "allegiant_generations_running", "service", "backend"],
    ] },
    { title = "Database", metrics = [
      ["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", aws_db_instance.main.identifier],
      ["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", aws_db_instance.main.identifier],
      ["AWS/RDS", "CPUCreditBalance", "DBInstanceIdentifier", aws_db_instance.main.identifier, { stat = "Minimum" }],
    ] },
    { title = "Bytes through NAT", metrics = [
      for gateway in aws_nat_gateway.main :
      ["AWS/NATGateway", "BytesOutToDestination", "NatGatewayId", gateway.id, { stat = "Sum" }]
    ] },
  ]
}

resource "aws_cloudwatch_dashboard" "main" {
  dashboard_name = local.prefix

  dashboard_body = jsonencode({
    widgets = [
      for index, graph in local.dashboard_graphs : {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title   = graph.title
          region  = var.region
          view    = "timeSeries"
          period  = 60
          stat    = "Average"
          metrics = graph.metrics
        }
      } if length(graph.metrics) > 0
    ]
  })
}
