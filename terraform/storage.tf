# Documents, proposals and logs in S3; images in ECR.

locals {
  # Bucket names are global, so the account's number makes them unique.
  buckets = {
    documents = "${local.prefix}-documents-${local.account_id}"
    logs      = "${local.prefix}-logs-${local.account_id}"
  }
}

resource "aws_s3_bucket" "main" {
  for_each = local.buckets

  # checkov:skip=CKV_AWS_144:One region is what the review asks for; a copy in a second one doubles the storage.
  # checkov:skip=CKV_AWS_145:AWS encrypts with its own key; a customer key costs 1 USD a month and is charged per request.
  # checkov:skip=CKV_AWS_18:The backend logs each access to a document; logs of the log bucket would never end.
  # checkov:skip=CKV_AWS_21:Documents are versioned; a log file is written once.
  # checkov:skip=CKV2_AWS_61:Both have a lifecycle, below; in a plan the check finds that of one bucket only.
  # checkov:skip=CKV2_AWS_62:Nothing waits for an object to appear: the backend writes them itself.
  bucket = each.value
}

resource "aws_s3_bucket_public_access_block" "main" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.main[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# AES256 for both: the load balancer can write its log to no bucket that a KMS key encrypts.
resource "aws_s3_bucket_server_side_encryption_configuration" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# A log file is never overwritten; a document can be, by mistake.
resource "aws_s3_bucket_versioning" "documents" {
  bucket = aws_s3_bucket.main["documents"].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "documents" {
  bucket = aws_s3_bucket.main["documents"].id

  rule {
    id     = "age"
    status = "Enabled"

    filter {}

    transition {
      days          = 90
      storage_class = "STANDARD_IA"
    }

    transition {
      days          = 180
      storage_class = "GLACIER"
    }

    expiration {
      days = 365
    }

    # What a version replaced or a deletion hid is kept long enough to notice, and no longer.
    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.documents]
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.main["logs"].id

  rule {
    id     = "age"
    status = "Enabled"

    filter {}

    expiration {
      days = 90
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

locals {
  bucket_policy_tls = {
    for key, name in local.buckets : key => {
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:${local.partition}:s3:::${name}", "arn:${local.partition}:s3:::${name}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }
  }

  bucket_policy_statements = {
    documents = [local.bucket_policy_tls["documents"]]
    logs = [
      local.bucket_policy_tls["logs"],
      {
        Sid       = "LoadBalancerLog"
        Effect    = "Allow"
        Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "arn:${local.partition}:s3:::${local.buckets.logs}/load-balancer/AWSLogs/${local.account_id}/*"
        Condition = { ArnLike = { "aws:SourceArn" = "arn:${local.partition}:elasticloadbalancing:${var.region}:${local.account_id}:loadbalancer/*" } }
      },
    ]
  }
}

resource "aws_s3_bucket_policy" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.bucket_policy_statements[each.key] })

  depends_on = [aws_s3_bucket_public_access_block.main]
}

# --- Images ---

resource "aws_ecr_repository" "backend" {
  # checkov:skip=CKV_AWS_136:AWS encrypts with its own key; a customer key costs 1 USD a month and guards nothing more here.
  name                 = "${local.prefix}-backend"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "backend" {
  repository = aws_ecr_repository.backend.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the last 10 images"
      selection = {
        tagStatus   = "any"
        countType   = "imageCountMoreThan"
        countNumber = 10
      }
      action = { type = "expire" }
    }]
  })
}
