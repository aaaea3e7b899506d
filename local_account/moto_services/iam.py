"""STS on moto: AssumeRole gives credentials that are checked.

Runs in the server process; ``install`` replaces moto's sessions, which nothing checks, by those of
``authority.identity``. The federated ways to a role (web identity, SAML) are refused: nothing here could check who
comes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, NoReturn

from moto.sts import urls
from moto.sts.exceptions import STSValidationError
from moto.sts.models import AssumedRole, STSBackend, sts_backends
from moto.sts.responses import TokenResponse

from local_account.account import Account
from local_account.authority.authority import Authority
from local_account.authority.identity import Session, find_session, new_session
from local_account.base.replacements import answered_by, extends, use_backend

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers


def install(account: Account) -> None:
    """Called once, before the first request."""
    CheckedSessions.authority = account.authority
    use_backend(sts_backends, CheckedSessions)


@extends
class CheckedSessions(STSBackend):
    """Sessions of roles that the account itself gives out and checks. That a role may be assumed is checked before."""

    authority: ClassVar[Authority]

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(TokenResponse, urls.url_paths)

    def assume_role(  # noqa: PLR0917  # moto's signature
        self, region_name: str, role_session_name: str, role_arn: str, policy: str, duration: int, external_id: str
    ) -> RoleSession:
        """A new session; raises STSValidationError for one that is longer than the role allows."""
        if duration > self.authority.longest_session_s(role_arn):
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise STSValidationError(message)
        session = new_session(role_arn, role_session_name, duration, policy)
        return RoleSession(session, self.authority.role_id(session.role_arn), region_name, external_id)

    def assume_role_with_web_identity(self, **kwargs: object) -> RoleSession:
        """Refused, as `NotImplementedError`: nothing here could check who comes."""
        raise NotImplementedError("federated roles")

    def assume_role_with_saml(self, **kwargs: object) -> RoleSession:
        """Refused, as `NotImplementedError`: nothing here could check who comes."""
        raise NotImplementedError("federated roles")

    def get_assumed_role_from_access_key(self, access_key_id: str) -> RoleSession | None:
        """The session of an access key; None for keys of anybody else."""
        session = find_session(access_key_id)
        if session is None:
            return None
        return RoleSession(session, self.authority.role_id(session.role_arn), self.region_name, "")

    def get_session_token(self, duration: int) -> NoReturn:
        """Refused, as `NotImplementedError`: the account's sessions are roles'."""
        raise NotImplementedError("sessions without a role")

    def get_federation_token(self, name: str | None, duration: int) -> NoReturn:
        """Refused, as `NotImplementedError`: the account's sessions are roles'."""
        raise NotImplementedError("sessions without a role")


@extends
class RoleSession(AssumedRole):
    """A session as moto's answers name its members."""

    def __init__(self, session: Session, role_id: str, region_name: str, external_id: str) -> None:
        """All of moto's members but the access key, which is one that moto would have made."""
        self.account_id = session.account_id
        self.region_name, self.partition = region_name, "aws"
        self.session_name, self.role_arn = session.name, session.role_arn
        self.policy, self.external_id = session.policy or "", external_id
        self.expiration = datetime.fromtimestamp(session.expires or 0, UTC)
        self.access_key_id, self.secret_access_key = session.access_key, session.secret_key
        self.session_token = session.token
        self._user_id, self._arn = f"{role_id}:{session.name}", session.arn

    @property
    def user_id(self) -> str:
        """The role's identifier and the session's name."""
        return self._user_id

    @property
    def arn(self) -> str:
        """That of the session."""
        return self._arn
