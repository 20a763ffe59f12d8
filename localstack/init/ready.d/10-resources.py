"""Creates what the service expects of AWS: a bucket with its lifecycle, a queue and three secrets.

LocalStack runs every file of this folder in its own Python once it is ready, after each start.
Whatever exists already is left as it is, so that running this twice changes nothing.
"""

import os

import boto3
from botocore.exceptions import ClientError

REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
BUCKET = "allegiant-documents"
# An upload whose client went away leaves parts that cost money and that nobody can see.
LIFECYCLE = {
    "Rules": [
        {
            "ID": "abandoned-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
    ]
}
QUEUE = "allegiant-generations"
SECRETS = {
    "allegiant/database-url": "postgres://postgres@postgres:5432/postgres",
    "allegiant/redis-url": "redis://redis:6379/0",
    "allegiant/openai-api-key": "not-a-key",
}


def client(service):
    return boto3.client(
        service,
        endpoint_url="http://127.0.0.1:4566",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def unless_exists(codes, create):
    """Calls `create`; an error that says "it is there already" is a success."""
    try:
        create()
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def create_bucket():
    s3 = client("s3")
    # us-east-1 is the one region that may not be named as a location.
    location = {}
    if REGION != "us-east-1":
        location = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    unless_exists(
        {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"},
        lambda: s3.create_bucket(Bucket=BUCKET, **location),
    )
    # Setting it twice is setting it once.
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=LIFECYCLE)


def create_queue():
    # Creating a queue twice with equal attributes is a success in itself.
    client("sqs").create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "120"})


def create_secrets():
    manager = client("secretsmanager")
    for name, value in SECRETS.items():
        unless_exists(
            {"ResourceExistsException"},
            lambda name=name, value=value: manager.create_secret(Name=name, SecretString=value),
        )


create_bucket()
create_queue()
create_secrets()
print(f"created bucket {BUCKET}, queue {QUEUE} and {len(SECRETS)} secrets")
