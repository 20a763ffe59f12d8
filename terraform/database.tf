# PostgreSQL on RDS: it holds the users, the documents' rows and the queue of generations.

locals {
  # The version that the parameter group's family names is the one that runs.
  database_family = "postgres${var.database_engine_version}"
  database_name   = "allegiant"
  database_user   = "allegiant"

  database_url = join("", [
    "postgres://${local.database_user}:${terraform_data.database_password.output}",
    "@${aws_db_instance.main.address}:5432/${local.database_name}",
    "?sslmode=verify-full&sslrootcert=/etc/ssl/certs/rds-global-bundle.pem",
  ])
}

# AWS makes the password, so that no further provider is needed. It makes another one at every plan; the
# one of the first apply is kept. RDS could manage the password itself, but then refuses read replicas
# and rotates under the running tasks.
data "aws_secretsmanager_random_password" "database" {
  password_length     = 48
  exclude_punctuation = true
}

resource "terraform_data" "database_password" {
  input = sensitive(data.aws_secretsmanager_random_password.database.random_password)

  lifecycle {
    ignore_changes = [input]
  }
}

resource "aws_db_instance" "main" {
  # checkov:skip=CKV_AWS_157:Multi-AZ is a part of the sizing (db_multi_az): the review turns it on with the growth stage.
  # checkov:skip=CKV_AWS_161:The backend signs in with a password, which is in Secrets Manager.
  # checkov:skip=CKV_AWS_293:A stage that is thrown away turns database_deletion_protection_enabled off; it is on by default.
  # checkov:skip=CKV_AWS_354:AWS encrypts the insights with its own key; a customer key costs 1 USD a month.
  # checkov:skip=CKV_AWS_118:Enhanced monitoring is charged as logs; the insights and the alarms tell a full disk or pool.
  identifier     = local.prefix
  engine         = "postgres"
  engine_version = var.database_engine_version
  instance_class = var.db_instance_class
  multi_az       = var.db_multi_az

  db_name  = local.database_name
  username = local.database_user
  password = terraform_data.database_password.output

  storage_type          = "gp3"
  allocated_storage     = var.database_storage_gb
  max_allocated_storage = var.database_storage_gb_max
  storage_encrypted     = true

  db_subnet_group_name   = aws_db_subnet_group.main.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.main.name
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  backup_retention_period   = var.database_backup_days
  backup_window             = "07:00-08:00"
  maintenance_window        = "sun:08:30-sun:09:30"
  copy_tags_to_snapshot     = true
  delete_automated_backups  = false
  deletion_protection       = var.database_deletion_protection_enabled
  skip_final_snapshot       = !var.database_deletion_protection_enabled
  final_snapshot_identifier = "${local.prefix}-final"

  auto_minor_version_upgrade = true
  # A version out of support is upgraded by AWS instead of being charged at ten times the instance.
  engine_lifecycle_support = "open-source-rds-extended-support-disabled"

  performance_insights_enabled          = true
  performance_insights_retention_period = 7 # the free tier
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]

  # The log group must be there first, or AWS makes one that keeps its logs for ever.
  depends_on = [aws_cloudwatch_log_group.database]
}

resource "aws_db_instance" "replica" {
  count = var.database_read_replicas

  # checkov:skip=CKV_AWS_157:A replica that fails is replaced; what must not be lost is in the primary.
  # checkov:skip=CKV_AWS_161:It takes the users of the primary.
  # checkov:skip=CKV_AWS_293:It holds nothing that the primary lacks.
  # checkov:skip=CKV_AWS_354:AWS encrypts the insights with its own key.
  # checkov:skip=CKV_AWS_118:As for the primary.
  # checkov:skip=CKV_AWS_129:Its log is the primary's workload once more.
  # checkov:skip=CKV2_AWS_30:As for the primary, whose parameter group it shares.
  identifier          = "${local.prefix}-replica-${count.index + 1}"
  replicate_source_db = aws_db_instance.main.identifier
  instance_class      = var.db_instance_class

  storage_type          = "gp3"
  max_allocated_storage = var.database_storage_gb_max
  storage_encrypted     = true

  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.main.name
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  maintenance_window         = "sun:10:00-sun:11:00"
  copy_tags_to_snapshot      = true
  auto_minor_version_upgrade = true
  deletion_protection        = false
  skip_final_snapshot        = true

  performance_insights_enabled          = true
  performance_insights_retention_period = 7
}

resource "aws_db_subnet_group" "main" {
  name       = local.prefix
  subnet_ids = aws_subnet.private[*].id
}

resource "aws_db_parameter_group" "main" {
  name_prefix = "${local.prefix}-"
  family      = local.database_family
  description = "TLS only, slow statements logged."

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000" # milliseconds
  }

  # A crashed task must not keep its rows locked for long.
  parameter {
    name  = "idle_in_transaction_session_timeout"
    value = "60000" # milliseconds
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "database" {
  # checkov:skip=CKV_AWS_158:AWS encrypts log groups with its own key.
  # checkov:skip=CKV_AWS_338:The review asks for 30 days.
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${local.prefix}/${each.key}"
  retention_in_days = var.log_retention_days
}

resource "aws_security_group" "database" {
  name        = "${local.prefix}-database"
  description = "Database: from the tasks, to nowhere."
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-database" }
}

resource "aws_vpc_security_group_ingress_rule" "database_tasks" {
  security_group_id            = aws_security_group.database.id
  description                  = "Tasks"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.tasks.id
}

resource "aws_vpc_security_group_egress_rule" "tasks_database" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "Database"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.database.id
}
