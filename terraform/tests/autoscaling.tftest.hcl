# What autoscaling follows. Both metrics together are the proposal (environments.tftest.hcl), none and the
# queue depth are in compute.tftest.hcl.

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
  tasks_max          = 4
}

run "autoscaling_cpu" {
  command = plan

  variables {
    autoscaling_metric   = "cpu"
    scale_out_cooldown_s = 60
    scale_in_cooldown_s  = 300
  }

  assert {
    condition     = toset(keys(aws_appautoscaling_policy.predefined)) == toset(["cpu"])
    error_message = "the policies must follow what is named, and nothing else"
  }

  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.predefined : one(policy.target_tracking_scaling_policy_configuration).scale_out_cooldown == 60 && one(policy.target_tracking_scaling_policy_configuration).scale_in_cooldown == 300])
    error_message = "the cooldowns must be the sizing's"
  }

  assert {
    condition     = one(aws_appautoscaling_target.tasks).min_capacity == 1 && one(aws_appautoscaling_target.tasks).max_capacity == 4
    error_message = "the bounds must be the sizing's"
  }

  assert {
    condition     = length(aws_appautoscaling_policy.queue_depth) == 0
    error_message = "the queue must not be followed"
  }
}

run "autoscaling_memory" {
  command = plan

  variables {
    autoscaling_metric   = "memory"
    scale_out_cooldown_s = 60
    scale_in_cooldown_s  = 300
  }

  assert {
    condition     = toset(keys(aws_appautoscaling_policy.predefined)) == toset(["memory"])
    error_message = "the policies must follow what is named, and nothing else"
  }

  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.predefined : one(policy.target_tracking_scaling_policy_configuration).scale_out_cooldown == 60 && one(policy.target_tracking_scaling_policy_configuration).scale_in_cooldown == 300])
    error_message = "the cooldowns must be the sizing's"
  }

  assert {
    condition     = one(aws_appautoscaling_target.tasks).min_capacity == 1 && one(aws_appautoscaling_target.tasks).max_capacity == 4
    error_message = "the bounds must be the sizing's"
  }

  assert {
    condition     = length(aws_appautoscaling_policy.queue_depth) == 0
    error_message = "the queue must not be followed"
  }
}
