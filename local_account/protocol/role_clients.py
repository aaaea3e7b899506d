"""boto3 clients of the account that call as a role, for services that act with a role of their user's.

Runs in the server process.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from local_account.account import Account
from local_account.authority.identity import new_session


def role_client(
    account: Account, role_arn: str, session_name: str, service: str, *, by: str, source_arn: str = ""
) -> Any:
    """A client of ``service`` with the role's credentials, which ``by`` takes for the resource ``source_arn``.

    Raises AccessDeniedError when the role does not trust the service ``by`` (``codebuild.amazonaws.com``).
    """
    account.authority.demand_trust(role_arn, by, source_arn)
    session = new_session(role_arn, session_name)
    clients = boto3.Session(
        aws_access_key_id=session.access_key,
        aws_secret_access_key=session.secret_key,
        aws_session_token=session.token,
        region_name=account.region,
    )
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=900)
    return clients.client(service, endpoint_url=account.endpoint_url, config=config)
