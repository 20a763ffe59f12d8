# From the internet to the tasks: name, certificate, firewall, CDN, load balancer.

locals {
  https_enabled = var.domain_name != null

  # Behind CloudFront the load balancer has a name of its own, which its certificate carries too.
  origin_name = local.https_enabled ? (var.cloudfront_enabled ? "origin.${var.domain_name}" : var.domain_name) : null

  public_url = (
    local.https_enabled ? "https://${var.domain_name}" :
    var.cloudfront_enabled ? "https://${aws_cloudfront_distribution.main[0].domain_name}" :
    "http://${aws_lb.main.dns_name}"
  )

  container_port = 8000

  # Blue/green needs a second group of targets to shift the traffic to.
  target_groups = var.deployment_strategy == "blue_green" ? ["blue", "green"] : ["blue"]
}

# --- Load balancer ---

resource "aws_lb" "main" {
  # checkov:skip=CKV_AWS_150:A load balancer holds no data, and a stage must be removable; the database is what is protected.
  # checkov:skip=CKV2_AWS_28:The firewall is a toggle (waf_enabled): the review wants it for the scale stage only.
  # checkov:skip=CKV2_AWS_76:The firewall, when it is on, carries AWS's rules against known bad inputs, Log4j among them.
  # checkov:skip=CKV2_AWS_20:Without a domain there is no certificate to redirect to; with one, the listener redirects.
  # checkov:skip=CKV_AWS_103:Without a domain there is no TLS; with one, the policy is TLS 1.2 and 1.3 only.
  name               = local.prefix
  load_balancer_type = "application"
  internal           = false
  security_groups    = [aws_security_group.load_balancer.id]
  subnets            = aws_subnet.public[*].id

  idle_timeout               = var.alb_idle_timeout_s
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"

  access_logs {
    bucket  = aws_s3_bucket.main["logs"].id
    prefix  = "load-balancer"
    enabled = true
  }

  # AWS tries the bucket when it takes this setting.
  depends_on = [aws_s3_bucket_policy.main]
}

resource "aws_lb_target_group" "tasks" {
  for_each = toset(local.target_groups)

  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer; the way to the task stays inside the VPC, where only the load balancer may go.
  name        = "${local.prefix}-${each.key}"
  port        = local.container_port
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = aws_vpc.main.id

  deregistration_delay = var.deregistration_delay_s

  # Round robin would go on feeding a task that long requests already fill.
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    path                = var.health_check_path
    interval            = var.health_check_interval_s
    timeout             = var.health_check_timeout_s
    healthy_threshold   = var.health_check_healthy_count
    unhealthy_threshold = var.health_check_unhealthy_count
    matcher             = "200"
  }
}

# CodeDeploy swaps the groups of these listeners, so their default action is its to change; a change of
# anything else in it has to be made by replacing the listener.
resource "aws_lb_listener" "http" {
  # checkov:skip=CKV_AWS_2:Without a domain there is no certificate; with one, this listener only redirects.
  # checkov:skip=CKV_AWS_103:A plain listener has no TLS policy; with a domain it only redirects.
  load_balancer_arn = aws_lb.main.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = local.https_enabled ? "redirect" : "forward"
    target_group_arn = local.https_enabled ? null : aws_lb_target_group.tasks["blue"].arn

    dynamic "redirect" {
      for_each = local.https_enabled ? [true] : []
      content {
        port        = "443"
        protocol    = "HTTPS"
        status_code = "HTTP_301"
      }
    }
  }

  lifecycle {
    ignore_changes = [default_action[0].target_group_arn]
  }
}

resource "aws_lb_listener" "https" {
  count = local.https_enabled ? 1 : 0

  load_balancer_arn = aws_lb.main.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.main[0].certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.tasks["blue"].arn
  }

  lifecycle {
    ignore_changes = [default_action]
  }
}

resource "aws_security_group" "load_balancer" {
  name        = "${local.prefix}-load-balancer"
  description = "Load balancer: from the clients, to the tasks."
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-load-balancer" }
}

data "aws_ec2_managed_prefix_list" "cloudfront" {
  count = var.cloudfront_enabled ? 1 : 0

  name = "com.amazonaws.global.cloudfront.origin-facing"
}

# CloudFront's list of addresses counts as 55 rules against a group's 60, so only the one port that it
# uses is opened to it.
resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  # checkov:skip=CKV_AWS_260:The service is public; port 80 redirects as soon as there is a certificate.
  for_each = toset(
    var.cloudfront_enabled ? [local.https_enabled ? "443" : "80"] :
    local.https_enabled ? ["80", "443"] : ["80"]
  )

  security_group_id = aws_security_group.load_balancer.id
  description       = var.cloudfront_enabled ? "CloudFront" : "Clients"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
  cidr_ipv4         = var.cloudfront_enabled ? null : "0.0.0.0/0"
  prefix_list_id    = var.cloudfront_enabled ? data.aws_ec2_managed_prefix_list.cloudfront[0].id : null
}

resource "aws_vpc_security_group_egress_rule" "load_balancer_tasks" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Requests and health checks"
  ip_protocol                  = "tcp"
  from_port                    = local.container_port
  to_port                      = local.container_port
  referenced_security_group_id = aws_security_group.tasks.id
}

# --- Name and certificate ---

resource "aws_acm_certificate" "main" {
  count = local.https_enabled ? 1 : 0

  domain_name       = local.origin_name
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_acm_certificate" "cloudfront" {
  count    = local.https_enabled && var.cloudfront_enabled ? 1 : 0
  provider = aws.us_east_1

  domain_name       = var.domain_name
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# A certificate of one name has one option, and its record is the same in every region.
resource "aws_route53_record" "certificate" {
  count = local.https_enabled ? 1 : 0

  zone_id = var.route53_zone_id
  name    = one(aws_acm_certificate.main[0].domain_validation_options).resource_record_name
  type    = one(aws_acm_certificate.main[0].domain_validation_options).resource_record_type
  records = [one(aws_acm_certificate.main[0].domain_validation_options).resource_record_value]
  ttl     = 300

  allow_overwrite = true
}

resource "aws_route53_record" "certificate_cloudfront" {
  count = local.https_enabled && var.cloudfront_enabled ? 1 : 0

  zone_id = var.route53_zone_id
  name    = one(aws_acm_certificate.cloudfront[0].domain_validation_options).resource_record_name
  type    = one(aws_acm_certificate.cloudfront[0].domain_validation_options).resource_record_type
  records = [one(aws_acm_certificate.cloudfront[0].domain_validation_options).resource_record_value]
  ttl     = 300

  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "main" {
  count = local.https_enabled ? 1 : 0

  certificate_arn         = aws_acm_certificate.main[0].arn
  validation_record_fqdns = [aws_route53_record.certificate[0].fqdn]
}

resource "aws_acm_certificate_validation" "cloudfront" {
  count    = local.https_enabled && var.cloudfront_enabled ? 1 : 0
  provider = aws.us_east_1

  certificate_arn         = aws_acm_certificate.cloudfront[0].arn
  validation_record_fqdns = [aws_route53_record.certificate_cloudfront[0].fqdn]
}

resource "aws_route53_record" "load_balancer" {
  count = local.https_enabled ? 1 : 0

  zone_id = var.route53_zone_id
  name    = local.origin_name
  type    = "A"

  alias {
    name                   = aws_lb.main.dns_name
    zone_id                = aws_lb.main.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "cloudfront" {
  for_each = toset(local.https_enabled && var.cloudfront_enabled ? ["A", "AAAA"] : [])

  zone_id = var.route53_zone_id
  name    = var.domain_name
  type    = each.key

  alias {
    name                   = aws_cloudfront_distribution.main[0].domain_name
    zone_id                = aws_cloudfront_distribution.main[0].hosted_zone_id
    evaluate_target_health = false
  }
}

# --- CDN ---

data "aws_cloudfront_cache_policy" "disabled" {
  count = var.cloudfront_enabled ? 1 : 0

  name = "Managed-CachingDisabled"
}

data "aws_cloudfront_origin_request_policy" "all_viewer" {
  count = var.cloudfront_enabled ? 1 : 0

  name = "Managed-AllViewer"
}

resource "aws_cloudfront_response_headers_policy" "main" {
  count = var.cloudfront_enabled ? 1 : 0

  # checkov:skip=CKV_AWS_259:It is enforced for a year; what is missing is the browsers' preload list, which binds the whole domain for good.
  name    = local.prefix
  comment = "What a browser must not do with an answer"

  security_headers_config {
    strict_transport_security {
      access_control_max_age_sec = 31536000 # a year
      include_subdomains         = true
      override                   = true
    }

    content_type_options {
      override = true
    }

    frame_options {
      frame_option = "DENY"
      override     = true
    }

    referrer_policy {
      referrer_policy = "no-referrer"
      override        = true
    }
  }
}

# Every answer belongs to one user, so nothing is cached: CloudFront ends TLS near the client and
# absorbs floods. Finished PDFs come from S3 by presigned links.
resource "aws_cloudfront_distribution" "main" {
  count = var.cloudfront_enabled ? 1 : 0

  # checkov:skip=CKV_AWS_68:The firewall is a toggle (waf_enabled); with both on, it is attached here.
  # checkov:skip=CKV2_AWS_47:The firewall carries AWS's rules against known bad inputs, Log4j among them, when it is on.
  # checkov:skip=CKV_AWS_86:The load balancer's access log records every request, because nothing is cached.
  # checkov:skip=CKV_AWS_310:There is one origin; its second zone is behind the load balancer.
  # checkov:skip=CKV_AWS_374:The service is meant for clients of every country.
  # checkov:skip=CKV_AWS_305:An API has no index page.
  # checkov:skip=CKV_AWS_174:CloudFront's own certificate allows no policy; with a domain it is TLS 1.2 of 2021.
  # checkov:skip=CKV2_AWS_42:Without a domain there is no certificate but CloudFront's own.
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  comment         = local.prefix
  web_acl_id      = var.waf_enabled ? aws_wafv2_web_acl.main[0].arn : null
  price_class     = "PriceClass_100"
  aliases         = local.https_enabled ? [var.domain_name] : []

  origin {
    origin_id   = "load-balancer"
    domain_name = local.https_enabled ? local.origin_name : aws_lb.main.dns_name

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = local.https_enabled ? "https-only" : "http-only"
      origin_ssl_protocols   = ["TLSv1.2"]
      # The most that CloudFront gives without a quota increase; a request held for longer is cut.
      origin_read_timeout = 60
      # Less than the load balancer's idle time-out, so that CloudFront never reuses a connection just closed.
      origin_keepalive_timeout = max(1, min(60, var.alb_idle_timeout_s - 5))
    }
  }

  default_cache_behavior {
    target_origin_id           = "load-balancer"
    viewer_protocol_policy     = "redirect-to-https"
    allowed_methods            = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    cached_methods             = ["GET", "HEAD"]
    compress                   = true
    cache_policy_id            = data.aws_cloudfront_cache_policy.disabled[0].id
    origin_request_policy_id   = data.aws_cloudfront_origin_request_policy.all_viewer[0].id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.main[0].id
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    cloudfront_default_certificate = local.https_enabled ? null : true
    acm_certificate_arn            = local.https_enabled ? aws_acm_certificate_validation.cloudfront[0].certificate_arn : null
    ssl_support_method             = local.https_enabled ? "sni-only" : null
    minimum_protocol_version       = local.https_enabled ? "TLSv1.2_2021" : "TLSv1"
  }
}

# --- Firewall ---

locals {
  # AWS's own groups of rules, in the order in which they are tried.
  waf_managed_rules = ["AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesKnownBadInputsRuleSet", "AWSManagedRulesCommonRuleSet"]
}

resource "aws_wafv2_web_acl" "main" {
  count = var.waf_enabled ? 1 : 0

  # It stands where the clients' own addresses are seen. For CloudFront that is a resource of us-east-1,
  # which is why waf_enabled asks for that region.
  # checkov:skip=CKV2_AWS_31:The load balancer's access log records what was blocked; a firewall log would be charged by the GB.
  name  = local.prefix
  scope = var.cloudfront_enabled ? "CLOUDFRONT" : "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "rate-limit"
    priority = 0

    action {
      block {}
    }

    statement {
      rate_based_statement {
        limit              = var.waf_requests_per_5_min_max
        aggregate_key_type = "IP"
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "${local.prefix}-rate-limit"
      sampled_requests_enabled   = true
    }
  }

  dynamic "rule" {
    for_each = local.waf_managed_rules
    content {
      name     = rule.value
      priority = 10 + rule.key

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.value

          # An uploaded PDF is larger than the 8 KB of body that this rule allows.
          dynamic "rule_action_override" {
            for_each = rule.value == "AWSManagedRulesCommonRuleSet" ? ["SizeRestrictions_BODY"] : []
            content {
              name = rule_action_override.value
              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${local.prefix}-${rule.value}"
        sampled_requests_enabled   = true
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = local.prefix
    sampled_requests_enabled   = true
  }
}

resource "aws_wafv2_web_acl_association" "load_balancer" {
  count = var.waf_enabled && !var.cloudfront_enabled ? 1 : 0

  resource_arn = aws_lb.main.arn
  web_acl_arn  = aws_wafv2_web_acl.main[0].arn
}
