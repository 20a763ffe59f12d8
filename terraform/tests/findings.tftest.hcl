# What the configuration must refuse although every single value is allowed, and what it must let pass.

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

run "synchronous_wait_that_nothing_covers" {
  command = plan

  variables {
    generation_mode        = "sync"
    alb_idle_timeout_s     = 900
    deregistration_delay_s = 899
    stop_timeout_s         = 120
    spot_percent           = 50
    cloudfront_enabled     = true
    # The backend does not use it, so that it covers nothing.
    task_protection_enabled = true
    # Of the one task of tasks_min that is one task, rounded down, and one must be left.
    deployment_maximum_percent = 150
  }

  expect_failures = [
    terraform_data.findings,
    check.alb_idle_timeout,
    check.cloudfront_timeout,
    check.deregistration_delay,
    check.stop_timeout,
    check.deployment_room,
    check.spot,
    check.task_protection,
  ]
}

run "what_is_covered_asked_for_and_granted" {
  command = plan

  variables {
    generation_mode          = "sync"
    generation_duration_s    = 120
    alb_idle_timeout_s       = 121
    deregistration_delay_s   = 120
    stop_timeout_s           = 120
    tasks_min                = 2
    tasks_max                = 8
    task_cpu                 = 2048
    task_memory_mib          = 4096
    fargate_vcpu_quota       = 16
    db_instance_class        = "db.x9z.huge"
    database_connections_max = 83
    # Twelve of eight tasks, of which the quota lets eight run.
    deployment_maximum_percent = 150
  }

  assert {
    condition     = length(output.findings) == 0
    error_message = "nothing must be found"
  }

  assert {
    condition     = local.connections_peak == 80 && local.database_connections_free == 80
    error_message = "a deployment opens no more connections than the tasks that the quota lets run"
  }

  expect_failures = [check.deployment_surge]
}

run "queue_that_is_cut_short_and_blue_green_that_runs_both_sets" {
  command = plan

  variables {
    deregistration_delay_s = 29
    stop_timeout_s         = 9
    cache_mode             = "none"
    # One set of four tasks would hold both: 40 connections, 4 vCPU.
    deployment_strategy = "blue_green"
    tasks_max           = 4
    # A class that nobody knows counts as a micro.
    db_instance_class = "db.x9z.huge"
  }

  assert {
    condition     = local.connections_peak == 80
    error_message = "two sets of four tasks open ten connections each"
  }

  expect_failures = [
    terraform_data.findings,
    check.deregistration_delay,
    check.stop_timeout,
    check.database_connections,
    check.shared_cache,
    check.vcpu_quota,
  ]
}

run "queue_at_its_bounds" {
  command = plan

  variables {
    deregistration_delay_s = 30
    stop_timeout_s         = 10
    tasks_max              = 6
    tasks_desired          = 3
    database_pool_max      = 12
  }

  assert {
    condition     = length(output.findings) == 0
    error_message = "nothing must be found"
  }

  assert {
    condition     = local.connections_peak == 72 && local.database_connections_free == 76
    error_message = "a micro allows 79 connections, not the 112 of the formula, and three are the superuser's"
  }

  assert {
    condition     = local.vcpu_peak == 6
    error_message = "six tasks of 1 vCPU are the default quota"
  }

  assert {
    condition     = local.vcpu_deployment == 12
    error_message = "a deployment may come while all six tasks run, not only the three that a fresh one starts with"
  }

  expect_failures = [check.deployment_surge]
}

run "deployment_that_opens_more_connections_than_there_are" {
  command = plan

  variables {
    # Six old tasks open 60 connections, five new ones beside them 50 more.
    tasks_max                  = 6
    fargate_vcpu_quota         = 11
    deployment_maximum_percent = 200
  }

  assert {
    condition     = local.connections_peak == 110 && keys(output.findings) == ["database_connections"] && strcontains(output.findings["database_connections"], "deployment_maximum_percent")
    error_message = "old and new tasks of a rolling deployment have their pools side by side"
  }

  expect_failures = [
    terraform_data.findings,
    check.database_connections,
    check.deployment_surge,
  ]
}

run "finding_that_is_only_told" {
  command = plan

  variables {
    tasks_min        = 2
    tasks_max        = 2
    task_cpu         = 4096
    task_memory_mib  = 8192
    cache_mode       = "sidecar"
    enforce_findings = false
  }

  assert {
    condition     = keys(output.findings) == ["shared_cache", "vcpu_quota"] && strcontains(output.findings["shared_cache"], "tasks_max to 1")
    error_message = "a finding must name its remedy"
  }

  # --- The sidecar, which is made all the same ---

  assert {
    condition     = length(aws_elasticache_replication_group.main) == 0 && length(aws_secretsmanager_secret.cache_url) == 0
    error_message = "a sidecar needs no managed cache"
  }

  assert {
    condition     = contains(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["backend"].environment, { name = "REDIS_URL", value = "redis://127.0.0.1:6379/0" })
    error_message = "the backend must find the sidecar"
  }

  assert {
    condition     = contains(({ for container in jsondecode(aws_ecs_task_definition.backend.container_definitions) : container.name => container })["cache"].command, "127.0.0.1")
    error_message = "the sidecar must not listen outside of its task"
  }

  expect_failures = [
    check.shared_cache,
    check.vcpu_quota,
    check.deployment_surge,
  ]
}
