environment     = "scale"
generation_mode = "queue"

# "Redis Cluster (Multi-AZ)": a standby in the other zone. Sessions fit in one node many times over, so
# nothing is sharded.
cache_replicas = 1

# "Read Replicas en RDS", "CloudFront CDN", "WAF".
database_read_replicas = 1
cloudfront_enabled     = true
waf_enabled            = true

# Twelve tasks of 1 vCPU, twice while blue and green both run. AWS grants 6 by default: ask first.
deployment_strategy = "blue_green"
fargate_vcpu_quota  = 24
