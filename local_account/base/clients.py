"""boto3 clients of the account: the one place that makes them.

Used by the server. Whatever the user's environment says, they call this machine directly: a proxy would see objects
and the tokens of roles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.config import Config


class Credentials(Protocol):
    """What signs a request."""

    @property
    def access_key(self) -> str: ...

    @property
    def secret_key(self) -> str: ...

    @property
    def token(self) -> str: ...


@dataclass(frozen=True)
class Keys:
    """Credentials without a session."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


def make_client(session: Any, service: str, endpoint_url: str, keys: Credentials) -> Any:
    """A client of ``service`` on the account, with a boto3 session's models."""
    return session.client(
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
