"""Who calls: temporary credentials of roles, for the processes that the account starts and for sts:AssumeRole.

Runs in the server process and keeps the sessions in memory: after a restart their credentials are refused as expired,
and whatever the account starts then gets new ones. A session of a process lasts as long as the server does; AWS renews
such credentials behind the process's back. Everything else has to be signed with the owner's keys (`owner`).
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_account.authority.signatures import Claim, claim_of, is_signed_with
from local_account.base.arns import last_part, parse_arn, read_arn

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

# Temporary keys begin with ASIA (IAM User Guide, unique identifiers); the rest of the prefix tells ours from real ones
# that a user may have in the environment.
KEY_PREFIX = "ASIASTANDIN"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_KEY = re.compile(rf"{KEY_PREFIX}[A-Z2-7]{{9}}")
_ROLE_NAME = re.compile(r"[\w+=,.@-]+")
WHO_MAY = 'This stand-in account answers its owner only: run eval "$(scones account env)" in this shell first.'
_NOT_IN_A_SESSION_NAME = re.compile(r"[^\w+=,.@-]")


@dataclass(frozen=True)
class Session:
    """One session of a role. ``policy`` further limits it (AssumeRole's ``Policy``); ``expires`` is epoch seconds."""

    role_arn: str
    name: str
    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: float | None = None
    policy: str | None = None

    @property
    def account_id(self) -> str:
        """The account that the role belongs to."""
        return parse_arn(self.role_arn).account

    @property
    def role_name(self) -> str:
        """The role's name, without its path."""
        return last_part(self.role_arn)

    @property
    def arn(self) -> str:
        """The session's ARN, which leaves out the role's path."""
        return f"arn:aws:sts::{self.account_id}:assumed-role/{self.role_name}/{self.name}"

    def environment(self) -> dict[str, str]:
        """What AWS clients of a process read; goes over the owner's credentials of ``Account.environment``."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.token,
        }


class InvalidCredentialsError(Exception):
    """Credentials that are none, have ended, or did not sign the request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


_sessions: dict[str, Session] = {}
_lock = threading.Lock()


def new_session(
    role_arn: str, session_name: str, duration_s: float | None = None, policy: str | None = None
) -> Session:
    """Give out credentials of a role; raises ValueError for what is no role's ARN."""
    arn = read_arn(role_arn)
    if not arn or (arn.service, arn.kind) != ("iam", "role") or not _ROLE_NAME.fullmatch(arn.last):
        raise ValueError(f"expected the ARN of a role (arn:aws:iam::ACCOUNT:role/NAME), got {role_arn!r}")
    name = _NOT_IN_A_SESSION_NAME.sub("-", session_name)[:64]
    key = KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(20 - len(KEY_PREFIX)))
    expires = None if duration_s is None else time.time() + duration_s
    session = Session(role_arn, name, key, secrets.token_urlsafe(30), secrets.token_urlsafe(120), expires, policy)
    with _lock:
        _sessions[key] = session
    return session


def session_environment(role_arn: str, session_name: str) -> dict[str, str]:
    """Variables with which a process's AWS clients call as ``role_arn``; merge them over ``Account.environment()``.

    Raises ValueError for what is no role's ARN.
    """
    return new_session(role_arn, session_name).environment()


def find_session(access_key: str) -> Session | None:
    """The session with this access key, also one that has expired."""
    return _sessions.get(access_key)


def caller(environ: WSGIEnvironment, secret_of: Callable[[str], str | None]) -> Session | None:
    """The role session that signed a request (WSGI), None for the owner; raises InvalidCredentialsError.

    ``secret_of`` knows the secret keys of those who count as the owner, by access key.
    """
    claim = claim_of(environ)
    if claim is None:
        raise InvalidCredentialsError("MissingAuthenticationToken", f"The request is not signed. {WHO_MAY}")
    session = _sessions.get(claim.access_key)
    secret_key = session.secret_key if session else secret_of(claim.access_key)
    if secret_key is None:
        _refuse_unknown(claim)
    elif not is_signed_with(claim, secret_key, environ):
        message = f"The signature of the request is not that of the access key {claim.access_key}. {WHO_MAY}"
        raise InvalidCredentialsError("SignatureDoesNotMatch", message)
    if session is not None:
        _check_session(session, claim.token)
    return session


def _refuse_unknown(claim: Claim) -> None:
    if _KEY.fullmatch(claim.access_key):
        raise InvalidCredentialsError("ExpiredToken", "The security token included in the request is expired")
    code = "InvalidAccessKeyId" if claim.service == "s3" else "InvalidClientTokenId"
    raise InvalidCredentialsError(code, f"The access key {claim.access_key!r:.40} is unknown. {WHO_MAY}")


def _check_session(session: Session, token: str) -> None:
    if session.expires is not None and session.expires < time.time():
        raise InvalidCredentialsError("ExpiredToken", "The security token included in the request is expired")
    if not secrets.compare_digest(session.token.encode(), token.encode()):
        message = "The security token included in the request is invalid."
        raise InvalidCredentialsError("InvalidClientTokenId", message)
