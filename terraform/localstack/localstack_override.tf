# Laid over a copy of the root module by localstack/apply: LocalStack instead of AWS, a file instead of S3.

terraform {
  backend "local" {}
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true

  endpoints {
    iam            = "http://127.0.0.1:4566"
    s3             = "http://127.0.0.1:4566"
    secretsmanager = "http://127.0.0.1:4566"
    sqs            = "http://127.0.0.1:4566"
    sts            = "http://127.0.0.1:4566"
  }
}
