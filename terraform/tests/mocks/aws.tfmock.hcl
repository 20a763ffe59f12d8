# Made-up strings would fail the provider's checks of ARNs, and an unknown ARN would hide the documents
# that it is a part of. Nothing else is set: a test must not assert on a value from here.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_secretsmanager_random_password" {
  defaults = { random_password = "MadeUpByTheTestsAndLongEnoughForEveryService0000" }
}

mock_data "aws_ec2_managed_prefix_list" {
  defaults = { id = "pl-0123456789abcdef0" }
}

mock_resource "aws_vpc" {
  defaults = { id = "vpc-0123456789abcdef0" }
}

mock_resource "aws_lb" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/test/0123456789abcdef"
    arn_suffix = "app/test/0123456789abcdef"
    dns_name   = "test.us-east-1.elb.amazonaws.com"
    zone_id    = "Z35SXDOTRQ7X7K"
  }
}

mock_resource "aws_lb_target_group" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/test/0123456789abcdef" }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/test/0123456789abcdef/0123456789abcdef" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
    domain_validation_options = [{
      domain_name           = "api.example.com"
      resource_record_name  = "_check.api.example.com."
      resource_record_type  = "CNAME"
      resource_record_value = "_answer.acm-validations.aws."
    }]
  }
}

mock_resource "aws_acm_certificate_validation" {
  defaults = { certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef" }
}

mock_resource "aws_cloudfront_distribution" {
  defaults = { domain_name = "test.cloudfront.net", hosted_zone_id = "Z2FDTNDATAQYW2" }
}

mock_resource "aws_wafv2_web_acl" {
  defaults = { arn = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/test/01234567-89ab-cdef-0123-456789abcdef" }
}

mock_resource "aws_ecs_cluster" {
  defaults = { id = "arn:aws:ecs:us-east-1:123456789012:cluster/test", arn = "arn:aws:ecs:us-east-1:123456789012:cluster/test" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/test:1" }
}

mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:us-east-1:123456789012:repository/test"
    repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/test"
  }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/test" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:test" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {
    id  = "arn:aws:secretsmanager:us-east-1:123456789012:secret:test-000000"
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:test-000000"
  }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::test" }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    id  = "https://sqs.us-east-1.amazonaws.com/123456789012/test"
    arn = "arn:aws:sqs:us-east-1:123456789012:test"
  }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:us-east-1:123456789012:test" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef" }
}

mock_resource "aws_security_group" {
  defaults = { id = "sg-0123456789abcdef0" }
}

mock_resource "aws_nat_gateway" {
  defaults = { id = "nat-0123456789abcdef0" }
}

mock_resource "aws_db_instance" {
  defaults = {
    identifier = "test"
    address    = "test.example.us-east-1.rds.amazonaws.com"
    arn        = "arn:aws:rds:us-east-1:123456789012:db:test"
  }
}

mock_resource "aws_elasticache_replication_group" {
  defaults = { primary_endpoint_address = "test.example.use1.cache.amazonaws.com" }
}
