terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # Bucket, key and region come with `terraform init -backend-config=...` (see README.md), so that a
  # stage cannot write to another stage's state by accident.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
