# An option: a queue that dispatches generations. The backend's own queue is a table, so that accepting a
# generation and queueing it are one transaction; this one is for a dispatcher outside of the backend.

resource "aws_sqs_queue" "generations" {
  count = var.dispatch_queue_enabled ? 1 : 0

  name                    = "${local.prefix}-generations"
  sqs_managed_sse_enabled = true

  # A message that reappears before its generation has ended is worked on twice; SQS's default is 30 s.
  visibility_timeout_seconds = min(43200, var.generation_duration_s + 300)
  message_retention_seconds  = 4 * 86400
  receive_wait_time_seconds  = 20

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters[0].arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue" "dead_letters" {
  count = var.dispatch_queue_enabled ? 1 : 0

  name                      = "${local.prefix}-generations-dead"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 14 * 86400
}

resource "aws_sqs_queue_policy" "tls_only" {
  for_each = var.dispatch_queue_enabled ? {
    generations  = aws_sqs_queue.generations[0]
    dead_letters = aws_sqs_queue.dead_letters[0]
  } : {}

  queue_url = each.value.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
