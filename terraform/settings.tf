# Every other variable, with a default for each but image_tag: what a reviewer of a sizing need not read. The gate
# takes these too, because some of them break a sizing (findings.tf) or cost money; a stage's values are in
# environments/settings/.

# --- Naming ---

variable "region" {
  description = "AWS region. The gate bills eu-west-1 where its prices are known, and everything else at those of us-east-1."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the name of an AWS region, such as us-east-1."
  }
}

variable "name" {
  description = "Product name; prefix of every resource's name."
  type        = string
  default     = "allegiant"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,11}$", var.name))
    error_message = "name must be 2 to 12 lower-case letters, digits and hyphens: a load balancer's name has at most 32."
  }
}

variable "environment" {
  description = "Stage that this state holds, such as mvp, growth or scale; the second part of every name."
  type        = string
  default     = "proposal"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,11}$", var.environment))
    error_message = "environment must be 2 to 12 lower-case letters, digits and hyphens."
  }
}

# --- What is judged beside the sizing ---

variable "generation_mode" {
  description = "How a client gets its generation: queue (202 at once, then polls; what this backend does) or sync (the request stays open, as the review proposes)."
  type        = string
  default     = "queue"

  validation {
    condition     = contains(["queue", "sync"], var.generation_mode)
    error_message = "generation_mode must be queue or sync."
  }
}

variable "generation_duration_s" {
  description = "Seconds that the longest generation takes. The review says 10 to 15 minutes."
  type        = number
  default     = 900

  validation {
    condition     = var.generation_duration_s >= 1 && var.generation_duration_s <= 43200 && floor(var.generation_duration_s) == var.generation_duration_s
    error_message = "generation_duration_s must be a whole number from 1 to 43200 seconds (12 hours, the longest a queue may hide a message)."
  }
}

variable "request_timeout_s" {
  description = "Seconds after which the backend gives up a request that is no upload."
  type        = number
  default     = 30

  validation {
    condition     = var.request_timeout_s >= 1 && var.request_timeout_s <= 4000 && floor(var.request_timeout_s) == var.request_timeout_s
    error_message = "request_timeout_s must be a whole number from 1 to 4000 seconds."
  }
}

variable "fargate_vcpu_quota" {
  description = "vCPU that the account may run on Fargate in this region. AWS grants 6 by default; more must be asked for."
  type        = number
  default     = 6

  validation {
    condition     = var.fargate_vcpu_quota > 0
    error_message = "fargate_vcpu_quota must be more than 0 vCPU."
  }
}

variable "enforce_findings" {
  description = "Whether a sizing with a finding (findings.tf) is refused. False only to look at a proposal that is known to be broken."
  type        = bool
  default     = true
  nullable    = false
}

# --- Network and edge ---

variable "vpc_cidr" {
  description = "Address range of the VPC."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && endswith(var.vpc_cidr, "/16")
    error_message = "vpc_cidr must be an IPv4 range with a /16 mask, such as 10.0.0.0/16."
  }
}

variable "availability_zones" {
  description = "The two availability zones. Named, not looked up, so that a zone that AWS adds moves nothing."
  type        = list(string)
  default     = ["us-east-1a", "us-east-1b"]

  validation {
    condition     = length(distinct(var.availability_zones)) == 2 && alltrue([for zone in var.availability_zones : can(regex("^${var.region}[a-z]$", zone))])
    error_message = "availability_zones must be two different zones of region and be given with it, such as ${var.region}a and ${var.region}b for ${var.region}."
  }
}

variable "domain_name" {
  description = "Name under which the service answers by HTTPS. Null: HTTP only, under the load balancer's own name."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null || can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name))
    error_message = "domain_name must be a lower-case host name, such as api.example.com."
  }
  validation {
    condition     = (var.domain_name == null) == (var.route53_zone_id == null)
    error_message = "domain_name and route53_zone_id go together: give both, or neither."
  }
}

variable "route53_zone_id" {
  description = "Route 53 hosted zone of domain_name."
  type        = string
  default     = null

  validation {
    condition     = var.route53_zone_id == null || can(regex("^Z[A-Z0-9]+$", var.route53_zone_id))
    error_message = "route53_zone_id must be a hosted zone's id, such as Z0123456789ABCDEFGHIJ."
  }
}

variable "health_check_path" {
  description = "Path that the load balancer probes."
  type        = string
  default     = "/health"

  validation {
    condition     = startswith(var.health_check_path, "/")
    error_message = "health_check_path must begin with /."
  }
}

variable "health_check_interval_s" {
  description = "Seconds between two probes of the load balancer."
  type        = number
  default     = 15

  validation {
    condition     = var.health_check_interval_s >= 5 && var.health_check_interval_s <= 300
    error_message = "health_check_interval_s must be from 5 to 300 seconds."
  }
}

variable "health_check_timeout_s" {
  description = "Seconds after which a probe has failed."
  type        = number
  default     = 5

  validation {
    condition     = var.health_check_timeout_s >= 2 && var.health_check_timeout_s <= 120 && var.health_check_timeout_s < var.health_check_interval_s
    error_message = "health_check_timeout_s must be from 2 to 120 seconds and less than health_check_interval_s."
  }
}

variable "health_check_healthy_count" {
  description = "Probes in a row that must succeed before a target gets requests again."
  type        = number
  default     = 2

  validation {
    condition     = var.health_check_healthy_count >= 2 && var.health_check_healthy_count <= 10
    error_message = "health_check_healthy_count must be from 2 to 10."
  }
}

variable "health_check_unhealthy_count" {
  description = "Probes in a row that must fail before a target gets no more requests."
  type        = number
  default     = 3

  validation {
    condition     = var.health_check_unhealthy_count >= 2 && var.health_check_unhealthy_count <= 10
    error_message = "health_check_unhealthy_count must be from 2 to 10."
  }
}

variable "waf_enabled" {
  description = "Whether a web application firewall stands at the edge, CloudFront's where there is one (from 6 USD a month)."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !(var.waf_enabled && var.cloudfront_enabled) || var.region == "us-east-1"
    error_message = "waf_enabled with cloudfront_enabled needs region us-east-1: a firewall for CloudFront exists there only."
  }
}

variable "waf_requests_per_5_min_max" {
  description = "Requests of one address in 5 minutes before the firewall blocks it. A client that polls every 5 s makes 60."
  type        = number
  default     = 2000

  validation {
    condition     = var.waf_requests_per_5_min_max >= 100 && var.waf_requests_per_5_min_max <= 2000000000
    error_message = "waf_requests_per_5_min_max must be from 100 to 2000000000."
  }
}

variable "cloudfront_enabled" {
  description = "Whether CloudFront stands before the load balancer, which then admits nobody else."
  type        = bool
  default     = false
  nullable    = false
}

# --- Compute ---

variable "image_tag" {
  description = "Tag of the backend's image in the ECR repository. Tags are immutable, so this names one build."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag must be an image tag other than latest, which an immutable repository could take only once."
  }
}

variable "cache_sidecar_image" {
  description = "Image of the Redis beside each task when cache_mode is sidecar."
  type        = string
  default     = "public.ecr.aws/docker/library/redis:7.2-alpine"

  validation {
    condition     = can(regex(":[A-Za-z0-9._-]+$|@sha256:[0-9a-f]{64}$", var.cache_sidecar_image))
    error_message = "cache_sidecar_image must end in a tag or a digest."
  }
}

variable "collector_image" {
  description = "Image of the OpenTelemetry collector that carries the queue depth to CloudWatch when autoscaling_metric is queue_depth."
  type        = string
  default     = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.1"

  validation {
    condition     = can(regex(":[A-Za-z0-9._-]+$|@sha256:[0-9a-f]{64}$", var.collector_image))
    error_message = "collector_image must end in a tag or a digest."
  }
}

variable "openai_model" {
  description = "Model that writes the proposals."
  type        = string
  default     = "gpt-5"

  validation {
    condition     = length(var.openai_model) > 0
    error_message = "openai_model must not be empty."
  }
}

variable "spot_percent" {
  description = "Percentage of the tasks beyond the first that run on Fargate Spot: up to 70 % cheaper, gone after a warning of 2 minutes."
  type        = number
  default     = 0

  validation {
    condition     = var.spot_percent >= 0 && var.spot_percent <= 100 && floor(var.spot_percent) == var.spot_percent
    error_message = "spot_percent must be a whole number from 0 to 100."
  }
}

variable "task_protection_enabled" {
  description = "Whether tasks get the permission to protect themselves from scale-in and deployments. The backend does not use it."
  type        = bool
  default     = false
  nullable    = false
}

variable "deployment_strategy" {
  description = "rolling (ECS replaces tasks, circuit breaker with rollback) or blue_green (CodeDeploy shifts traffic to a second set)."
  type        = string
  default     = "rolling"

  validation {
    condition     = contains(["rolling", "blue_green"], var.deployment_strategy)
    error_message = "deployment_strategy must be rolling or blue_green."
  }
}

variable "deployment_minimum_healthy_percent" {
  description = "Least share of the desired tasks that stays healthy while a rolling deployment runs, in percent."
  type        = number
  default     = 100

  validation {
    condition     = var.deployment_minimum_healthy_percent >= 0 && var.deployment_minimum_healthy_percent <= 100
    error_message = "deployment_minimum_healthy_percent must be from 0 to 100 percent."
  }
}

variable "deployment_maximum_percent" {
  description = "Most tasks that run while a rolling deployment runs, in percent of the desired ones."
  type        = number
  default     = 200

  validation {
    condition     = var.deployment_maximum_percent >= 100 && var.deployment_maximum_percent <= 200 && var.deployment_maximum_percent > var.deployment_minimum_healthy_percent
    error_message = "deployment_maximum_percent must be from 100 to 200 percent and more than deployment_minimum_healthy_percent: otherwise nothing can ever be replaced."
  }
}

# --- Database ---

variable "database_engine_version" {
  description = "Major version of PostgreSQL. 14 leaves standard support on 2027-02-28 and then costs 0.10 USD per vCPU and hour more."
  type        = string
  default     = "16"

  validation {
    condition     = contains(["14", "15", "16", "17"], var.database_engine_version)
    error_message = "database_engine_version must be 14, 15, 16 or 17."
  }
}

variable "database_storage_gb" {
  description = "Storage of the database in GB (gp3)."
  type        = number
  default     = 20

  validation {
    condition     = var.database_storage_gb >= 20 && var.database_storage_gb <= 65536
    error_message = "database_storage_gb must be from 20 to 65536 GB."
  }
}

variable "database_storage_gb_max" {
  description = "Storage in GB up to which RDS grows the database by itself."
  type        = number
  default     = 100

  validation {
    condition     = var.database_storage_gb_max > var.database_storage_gb && var.database_storage_gb_max <= 65536
    error_message = "database_storage_gb_max must be more than database_storage_gb and at most 65536 GB."
  }
}

variable "database_backup_days" {
  description = "Days that automatic backups are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.database_backup_days >= 1 && var.database_backup_days <= 35
    error_message = "database_backup_days must be from 1 to 35 days: 0 would turn backups off, and read replicas need them."
  }
}

variable "database_read_replicas" {
  description = "Read replicas of the database."
  type        = number
  default     = 0

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5], var.database_read_replicas)
    error_message = "database_read_replicas must be a whole number from 0 to 5."
  }
}

variable "database_deletion_protection_enabled" {
  description = "Whether AWS refuses to delete the database, and a deletion leaves a final snapshot."
  type        = bool
  default     = true
  nullable    = false
}

variable "database_pool_max" {
  description = "Connections to the database that one task may open."
  type        = number
  default     = 10

  validation {
    condition     = var.database_pool_max >= 3 && floor(var.database_pool_max) == var.database_pool_max
    error_message = "database_pool_max must be a whole number of at least 3: the backend refuses fewer."
  }
}

variable "database_connections_max" {
  description = "Connections that the database class really allows. Null: derived from the class's memory (findings.tf)."
  type        = number
  default     = null

  validation {
    condition     = var.database_connections_max == null ? true : var.database_connections_max >= 1 && floor(var.database_connections_max) == var.database_connections_max
    error_message = "database_connections_max must be a whole number of at least 1."
  }
}

# --- Cache ---

variable "cache_engine" {
  description = "Engine of the managed cache: valkey (a fifth cheaper) or redis."
  type        = string
  default     = "valkey"

  validation {
    condition     = contains(["valkey", "redis"], var.cache_engine)
    error_message = "cache_engine must be valkey or redis."
  }
}

variable "cache_engine_version" {
  description = "Version of the cache engine. Redis 6.2 leaves standard support on 2027-01-31."
  type        = string
  default     = "8.0"

  validation {
    condition     = contains(var.cache_engine == "valkey" ? ["7.2", "8.0"] : ["6.2", "7.0", "7.1"], var.cache_engine_version)
    error_message = "cache_engine_version must be 7.2 or 8.0 with valkey, and 6.2, 7.0 or 7.1 with redis."
  }
}

variable "cache_node_type" {
  description = "Node type of the managed cache."
  type        = string
  default     = "cache.t4g.micro"

  validation {
    condition     = can(regex("^cache\\.[a-z0-9]+\\.[a-z0-9]+$", var.cache_node_type))
    error_message = "cache_node_type must be an ElastiCache node type, such as cache.t4g.micro."
  }
}

variable "cache_replicas" {
  description = "Replicas of the managed cache; with at least one, it fails over to the other availability zone."
  type        = number
  default     = 0

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5], var.cache_replicas)
    error_message = "cache_replicas must be a whole number from 0 to 5."
  }
}

# --- Dispatch and observability ---

variable "dispatch_queue_enabled" {
  description = "Whether an SQS queue with a dead-letter queue is made for dispatching generations. The backend dispatches through the database today."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that logs are kept in CloudWatch."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_retention_days)
    error_message = "log_retention_days must be 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365 days."
  }
}

variable "alarm_email" {
  description = "Address that alarms are sent to. Null: alarms are raised, and nobody is told."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alarm_email))
    error_message = "alarm_email must be an e-mail address."
  }
}
