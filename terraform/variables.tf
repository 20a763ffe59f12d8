# The sizing of the service: the values that `cargo sizing gate` judges and that AWS gets, and no others
# (the rest is in settings.tf).
# A default is what AWS does when nobody says anything, or this project's recommendation where AWS has no say.

# --- Compute ---

variable "task_cpu" {
  description = "CPU units of one Fargate task (1024 = 1 vCPU). Fargate offers 256, 512, 1024, 2048, 4096, 8192 and 16384."
  type        = number

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.task_cpu)
    error_message = "task_cpu must be 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units."
  }
}

variable "task_memory_mib" {
  description = "Memory of one Fargate task in MiB; each task_cpu allows its own range."
  type        = number

  validation {
    condition = contains(lookup({
      256   = [512, 1024, 2048]
      512   = range(1024, 4097, 1024)
      1024  = range(2048, 8193, 1024)
      2048  = range(4096, 16385, 1024)
      4096  = range(8192, 30721, 1024)
      8192  = range(16384, 61441, 4096)
      16384 = range(32768, 122881, 8192)
    }, var.task_cpu, []), var.task_memory_mib)
    error_message = "task_memory_mib is not one that Fargate offers with this task_cpu."
  }
}

variable "cpu_architecture" {
  description = "Instruction set of the tasks: X86_64 or ARM64 (about a fifth cheaper)."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "generation_workers" {
  description = "Generations that one task runs at a time."
  type        = number

  validation {
    condition     = var.generation_workers >= 1 && var.generation_workers <= 100000 && floor(var.generation_workers) == var.generation_workers
    error_message = "generation_workers must be a whole number from 1 to 100000."
  }
}

# --- Scaling ---

variable "tasks_min" {
  description = "Fewest tasks that autoscaling may leave running."
  type        = number

  validation {
    condition     = var.tasks_min >= 1 && floor(var.tasks_min) == var.tasks_min
    error_message = "tasks_min must be a whole number of at least 1."
  }
}

variable "tasks_desired" {
  description = "Tasks that a fresh deployment starts with."
  type        = number

  validation {
    condition     = var.tasks_desired >= var.tasks_min && var.tasks_desired <= var.tasks_max && floor(var.tasks_desired) == var.tasks_desired
    error_message = "tasks_desired must be a whole number between tasks_min and tasks_max."
  }
}

variable "tasks_max" {
  description = "Most tasks that autoscaling may start."
  type        = number

  validation {
    condition     = var.tasks_max >= var.tasks_min && var.tasks_max <= 5000 && floor(var.tasks_max) == var.tasks_max
    error_message = "tasks_max must be a whole number from tasks_min to 5000, the most that a service may have."
  }
}

variable "autoscaling_metric" {
  description = "What autoscaling follows: none, cpu, memory, cpu_and_memory, or queue_depth (queued generations per task)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "cpu", "memory", "cpu_and_memory", "queue_depth"], var.autoscaling_metric)
    error_message = "autoscaling_metric must be none, cpu, memory, cpu_and_memory or queue_depth."
  }
}

variable "autoscaling_cpu_target_percent" {
  description = "Target of CPU tracking, in percent of the task's vCPU."
  type        = number
  default     = 70

  validation {
    condition     = var.autoscaling_cpu_target_percent >= 1 && var.autoscaling_cpu_target_percent <= 100
    error_message = "autoscaling_cpu_target_percent must be from 1 to 100 percent."
  }
}

variable "autoscaling_memory_target_percent" {
  description = "Target of memory tracking, in percent of the task's memory."
  type        = number
  default     = 80

  validation {
    condition     = var.autoscaling_memory_target_percent >= 1 && var.autoscaling_memory_target_percent <= 100
    error_message = "autoscaling_memory_target_percent must be from 1 to 100 percent."
  }
}

variable "autoscaling_queue_depth_target" {
  description = "Target of queue-depth tracking: queued generations per running task."
  type        = number
  default     = 1

  validation {
    condition     = var.autoscaling_queue_depth_target > 0
    error_message = "autoscaling_queue_depth_target must be more than 0 generations."
  }
}

variable "scale_out_cooldown_s" {
  description = "Seconds after a scale-out before the next one. AWS defaults to 300."
  type        = number
  default     = 300

  validation {
    condition     = var.scale_out_cooldown_s >= 0 && var.scale_out_cooldown_s <= 86400 && floor(var.scale_out_cooldown_s) == var.scale_out_cooldown_s
    error_message = "scale_out_cooldown_s must be a whole number from 0 to 86400 seconds (a day)."
  }
}

variable "scale_in_cooldown_s" {
  description = "Seconds after a scale-in before the next one. AWS defaults to 300."
  type        = number
  default     = 300

  validation {
    condition     = var.scale_in_cooldown_s >= 0 && var.scale_in_cooldown_s <= 86400 && floor(var.scale_in_cooldown_s) == var.scale_in_cooldown_s
    error_message = "scale_in_cooldown_s must be a whole number from 0 to 86400 seconds (a day)."
  }
}

# --- Network ---

variable "nat_gateways" {
  description = "NAT gateways: 0 (tasks in public subnets, nothing inbound), 1, or 2 (one per availability zone)."
  type        = number
  default     = 1

  validation {
    condition     = contains([0, 1, 2], var.nat_gateways)
    error_message = "nat_gateways must be 0, 1 or 2."
  }
}

variable "alb_idle_timeout_s" {
  description = "Seconds without a byte after which the load balancer cuts a connection. AWS defaults to 60."
  type        = number
  default     = 60

  validation {
    condition     = var.alb_idle_timeout_s >= 1 && var.alb_idle_timeout_s <= 4000
    error_message = "alb_idle_timeout_s must be from 1 to 4000 seconds."
  }
}

variable "deregistration_delay_s" {
  description = "Seconds that a deregistered task may go on answering. AWS defaults to 300."
  type        = number
  default     = 300

  validation {
    condition     = var.deregistration_delay_s >= 0 && var.deregistration_delay_s <= 3600
    error_message = "deregistration_delay_s must be from 0 to 3600 seconds."
  }
}

variable "stop_timeout_s" {
  description = "Seconds between SIGTERM and SIGKILL. Fargate defaults to 30 and allows at most 120."
  type        = number
  default     = 30

  validation {
    condition     = var.stop_timeout_s >= 1 && var.stop_timeout_s <= 120
    error_message = "stop_timeout_s must be from 1 to 120 seconds: Fargate kills after 120 at the latest."
  }
}

# --- Data stores ---

variable "db_instance_class" {
  description = "RDS instance class."
  type        = string
  default     = "db.t4g.micro"

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.db_instance_class))
    error_message = "db_instance_class must be an RDS instance class, such as db.t4g.micro."
  }
}

variable "db_multi_az" {
  description = "Whether RDS keeps a standby in a second availability zone."
  type        = bool
  default     = false
  nullable    = false
}

variable "cache_mode" {
  description = "Where sessions and limits live: elasticache, sidecar (a Redis beside each task), or none (in process)."
  type        = string
  default     = "elasticache"

  validation {
    condition     = contains(["elasticache", "sidecar", "none"], var.cache_mode)
    error_message = "cache_mode must be elasticache, sidecar or none."
  }
}
