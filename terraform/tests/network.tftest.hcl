# Ways in and out: NAT gateways, routes, and which group may reach which port.

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

override_resource {
  target          = aws_security_group.load_balancer
  override_during = plan
  values          = { id = "sg-balancer" }
}

override_resource {
  target          = aws_security_group.tasks
  override_during = plan
  values          = { id = "sg-tasks" }
}

override_resource {
  target          = aws_security_group.database
  override_during = plan
  values          = { id = "sg-database" }
}

override_resource {
  target          = aws_security_group.cache
  override_during = plan
  values          = { id = "sg-cache" }
}

override_resource {
  target          = aws_subnet.public
  override_during = plan
  values          = { id = "subnet-public" }
}

run "no_nat_gateway" {
  command = plan

  variables {
    nat_gateways = 0
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 0 && length(aws_eip.nat) == 0 && length(aws_route.private_nat) == 0
    error_message = "no NAT gateway means no address and no route to one"
  }

  assert {
    condition     = one(one(aws_ecs_service.rolling).network_configuration).assign_public_ip == true
    error_message = "without NAT a task needs a public address"
  }

  assert {
    condition     = contains(local.task_subnets, "subnet-public")
    error_message = "without NAT a task must be in a public subnet"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks_load_balancer.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.tasks_load_balancer.referenced_security_group_id == "sg-balancer"
    error_message = "a public task must still admit the load balancer only"
  }
}

run "one_nat_gateway" {
  command = plan

  variables {
    nat_gateways = 1
    cache_mode   = "elasticache"
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 1 && length(aws_route.private_nat) == 2
    error_message = "both private subnets must use the one gateway"
  }

  assert {
    condition     = one(one(aws_ecs_service.rolling).network_configuration).assign_public_ip == false
    error_message = "a task behind NAT needs no public address"
  }

  assert {
    condition     = aws_vpc.main.cidr_block == "10.0.0.0/16"
    error_message = "the review has 10.0.0.0/16"
  }

  assert {
    condition     = toset(aws_subnet.public[*].cidr_block) == toset(["10.0.0.0/24", "10.0.1.0/24"]) && toset(aws_subnet.private[*].cidr_block) == toset(["10.0.10.0/24", "10.0.11.0/24"])
    error_message = "two public and two private subnets must not overlap"
  }

  assert {
    condition     = toset(aws_subnet.private[*].availability_zone) == toset(["us-east-1a", "us-east-1b"])
    error_message = "the private subnets must be in two zones"
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch == false])
    error_message = "nothing must get a public address by accident"
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "S3 must be reached past NAT"
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.load_balancer) == 1 && aws_vpc_security_group_ingress_rule.load_balancer["80"].cidr_ipv4 == "0.0.0.0/0"
    error_message = "without a domain the load balancer answers on port 80 only"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.load_balancer_tasks.referenced_security_group_id == "sg-tasks" && aws_vpc_security_group_egress_rule.load_balancer_tasks.from_port == 8000
    error_message = "the load balancer may reach nothing but the tasks"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks_load_balancer.from_port == 8000 && aws_vpc_security_group_ingress_rule.tasks_load_balancer.to_port == 8000
    error_message = "the tasks must admit one port only"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.database_tasks.security_group_id == "sg-database" && aws_vpc_security_group_ingress_rule.database_tasks.referenced_security_group_id == "sg-tasks" && aws_vpc_security_group_ingress_rule.database_tasks.from_port == 5432 && aws_vpc_security_group_ingress_rule.database_tasks.to_port == 5432
    error_message = "the database must admit the tasks only"
  }

  assert {
    condition     = one(aws_vpc_security_group_ingress_rule.cache_tasks).security_group_id == "sg-cache" && one(aws_vpc_security_group_ingress_rule.cache_tasks).referenced_security_group_id == "sg-tasks" && one(aws_vpc_security_group_ingress_rule.cache_tasks).from_port == 6379
    error_message = "the cache must admit the tasks only"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.tasks_https.from_port == 443 && aws_vpc_security_group_egress_rule.tasks_https.to_port == 443
    error_message = "to the internet a task may speak HTTPS only"
  }
}
