"""boto3 clients of the account: the one place that makes them.

Used by the server. Whatever the user's environment says, they call this machine directly: a proxy would see objects
and the tokens of roles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, overload

import boto3
from botocore.client import BaseClient
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_codebuild.client import CodeBuildClient
    from types_boto3_s3.client import S3Client
    from types_boto3_sns.client import SNSClient
    from types_boto3_ssm.client import SSMClient


class Credentials(Protocol):
    """What signs a request."""

    @property
    def access_key(self) -> str:
        """The access key's id."""

    @property
    def secret_key(self) -> str:
        """The key that signs."""

    @property
    def token(self) -> str:
        """The session's token; empty without a session."""


@dataclass(frozen=True)
class Keys:
    """Credentials without a session."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


class Clients(Protocol):
    """Gives boto3 clients of the account by botocore's name of the service, all with the same credentials."""

    @overload
    def __call__(self, service: Literal["codebuild"], /) -> CodeBuildClient: ...

    @overload
    def __call__(self, service: Literal["s3"], /) -> S3Client: ...

    @overload
    def __call__(self, service: Literal["sns"], /) -> SNSClient: ...

    @overload
    def __call__(self, service: Literal["ssm"], /) -> SSMClient: ...


def make_client(session: boto3.Session, service: str, endpoint_url: str, keys: Credentials) -> BaseClient:
    """A client of ``service`` on the account, with a boto3 session's models."""
    make: Callable[..., BaseClient] = session.client  # its types know services by name only
    return make(
        service,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        aws_session_token=keys.token or None,
        endpoint_url=endpoint_url,
        config=Config(
            retries={"total_max_attempts": 1},
            inject_host_prefix=False,
            s3={"addressing_style": "path"},
            max_pool_connections=64,
            read_timeout=900,
            proxies={},
        ),
    )
