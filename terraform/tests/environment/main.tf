# Reads a stage's two tfvars files, so that the tests run the very values that are deployed.

terraform {
  required_providers {
    terraform = { source = "terraform.io/builtin/terraform" }
  }
}

variable "stage" {
  description = "Name of the files in environments/ and environments/settings/."
  type        = string
}

locals {
  # Defaults of the variables that some stage sets and another does not.
  defaults = {
    autoscaling_metric                = "none"
    autoscaling_cpu_target_percent    = 70
    autoscaling_memory_target_percent = 80
    autoscaling_queue_depth_target    = 1
    scale_out_cooldown_s              = 300
    scale_in_cooldown_s               = 300
    generation_duration_s             = 900
    fargate_vcpu_quota                = 6
    enforce_findings                  = true
    cloudfront_enabled                = false
    waf_enabled                       = false
    deployment_strategy               = "rolling"
    database_engine_version           = "16"
    database_read_replicas            = 0
    cache_engine                      = "valkey"
    cache_engine_version              = "8.0"
    cache_replicas                    = 0
  }

  sizing   = provider::terraform::decode_tfvars(file("${path.module}/../../environments/${var.stage}.tfvars"))
  settings = provider::terraform::decode_tfvars(file("${path.module}/../../environments/settings/${var.stage}.tfvars"))
}

output "values" {
  description = "Every value of the stage."
  value       = merge(local.defaults, local.sizing, local.settings)
}

output "unknown" {
  description = "Values that the tests would not hand on."
  value = setsubtract(keys(merge(local.sizing, local.settings)), concat(keys(local.defaults), [
    "task_cpu", "task_memory_mib", "generation_workers", "tasks_min", "tasks_desired", "tasks_max", "nat_gateways",
    "alb_idle_timeout_s", "deregistration_delay_s", "stop_timeout_s", "db_instance_class", "db_multi_az", "cache_mode",
    "environment", "generation_mode",
  ]))
}
