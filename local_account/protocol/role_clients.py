"""boto3 clients of the account that call as a role, for services that act with a role of their user's.

Runs in the server process.
"""

from __future__ import annotations

from typing import Any

import boto3

from local_account.account import Account
from local_account.authority.identity import new_session
from local_account.base.clients import make_client


def role_client(
    account: Account, role_arn: str, session_name: str, service: str, *, by: str, source_arn: str = ""
) -> Any:
    """A client of ``service`` with the role's credentials, which ``by`` takes for the resource ``source_arn``.

    Raises AccessDeniedError when the role does not trust the service ``by`` (``codebuild.amazonaws.com``).
    """
    account.authority.demand_trust(role_arn, by, source_arn)
    return make_client(
        boto3.Session(region_name=account.region), service, account.endpoint_url, new_session(role_arn, session_name)
    )
