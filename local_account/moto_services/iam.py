"""STS and SNS on moto: AssumeRole gives credentials that are checked, and topics deliver only where they may.

Runs in the server process; ``install`` replaces moto's sessions, which nothing checks, by those of
``authority.identity``. The federated ways to a role (web identity, SAML) are refused: nothing here could check who
comes.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.authority.identity import Session, find_session, new_session

log = logging.getLogger(__name__)
_DELIVERIES = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage"}


def install(account: Account) -> None:
    """Called once, before the first request."""
    _hook_sessions(account)
    _hook_subscriptions(account)


def _hook_subscriptions(account: Account) -> None:
    """A queue's or a function's own policy decides what topics may send to it."""
    from moto.sns.models import Subscription

    original = Subscription.publish

    def publish(subscription: Any, *message: Any, **more: Any) -> Any:
        action = _DELIVERIES.get(subscription.protocol)
        try:
            if action:
                source = subscription.topic.arn
                account.authority.demand_of_service("sns.amazonaws.com", action, subscription.endpoint, source)
        except AccessDeniedError as error:
            log.warning("%s could not be delivered to: %s", subscription.arn, error.message)
            return None
        return original(subscription, *message, **more)

    Subscription.publish = publish


def _hook_sessions(account: Account) -> None:
    """That a role may be assumed was checked before moto sees the request."""
    from moto.sts.exceptions import STSValidationError
    from moto.sts.models import STSBackend

    def assume_role(_backend: Any, **asked: Any) -> Any:
        longest = account.authority.longest_session_s(asked["role_arn"])
        if asked["duration"] > longest:
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise STSValidationError(message)
        session = new_session(asked["role_arn"], asked["role_session_name"], asked["duration"], asked["policy"])
        return _as_moto(account, session)

    def federated(*_arguments: Any, **_named: Any) -> Any:
        raise NotImplementedError("federated roles")

    def known(_backend: Any, access_key_id: str) -> Any:
        session = find_session(access_key_id)
        return _as_moto(account, session) if session else None

    def of_a_user(*_arguments: Any, **_named: Any) -> Any:
        raise NotImplementedError("sessions without a role")

    STSBackend.assume_role = assume_role
    STSBackend.get_session_token = STSBackend.get_federation_token = of_a_user
    STSBackend.assume_role_with_web_identity = STSBackend.assume_role_with_saml = federated
    STSBackend.get_assumed_role_from_access_key = known


def _as_moto(account: Account, session: Session) -> SimpleNamespace:
    """What moto's answers are made of."""
    return SimpleNamespace(
        access_key_id=session.access_key,
        secret_access_key=session.secret_key,
        session_token=session.token,
        expiration=datetime.fromtimestamp(session.expires or 0, UTC),
        arn=session.arn,
        account_id=session.account_id,
        user_id=f"{account.authority.role_id(session.role_arn)}:{session.name}",
    )
