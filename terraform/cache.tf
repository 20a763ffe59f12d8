# Sessions and limits: a managed node, a Redis beside each task (compute.tf), or nothing at all.

locals {
  cache_managed = var.cache_mode == "elasticache"

  cache_url = local.cache_managed ? format(
    "rediss://:%s@%s:6379/0",
    terraform_data.cache_password[0].output,
    aws_elasticache_replication_group.main[0].primary_endpoint_address,
  ) : null

  cache_log_types = local.cache_managed ? ["slow-log", "engine-log"] : []
}

resource "aws_elasticache_replication_group" "main" {
  count = local.cache_managed ? 1 : 0

  # checkov:skip=CKV_AWS_191:AWS encrypts with its own key; a customer key costs 1 USD a month.
  # checkov:skip=CKV2_AWS_50:A single node is what the review asks for until the scale stage; cache_replicas adds failover.
  replication_group_id = local.prefix
  description          = "Sessions and limits of ${local.prefix}"
  engine               = var.cache_engine
  engine_version       = var.cache_engine_version
  node_type            = var.cache_node_type
  port                 = 6379

  num_cache_clusters         = 1 + var.cache_replicas
  automatic_failover_enabled = var.cache_replicas > 0
  multi_az_enabled           = var.cache_replicas > 0

  subnet_group_name  = aws_elasticache_subnet_group.main[0].name
  security_group_ids = [aws_security_group.cache[0].id]

  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = terraform_data.cache_password[0].output
  auth_token_update_strategy = "ROTATE"

  # Losing a session costs a sign-in, so a day of snapshots is for replaying an incident.
  snapshot_retention_limit   = 1
  snapshot_window            = "06:00-07:00"
  maintenance_window         = "sun:07:00-sun:08:00"
  auto_minor_version_upgrade = true

  dynamic "log_delivery_configuration" {
    for_each = toset(local.cache_log_types)
    content {
      log_type         = log_delivery_configuration.value
      log_format       = "json"
      destination_type = "cloudwatch-logs"
      destination      = aws_cloudwatch_log_group.cache[log_delivery_configuration.value].name
    }
  }
}

# AWS makes the password, so that no further provider is needed. It makes another one at every plan;
# the one of the first apply is kept.
data "aws_secretsmanager_random_password" "cache" {
  count = local.cache_managed ? 1 : 0

  password_length     = 48
  exclude_punctuation = true
}

resource "terraform_data" "cache_password" {
  count = local.cache_managed ? 1 : 0

  input = sensitive(data.aws_secretsmanager_random_password.cache[0].random_password)

  lifecycle {
    ignore_changes = [input]
  }
}

resource "aws_elasticache_subnet_group" "main" {
  count = local.cache_managed ? 1 : 0

  name       = local.prefix
  subnet_ids = aws_subnet.private[*].id
}

resource "aws_cloudwatch_log_group" "cache" {
  # checkov:skip=CKV_AWS_158:AWS encrypts log groups with its own key.
  # checkov:skip=CKV_AWS_338:The review asks for 30 days.
  for_each = toset(local.cache_log_types)

  name              = "/${local.prefix}/cache/${each.key}"
  retention_in_days = var.log_retention_days
}

resource "aws_security_group" "cache" {
  count = local.cache_managed ? 1 : 0

  name        = "${local.prefix}-cache"
  description = "Cache: from the tasks, to nowhere."
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-cache" }
}

resource "aws_vpc_security_group_ingress_rule" "cache_tasks" {
  count = local.cache_managed ? 1 : 0

  security_group_id            = aws_security_group.cache[0].id
  description                  = "Tasks"
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
  referenced_security_group_id = aws_security_group.tasks.id
}

resource "aws_vpc_security_group_egress_rule" "tasks_cache" {
  count = local.cache_managed ? 1 : 0

  security_group_id            = aws_security_group.tasks.id
  description                  = "Cache"
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
  referenced_security_group_id = aws_security_group.cache[0].id
}
