# What breaks a sizing although every single value is allowed. Each finding is told as a warning (check)
# and, unless enforce_findings is off, refused. The numbers are those of AWS.

locals {
  vcpu_per_task = var.task_cpu / 1024
  synchronous   = var.generation_mode == "sync"

  # Memory of the classes in GiB. RDS's default of max_connections is LEAST(memory / 9531392, 5000) of the
  # memory that is left beside the system's: 79 were seen on a micro, where the formula on 1 GiB says 112.
  database_memory_gib = {
    "db.t3.micro"   = 1, "db.t3.small" = 2, "db.t3.medium" = 4, "db.t3.large" = 8
    "db.t4g.micro"  = 1, "db.t4g.small" = 2, "db.t4g.medium" = 4, "db.t4g.large" = 8
    "db.t4g.xlarge" = 16, "db.t4g.2xlarge" = 32
    "db.m5.large"   = 8, "db.m5.xlarge" = 16
    "db.m6g.large"  = 8, "db.m6g.xlarge" = 16, "db.m6g.2xlarge" = 32
    "db.m6i.large"  = 8, "db.m6i.xlarge" = 16, "db.m6i.2xlarge" = 32
    "db.m7g.large"  = 8, "db.m7g.xlarge" = 16, "db.m7g.2xlarge" = 32
    "db.r5.large"   = 16, "db.r5.xlarge" = 32, "db.r5.2xlarge" = 64
    "db.r6g.large"  = 16, "db.r6g.xlarge" = 32, "db.r6g.2xlarge" = 64
    "db.r6i.large"  = 16, "db.r6i.xlarge" = 32, "db.r6i.2xlarge" = 64
    "db.r7g.large"  = 16, "db.r7g.xlarge" = 32, "db.r7g.2xlarge" = 64
  }
  database_connections_micro = 79

  # A class that is not listed is taken for a micro: too little is told, too much would be discovered at night.
  database_connections_max = coalesce(
    var.database_connections_max,
    min(5000, local.database_connections_micro * lookup(local.database_memory_gib, var.db_instance_class, 1)),
  )
  # PostgreSQL keeps three for the superuser (superuser_reserved_connections).
  database_connections_free = local.database_connections_max - 3

  # Blue/green runs both sets at once.
  task_sets = local.blue_green ? 2 : 1
  vcpu_peak = local.task_sets * var.tasks_max * local.vcpu_per_task
  # ECS takes the percentages of the tasks that are wanted at that moment, which autoscaling may have raised, and
  # rounds the most tasks down and the fewest healthy ones up (API reference, DeploymentConfiguration).
  vcpu_deployment   = floor(var.tasks_max * var.deployment_maximum_percent / 100) * local.vcpu_per_task
  deployment_most   = floor(var.tasks_min * var.deployment_maximum_percent / 100)
  deployment_fewest = ceil(var.tasks_min * var.deployment_minimum_healthy_percent / 100)
  # Old and new tasks side by side, as many as the percentage and the account's quota let run: each has its own pool.
  tasks_deployment  = max(var.tasks_max, min(floor(var.tasks_max * var.deployment_maximum_percent / 100), floor(var.fargate_vcpu_quota / local.vcpu_per_task)))
  tasks_peak        = local.blue_green ? 2 * var.tasks_max : local.tasks_deployment
  connections_peak  = local.tasks_peak * var.database_pool_max
  stop_timeout_need = local.synchronous ? var.generation_duration_s : 2 * local.stop_timeout_margin
  drain_need        = local.synchronous ? var.generation_duration_s : var.request_timeout_s
  unused_protection = var.task_protection_enabled ? "; task_protection_enabled changes nothing, for the backend never protects its task" : ""

  findings = {
    alb_idle_timeout = {
      holds  = !local.synchronous || var.alb_idle_timeout_s > var.generation_duration_s
      remedy = "A request that waits ${var.generation_duration_s} s is cut by the load balancer after ${var.alb_idle_timeout_s} s without a byte: raise alb_idle_timeout_s above it, or set generation_mode to queue."
    }
    cloudfront_timeout = {
      holds  = !(local.synchronous && var.cloudfront_enabled && var.generation_duration_s > 60)
      remedy = "CloudFront waits 60 s for an answer, a synchronous generation takes ${var.generation_duration_s} s: turn cloudfront_enabled off, or set generation_mode to queue."
    }
    deregistration_delay = {
      holds  = var.deregistration_delay_s >= local.drain_need
      remedy = "A request may take ${local.drain_need} s, a deregistered task answers for ${var.deregistration_delay_s} s: every deployment and scale-in would answer 502. Raise deregistration_delay_s, or set generation_mode to queue."
    }
    stop_timeout = {
      holds  = var.stop_timeout_s >= local.stop_timeout_need
      remedy = "A task needs ${local.stop_timeout_need} s to stop in order, and is killed after ${var.stop_timeout_s} s (Fargate allows at most 120${local.unused_protection}). ${local.stop_timeout_need > 120 ? "Set" : "Raise stop_timeout_s, or set"} generation_mode to queue."
    }
    deployment_room = {
      holds  = local.blue_green || local.deployment_most > local.deployment_fewest
      remedy = "With tasks_min ${var.tasks_min}, a deployment may run ${local.deployment_most} and must leave ${local.deployment_fewest} healthy, so that nothing can be replaced: raise deployment_maximum_percent, lower deployment_minimum_healthy_percent, or raise tasks_min."
    }
    spot = {
      holds  = !(local.synchronous && var.spot_percent > 0 && var.generation_duration_s > 120)
      remedy = "Spot takes a task away after a warning of 120 s, a synchronous generation takes ${var.generation_duration_s} s: set spot_percent to 0, or generation_mode to queue."
    }
    database_connections = {
      holds  = local.connections_peak <= local.database_connections_free
      remedy = "${local.connections_peak} connections may be opened while a deployment runs (${local.tasks_peak} tasks of ${var.database_pool_max}, ${var.tasks_max} of them old), ${var.db_instance_class} leaves ${local.database_connections_free} of its ${local.database_connections_max}: lower database_pool_max${local.blue_green ? "" : ", deployment_maximum_percent"} or tasks_max, or take a larger db_instance_class."
    }
    shared_cache = {
      holds  = var.cache_mode == "elasticache" || var.tasks_max == 1
      remedy = "With cache_mode ${var.cache_mode} each of ${var.tasks_max} tasks has sessions and limits of its own: set cache_mode to elasticache, or tasks_max to 1."
    }
    vcpu_quota = {
      holds  = local.vcpu_peak <= var.fargate_vcpu_quota
      remedy = "${local.vcpu_peak} vCPU may run at once (${local.task_sets * var.tasks_max} tasks of ${local.vcpu_per_task}), the account may run ${var.fargate_vcpu_quota}: lower tasks_max or task_cpu, or have the quota raised and say so in fargate_vcpu_quota."
    }
  }

  findings_broken = { for name, finding in local.findings : name => finding.remedy if !finding.holds }
}

# The configuration's gate: nothing else depends on it, and yet no plan passes it.
resource "terraform_data" "findings" {
  lifecycle {
    precondition {
      condition     = !var.enforce_findings || length(local.findings_broken) == 0
      error_message = join("\n", [for name, remedy in local.findings_broken : "${name}: ${remedy}"])
    }
  }
}

check "alb_idle_timeout" {
  assert {
    condition     = local.findings.alb_idle_timeout.holds
    error_message = local.findings.alb_idle_timeout.remedy
  }
}

check "cloudfront_timeout" {
  assert {
    condition     = local.findings.cloudfront_timeout.holds
    error_message = local.findings.cloudfront_timeout.remedy
  }
}

check "deregistration_delay" {
  assert {
    condition     = local.findings.deregistration_delay.holds
    error_message = local.findings.deregistration_delay.remedy
  }
}

check "stop_timeout" {
  assert {
    condition     = local.findings.stop_timeout.holds
    error_message = local.findings.stop_timeout.remedy
  }
}

check "deployment_room" {
  assert {
    condition     = local.findings.deployment_room.holds
    error_message = local.findings.deployment_room.remedy
  }
}

check "spot" {
  assert {
    condition     = local.findings.spot.holds
    error_message = local.findings.spot.remedy
  }
}

check "database_connections" {
  assert {
    condition     = local.findings.database_connections.holds
    error_message = local.findings.database_connections.remedy
  }
}

check "shared_cache" {
  assert {
    condition     = local.findings.shared_cache.holds
    error_message = local.findings.shared_cache.remedy
  }
}

check "vcpu_quota" {
  assert {
    condition     = local.findings.vcpu_quota.holds
    error_message = local.findings.vcpu_quota.remedy
  }
}

# --- Told only: these cost money or time, and break nothing ---

check "deployment_surge" {
  assert {
    condition     = local.blue_green || local.vcpu_deployment <= var.fargate_vcpu_quota
    error_message = "A rolling deployment of ${var.tasks_max} tasks wants ${local.vcpu_deployment} vCPU for a while, the account may run ${var.fargate_vcpu_quota}: it replaces fewer tasks at a time, and where not one more fits waits until autoscaling takes some away."
  }
}

check "task_protection" {
  assert {
    condition     = !var.task_protection_enabled
    error_message = "task_protection_enabled only grants the permission: the backend never protects its task, so scale-in and deployments stop it as they stop any other. Turn it off."
  }
}

check "database_support" {
  assert {
    condition     = tonumber(var.database_engine_version) >= 15
    error_message = "PostgreSQL ${var.database_engine_version} leaves standard support on 2027-02-28; extended support costs 146 USD a month on 2 vCPU, and this configuration declines it, so AWS upgrades the database then."
  }
}

check "cache_support" {
  assert {
    condition     = !(var.cache_mode == "elasticache" && var.cache_engine == "redis" && var.cache_engine_version == "6.2")
    error_message = "Redis 6.2 leaves standard support on 2027-01-31; extended support adds 80 % to the node's price."
  }
}
