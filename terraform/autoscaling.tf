# Target tracking, with the review's cooldowns (60 s out, 300 s in) where the sizing says so. Several
# policies together: the larger capacity wins.

locals {
  autoscaling_enabled = var.autoscaling_metric != "none"

  autoscaling_predefined = merge(
    contains(["cpu", "cpu_and_memory"], var.autoscaling_metric) ? {
      cpu = { type = "ECSServiceAverageCPUUtilization", target = var.autoscaling_cpu_target_percent }
    } : {},
    contains(["memory", "cpu_and_memory"], var.autoscaling_metric) ? {
      memory = { type = "ECSServiceAverageMemoryUtilization", target = var.autoscaling_memory_target_percent }
    } : {},
  )
}

resource "aws_appautoscaling_target" "tasks" {
  count = local.autoscaling_enabled ? 1 : 0

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${local.service_name}"
  min_capacity       = var.tasks_min
  max_capacity       = var.tasks_max
}

resource "aws_appautoscaling_policy" "predefined" {
  for_each = local.autoscaling_predefined

  name               = "${local.prefix}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.tasks[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.tasks[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.tasks[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.target
    scale_out_cooldown = var.scale_out_cooldown_s
    scale_in_cooldown  = var.scale_in_cooldown_s

    predefined_metric_specification {
      predefined_metric_type = each.value.type
    }
  }
}

# Queued generations per running task. CPU says nothing of a backend that waits for OpenAI.
resource "aws_appautoscaling_policy" "queue_depth" {
  count = local.scales_on_queue ? 1 : 0

  name               = "${local.prefix}-queue-depth"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.tasks[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.tasks[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.tasks[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.autoscaling_queue_depth_target
    scale_out_cooldown = var.scale_out_cooldown_s
    scale_in_cooldown  = var.scale_in_cooldown_s

    customized_metric_specification {
      metrics {
        id          = "depth"
        label       = "Queued generations, as each task reports them"
        return_data = false

        metric_stat {
          stat = "Average"

          metric {
            namespace   = local.metric_namespace
            metric_name = "allegiant_queue_depth"

            dimensions {
              name  = "service"
              value = "backend"
            }
          }
        }
      }

      metrics {
        id          = "tasks"
        label       = "Running tasks"
        return_data = false

        metric_stat {
          stat = "Average"

          metric {
            namespace   = "ECS/ContainerInsights"
            metric_name = "RunningTaskCount"

            dimensions {
              name  = "ClusterName"
              value = aws_ecs_cluster.main.name
            }

            dimensions {
              name  = "ServiceName"
              value = local.service_name
            }
          }
        }
      }

      metrics {
        id          = "depth_per_task"
        label       = "Queued generations per task"
        expression  = "depth / tasks"
        return_data = true
      }
    }
  }
}
