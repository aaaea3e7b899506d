"""The boto3 clients of the functions around the endpoint.

Runs in Lambda. A client is made when it is first asked for, since making one takes a tenth of a second.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_lambda import LambdaClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from types_boto3_sns import SNSClient
    from types_boto3_ssm import SSMClient

# Seconds: a call that hangs must leave the function time to say so.
_CONFIG = Config(connect_timeout=5, read_timeout=30)


class EndpointClients:
    """A client for each service, made once."""

    @functools.cached_property
    def application_autoscaling(self) -> ApplicationAutoScalingClient:
        """Scales the endpoint's instances."""
        return boto3.client("application-autoscaling", config=_CONFIG)

    @functools.cached_property
    def cloudwatch(self) -> CloudWatchClient:
        """Reads metrics and alarms."""
        return boto3.client("cloudwatch", config=_CONFIG)

    @functools.cached_property
    def functions(self) -> LambdaClient:
        """Invokes other functions."""
        return boto3.client("lambda", config=_CONFIG)

    @functools.cached_property
    def s3(self) -> S3Client:
        """Reads and writes objects."""
        return boto3.client("s3", config=_CONFIG)

    @functools.cached_property
    def sagemaker(self) -> SageMakerClient:
        """Reads the registry, changes the endpoint and starts pipelines."""
        return boto3.client("sagemaker", config=_CONFIG)

    @functools.cached_property
    def sagemaker_runtime(self) -> SageMakerRuntimeClient:
        """Asks the endpoint."""
        return boto3.client("sagemaker-runtime", config=_CONFIG)

    @functools.cached_property
    def sns(self) -> SNSClient:
        """Publishes to the stage's topic."""
        return boto3.client("sns", config=_CONFIG)

    @functools.cached_property
    def ssm(self) -> SSMClient:
        """Reads parameters."""
        return boto3.client("ssm", config=_CONFIG)


@functools.cache
def table(name: str) -> Table:
    """Return the table of deployments as boto3's resource, which takes and gives Python's own values."""
    return boto3.resource("dynamodb").Table(name)
