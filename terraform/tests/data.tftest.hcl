# Database, cache, buckets, registry, secrets, queue, logs, alarms.

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

run "everything_on" {
  command = plan

  variables {
    database_read_replicas  = 2
    db_multi_az             = true
    database_engine_version = "15"
    cache_replicas          = 1
    cache_engine            = "redis"
    cache_engine_version    = "7.1"
    dispatch_queue_enabled  = true
    generation_duration_s   = 900
    alarm_email             = "oncall@example.com"
    log_retention_days      = 30
  }

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
}

run "cache_sidecar" {
  command = plan

  variables {
    cache_mode       = "sidecar"
    tasks_max        = 2
    tasks_min        = 2
    enforce_findings = false
  }

  assert {
    condition     = length(aws_elasticache_replication_group.main) == 0 && length(aws_secretsmanager_secret.cache_url) == 0
    error_message = "a sidecar needs no managed cache"
  }

  assert {
    condition     = contains(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].environment, { name = "REDIS_URL", value = "redis://127.0.0.1:6379/0" })
    error_message = "the backend must find the sidecar"
  }

  assert {
    condition     = contains(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["cache"].command, "127.0.0.1")
    error_message = "the sidecar must not listen outside of its task"
  }

  expect_failures = [
    check.shared_cache,
  ]
}

run "as_little_as_possible" {
  command = plan

  variables {
    cache_mode                           = "none"
    tasks_desired                        = 1
    tasks_max                            = 1
    database_deletion_protection_enabled = false
  }

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
}
