"""The AWS account of a stage: its settings, its names and its boto3 clients.

Runs on a laptop or in CodeBuild. The only difference between AWS and the stand-in account is the endpoint URL, which
the stage's settings give, never the environment or a profile behind their back.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, overload

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from scones.errors import SconesError
from scones.stage.names import Names
from scones.stage.settings import Settings, home

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_codebuild import CodeBuildClient
    from types_boto3_codepipeline import CodePipelineClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_kms import KMSClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from types_boto3_scheduler import EventBridgeSchedulerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_ssm import SSMClient
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_sts import STSClient

_OWNERS_PREFIX = "AKIASTANDIN"  # as local_account.authority.owner makes them
_SAME_TIME = timedelta(minutes=5)

Service = Literal[
    "application-autoscaling",
    "athena",
    "cloudformation",
    "cloudwatch",
    "codebuild",
    "codepipeline",
    "dynamodb",
    "kms",
    "lambda",
    "logs",
    "s3",
    "sagemaker",
    "sagemaker-runtime",
    "scheduler",
    "sqs",
    "ssm",
    "stepfunctions",
    "sts",
]
"""The services that the command line calls, by boto3's names."""


@dataclass(frozen=True)
class Connection:
    """A stage and the account behind it."""

    settings: Settings
    names: Names
    session: boto3.Session
    _clients: dict[str, BaseClient] = field(default_factory=dict, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """A session makes one client at a time; the clients themselves may be used by many threads."""

    def now(self) -> datetime:
        """The account's time, which is this machine's but for a stand-in account with a clock of its own.

        The header `Date` tells whole seconds that have begun, and comes late: a difference of minutes is none.
        """
        here = datetime.now(UTC)
        headers = self.client("sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]
        told = parsedate_to_datetime(headers["date"])
        return here if abs(told - here) < _SAME_TIME else told

    @overload
    def client(self, service: Literal["application-autoscaling"]) -> ApplicationAutoScalingClient: ...
    @overload
    def client(self, service: Literal["athena"]) -> BaseClient: ...
    @overload
    def client(self, service: Literal["cloudformation"]) -> CloudFormationClient: ...
    @overload
    def client(self, service: Literal["cloudwatch"]) -> CloudWatchClient: ...
    @overload
    def client(self, service: Literal["codebuild"]) -> CodeBuildClient: ...
    @overload
    def client(self, service: Literal["codepipeline"]) -> CodePipelineClient: ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...
    @overload
    def client(self, service: Literal["kms"]) -> KMSClient: ...
    @overload
    def client(self, service: Literal["lambda"]) -> LambdaClient: ...
    @overload
    def client(self, service: Literal["logs"]) -> CloudWatchLogsClient: ...
    @overload
    def client(self, service: Literal["s3"]) -> S3Client: ...
    @overload
    def client(self, service: Literal["sagemaker"]) -> SageMakerClient: ...
    @overload
    def client(self, service: Literal["sagemaker-runtime"]) -> SageMakerRuntimeClient: ...
    @overload
    def client(self, service: Literal["scheduler"]) -> EventBridgeSchedulerClient: ...
    @overload
    def client(self, service: Literal["sqs"]) -> SQSClient: ...
    @overload
    def client(self, service: Literal["ssm"]) -> SSMClient: ...
    @overload
    def client(self, service: Literal["stepfunctions"]) -> SFNClient: ...
    @overload
    def client(self, service: Literal["sts"]) -> STSClient: ...
    def client(self, service: Service) -> BaseClient:
        """The stage's boto3 client of a service, made once."""
        with self._making:
            if service not in self._clients:
                self._clients[service] = make_client(self.session, self.settings, service)
            return self._clients[service]


def make_client(session: boto3.Session, settings: Settings, service: Service) -> BaseClient:
    """Make a client that reaches the stage's account and no other, whatever this machine is configured to."""
    return session.client(service, endpoint_url=settings.endpoint_url, config=_config(settings))


def _config(settings: Settings) -> Config:
    return Config(
        s3={"addressing_style": "path"},
        read_timeout=900,
        # botocore would call StartSyncExecution at `sync-127.0.0.1`.
        inject_host_prefix=settings.endpoint_url is None,
        # AWS_ENDPOINT_URL moves the stand-in account (scones.stage.settings); an AWS stage stays where it is.
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # botocore takes it, its stubs do not
        # A proxy is asked for what is elsewhere.
        proxies=None if settings.endpoint_url is None else {},
    )


def make_session(settings: Settings) -> boto3.Session:
    """Credentials of the environment on AWS and in a build; else those of the stand-in account's owner.

    No profile of the user's is needed for the stand-in account; a build has the credentials of its role.
    """
    if settings.endpoint_url is None or "CODEBUILD_BUILD_ID" in os.environ:
        return boto3.Session(region_name=settings.region)
    access_key, secret_key = _owners_keys()
    return boto3.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=settings.region,
        botocore_session=_without_the_users_settings(),
    )


def surroundings(settings: Settings) -> dict[str, str]:
    """The environment of a process of ours that may read the stage's account, and on this machine no other one."""
    if settings.endpoint_url is None or "CODEBUILD_BUILD_ID" in os.environ:
        return dict(os.environ)
    access_key, secret_key = _owners_keys()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": settings.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_MAX_ATTEMPTS": "2",
        "NO_PROXY": "127.0.0.1",
    }


def _owners_keys() -> tuple[str, str]:
    """The stand-in account's keys: those that `scones account env` put here, or those of the account of this home.

    Where there are none, such as are refused: the account says then what to do.
    """
    if os.environ.get("AWS_ACCESS_KEY_ID", "").startswith(_OWNERS_PREFIX):
        return os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    try:
        kept = json.loads((home() / "account" / "client" / "owner.json").read_text(encoding="ascii"))
    except FileNotFoundError:
        return "none", "none"
    return kept["access_key"], kept["secret_key"]


def _without_the_users_settings() -> botocore.session.Session:
    """A botocore session that reads neither variables nor files: a missing profile or FIPS is AWS's matter."""
    variables = botocore.session.Session.SESSION_VARIABLES
    blank = {name: (place[0], None, *place[2:]) for name, place in variables.items()}
    blank |= dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return botocore.session.Session(session_vars=blank)


def connect(stage: str) -> Connection:
    """Reach the account of a stage and learn its number.

    Raises SettingsError for a wrong stage, SconesError when the account does not answer or refuses.
    """
    settings = Settings.load(stage)
    session = make_session(settings)
    try:
        sts = session.client("sts", endpoint_url=settings.endpoint_url, config=_config(settings))
        identity = sts.get_caller_identity()
    except EndpointConnectionError as error:
        if settings.endpoint_url:
            raise SconesError(
                f"no stand-in account answers on {settings.endpoint_url}: start one with `scones account start`"
            ) from error
        raise SconesError(f"AWS cannot be reached: {error}") from error
    except ResponseParserError as error:
        raise SconesError(
            f"what answers on {settings.endpoint_url} does not speak AWS: another program has the port; end it, or name"
            " another port in AWS_ENDPOINT_URL and start the account there"
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise SconesError(
            f"stage {stage!r} has no usable AWS credentials ({error}): set AWS_PROFILE or log in first"
        ) from error
    account_id = str(identity["Account"])
    if settings.account_id not in (None, account_id):
        raise SconesError(
            f"stage {stage!r} belongs to account {settings.account_id}, but these credentials are of {account_id}"
        )
    return Connection(settings, Names.of(settings, account_id), session)


def connect_deployed(stage: str) -> Connection:
    """Reach the account of a stage that is deployed; SconesError, which says what to do, when it is not."""
    connection = connect(stage)
    check_deployed(connection)
    return connection


def check_deployed(connection: Connection) -> None:
    """Raise SconesError, which says what to do, for a stage that is not deployed."""
    try:
        # What `scones deploy` makes last and `scones destroy` removes first.
        connection.client("sagemaker").describe_pipeline(PipelineName=connection.names.training_pipeline)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFound":
            raise
        stage = connection.settings.stage
        raise SconesError(f"stage {stage!r} is not deployed: run `scones deploy` first") from error


def split_uri(uri: str) -> tuple[str, str]:
    """``s3://bucket/some/key`` as (bucket, key)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def list_keys(s3: S3Client, uri: str) -> list[str]:
    """Every key below an S3 URI."""
    bucket, prefix = split_uri(uri)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def object_exists(s3: S3Client, bucket: str, key: str) -> bool:
    """Whether the bucket holds the key; every other answer than yes and no is raised."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey", "NotFound"}:
            return False
        raise
    return True
