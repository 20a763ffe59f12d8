# Two availability zones, because a load balancer and a database's subnet group need two.

locals {
  # Without a NAT gateway the only way out is a public address; the tasks' security group still admits
  # the load balancer alone.
  tasks_public = var.nat_gateways == 0
  task_subnets = local.tasks_public ? aws_subnet.public[*].id : aws_subnet.private[*].id
}

resource "aws_vpc" "main" {
  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = local.prefix }
}

# The group that AWS makes with the VPC admits its own members; nothing may use it.
resource "aws_default_security_group" "unused" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${local.prefix}-unused" }
}

# --- Subnets ---

resource "aws_subnet" "public" {
  count = 2

  vpc_id                  = aws_vpc.main.id
  availability_zone       = var.availability_zones[count.index]
  cidr_block              = cidrsubnet(var.vpc_cidr, 8, count.index)
  map_public_ip_on_launch = false

  tags = { Name = "${local.prefix}-public-${var.availability_zones[count.index]}" }
}

resource "aws_subnet" "private" {
  count = 2

  vpc_id            = aws_vpc.main.id
  availability_zone = var.availability_zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, 10 + count.index)

  tags = { Name = "${local.prefix}-private-${var.availability_zones[count.index]}" }
}

# --- Ways out ---

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id

  tags = { Name = local.prefix }
}

resource "aws_eip" "nat" {
  # checkov:skip=CKV2_AWS_19:The address belongs to a NAT gateway, not to an instance.
  count = var.nat_gateways

  domain = "vpc"

  tags = { Name = "${local.prefix}-nat-${var.availability_zones[count.index]}" }

  depends_on = [aws_internet_gateway.main]
}

resource "aws_nat_gateway" "main" {
  count = var.nat_gateways

  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id

  tags = { Name = "${local.prefix}-${var.availability_zones[count.index]}" }

  depends_on = [aws_internet_gateway.main]
}

# --- Routes ---

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${local.prefix}-public" }
}

resource "aws_route" "public_internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  count = 2

  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

# One table per zone even with a single NAT gateway: adding the second one then only changes a route.
resource "aws_route_table" "private" {
  count = 2

  vpc_id = aws_vpc.main.id

  tags = { Name = "${local.prefix}-private-${var.availability_zones[count.index]}" }
}

resource "aws_route" "private_nat" {
  count = var.nat_gateways == 0 ? 0 : 2

  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main[min(count.index, var.nat_gateways - 1)].id
}

resource "aws_route_table_association" "private" {
  count = 2

  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[count.index].id
}

# Free, and keeps PDFs and image layers off the NAT gateway's bill per GB.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.main.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = concat([aws_route_table.public.id], aws_route_table.private[*].id)

  tags = { Name = "${local.prefix}-s3" }
}

# --- Flow log ---

# Refused connections only: they are what an incident asks for, and a small part of the volume.
resource "aws_flow_log" "refused" {
  vpc_id                   = aws_vpc.main.id
  traffic_type             = "REJECT"
  max_aggregation_interval = 600
  log_destination          = aws_cloudwatch_log_group.network.arn
  iam_role_arn             = aws_iam_role.flow_log.arn

  tags = { Name = "${local.prefix}-refused" }
}

resource "aws_cloudwatch_log_group" "network" {
  # checkov:skip=CKV_AWS_158:AWS encrypts log groups with its own key; a customer key costs 1 USD a month and guards nothing more here.
  # checkov:skip=CKV_AWS_338:The review asks for 30 days; a year would cost 12 times the archive.
  name              = "/${local.prefix}/network"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "flow_log" {
  name = "${local.prefix}-flow-log"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "flow_log" {
  name = "write-logs"
  role = aws_iam_role.flow_log.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.network.arn}:*"
    }]
  })
}
