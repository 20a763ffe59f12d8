# A domain, the firewall and CloudFront. CloudFront under its own name is in toggles.tftest.hcl.

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
  tasks_max          = 3
}

run "https_and_firewall" {
  command = plan

  variables {
    domain_name     = "api.example.com"
    route53_zone_id = "Z0123456789ABCDEFGHIJ"
    waf_enabled     = true
  }

  assert {
    condition     = one(aws_lb_listener.http.default_action).type == "redirect"
    error_message = "with a domain, HTTP must redirect"
  }

  assert {
    condition     = one(aws_lb_listener.https).ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    error_message = "TLS must be 1.2 or 1.3"
  }

  assert {
    condition     = one(aws_acm_certificate.main).domain_name == "api.example.com" && one(aws_route53_record.load_balancer).name == "api.example.com"
    error_message = "the certificate must be of the name that leads here"
  }

  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.load_balancer)) == toset(["80", "443"])
    error_message = "both ports must be open"
  }

  assert {
    condition     = output.url == "https://api.example.com"
    error_message = "the URL must be the domain's"
  }

  assert {
    condition     = one(aws_wafv2_web_acl.main).scope == "REGIONAL" && length(aws_wafv2_web_acl_association.load_balancer) == 1
    error_message = "without CloudFront the firewall stands at the load balancer"
  }

  assert {
    condition     = length(one(aws_wafv2_web_acl.main).rule) == 4
    error_message = "one rate limit and three groups of AWS"
  }
}

run "cloudfront_with_domain" {
  command = plan

  variables {
    cloudfront_enabled = true
    waf_enabled        = true
    domain_name        = "api.example.com"
    route53_zone_id    = "Z0123456789ABCDEFGHIJ"
  }

  assert {
    condition     = one(aws_acm_certificate.main).domain_name == "origin.api.example.com" && one(aws_acm_certificate.cloudfront).domain_name == "api.example.com"
    error_message = "the origin needs a name and a certificate of its own"
  }

  assert {
    condition     = one(one(one(aws_cloudfront_distribution.main).origin).custom_origin_config).origin_protocol_policy == "https-only"
    error_message = "the way to the origin must be encrypted"
  }

  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.load_balancer)) == toset(["443"])
    error_message = "CloudFront needs one port only"
  }

  assert {
    condition     = one(aws_wafv2_web_acl.main).scope == "CLOUDFRONT" && length(aws_wafv2_web_acl_association.load_balancer) == 0 && one(aws_cloudfront_distribution.main).web_acl_id != null
    error_message = "the firewall must stand where it sees the clients"
  }
}
