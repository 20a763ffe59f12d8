# The three secrets: the database's URL, the cache's URL, OpenAI's key.

resource "aws_secretsmanager_secret" "database_url" {
  # checkov:skip=CKV_AWS_149:AWS encrypts with its own key; a customer key costs 1 USD a month.
  # checkov:skip=CKV2_AWS_57:A rotation must change the database and redeploy the tasks together: README.md says how.
  name                    = "${local.prefix}/database-url"
  description             = "DATABASE_URL of the backend, with the password"
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret_version" "database_url" {
  secret_id     = aws_secretsmanager_secret.database_url.id
  secret_string = local.database_url
}

resource "aws_secretsmanager_secret" "cache_url" {
  count = local.cache_managed ? 1 : 0

  # checkov:skip=CKV_AWS_149:AWS encrypts with its own key; a customer key costs 1 USD a month.
  # checkov:skip=CKV2_AWS_57:A rotation must change the cache and redeploy the tasks together: README.md says how.
  name                    = "${local.prefix}/cache-url"
  description             = "REDIS_URL of the backend, with the password"
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret_version" "cache_url" {
  count = local.cache_managed ? 1 : 0

  secret_id     = aws_secretsmanager_secret.cache_url[0].id
  secret_string = local.cache_url
}

# Terraform never sees the key: a person puts it in once (README.md), so it is in no state and no plan.
resource "aws_secretsmanager_secret" "openai_api_key" {
  # checkov:skip=CKV_AWS_149:AWS encrypts with its own key; a customer key costs 1 USD a month.
  # checkov:skip=CKV2_AWS_57:OpenAI has no interface that a rotation could call; a person replaces the key.
  name                    = "${local.prefix}/openai-api-key"
  description             = "OPENAI_API_KEY of the backend"
  recovery_window_in_days = 7
}

locals {
  # What a task reads at its start: environment variable -> secret.
  task_secrets = merge(
    {
      DATABASE_URL   = aws_secretsmanager_secret.database_url.arn
      OPENAI_API_KEY = aws_secretsmanager_secret.openai_api_key.arn
    },
    local.cache_managed ? { REDIS_URL = aws_secretsmanager_secret.cache_url[0].arn } : {},
  )
}
