output "url" {
  description = "Where the service answers."
  value       = local.public_url
}

output "repository_url" {
  description = "ECR repository that the backend's image is pushed to."
  value       = aws_ecr_repository.backend.repository_url
}

output "cluster_name" {
  description = "ECS cluster."
  value       = aws_ecs_cluster.main.name
}

output "service_name" {
  description = "ECS service."
  value       = local.service_name
}

output "task_definition_arn" {
  description = "Newest revision of the task definition; a blue/green deployment is started with it."
  value       = aws_ecs_task_definition.backend.arn
}

output "codedeploy" {
  description = "Application and group that a blue/green deployment is started in. Null with rolling deployments."
  value = local.blue_green ? {
    application = aws_codedeploy_app.main[0].name
    group       = aws_codedeploy_deployment_group.main[0].deployment_group_name
  } : null
}

output "documents_bucket" {
  description = "Bucket of documents and proposals."
  value       = aws_s3_bucket.main["documents"].id
}

output "openai_api_key_secret_arn" {
  description = "Secret that a person puts OpenAI's key into."
  value       = aws_secretsmanager_secret.openai_api_key.arn
}

output "dispatch_queue_url" {
  description = "Queue that dispatches generations. Null unless dispatch_queue_enabled."
  value       = one(aws_sqs_queue.generations[*].id)
}

output "database_replica_addresses" {
  description = "Hosts of the read replicas."
  value       = aws_db_instance.replica[*].address
}

output "findings" {
  description = "What is known to break with this sizing: name -> remedy. Empty unless enforce_findings is off."
  value       = local.findings_broken
}
