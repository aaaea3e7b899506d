"""The authority: whether a role, or a service, may do something to a resource of this account.

Runs in the server process; ``Account.authority`` is the one that every service asks. Requests that a role signed are
checked by `Authority.check` before any service sees them; what the account does itself in the name of a role goes
through `Authority.demand`. The owner's calls are not checked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.authority.conditions import RequestContext
from local_account.authority.documents import Documents, TagReader
from local_account.authority.evaluation import AccessDecision, Policies, decide, decide_for_service
from local_account.authority.identity import Session
from local_account.authority.keys import key_demands
from local_account.authority.names import Region
from local_account.authority.policies import Principal
from local_account.authority.requests import asked
from local_account.authority.resources import Demand, demands
from local_account.base import clock
from local_account.base.arns import object_place, read_arn

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from moto.iam.models import Role
    from moto.s3.models import FakeBucket

log = logging.getLogger(__name__)

# Of these, moto says by itself that the bucket is missing.
_OBJECT_ACTIONS = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
# Of these, iam:PermissionsBoundary is the boundary that the role has; of CreateRole and PutRolePermissionsBoundary it
# is the one that is asked for (Service Authorization Reference, IAM).
_LIMITED_BY_BOUNDARY = {
    f"iam:{operation}"
    for operation in (
        *("AttachRolePolicy", "DetachRolePolicy", "PutRolePolicy", "DeleteRolePolicy"),
        "DeleteRolePermissionsBoundary",
    )
}
_OF_A_ROLE = {
    *_LIMITED_BY_BOUNDARY,
    *(f"iam:{verb}Role" for verb in ("Delete", "Get", "Tag", "Untag", "Update")),
    *("iam:PutRolePermissionsBoundary", "iam:UpdateAssumeRolePolicy", "iam:UpdateRoleDescription"),
}
NO_ROLE = AccessDecision(False, "because the role does not exist")


_NOBODY = Principal("anonymous", "")
"""Who has not signed: only what is allowed to everybody is allowed to it."""


class AccessDeniedError(ClientError):
    """What AWS answers to a call that no policy allows, as botocore raises it."""

    def __init__(self, message: str, action: str) -> None:
        super().__init__(
            {
                "Error": {"Code": "AccessDeniedException", "Message": message},
                "ResponseMetadata": {
                    "HTTPStatusCode": 403,
                    "RequestId": "",
                    "HTTPHeaders": {},
                    "RetryAttempts": 0,
                    "HostId": "",
                },
            },
            action.partition(":")[2],
        )
        self.message = message


class Authority:
    """Decides for one account in one region."""

    def __init__(self, account_id: str, region: str) -> None:
        self._place = Region(account_id, region)
        self._documents = Documents(account_id, region)

    def check(self, session: Session, service: str, environ: WSGIEnvironment) -> str | None:
        """Why a request (WSGI) that a role signed is refused; None when it is allowed."""
        request = asked(service, environ)
        if request is None:
            return None  # no operation of the service looks like that, and the service itself says so
        wanted = [self._of_the_thing_itself(demand) for demand in demands(request, self._place)]
        if service == "s3" and self._bucket_is_missing(wanted):
            return None  # S3 says NoSuchBucket whoever asks: there is no owner whose permission could be asked for
        wanted += self._for_what_is_missing(service, wanted)
        return self._first_refusal(session, wanted)

    def check_owner(self, environ: WSGIEnvironment) -> str | None:
        """Why the account's owner may not: a role is assumed by whom its trust policy names, the owner included."""
        request = asked("sts", environ)
        if request is None or request.operation != "AssumeRole":
            return None
        owner = Principal(f"arn:aws:iam::{self._place.account_id}:root", self._place.account_id)
        (demand,) = demands(request, self._place)
        if self.may_be_assumed(demand.resource, owner, demand.context):
            return None
        return f"User: {owner.arn} is not authorized to perform: {demand.action} on resource: {demand.resource}"

    def demand(
        self,
        role_arn: str,
        action: str,
        resource: str,
        context: Mapping[str, object] | None = None,
        *,
        session_name: str = "account",
    ) -> None:
        """Require that a role may do this; raises AccessDeniedError in AWS's words."""
        session = Session(role_arn, session_name, "", "", "")
        refusal = self._first_refusal(session, [Demand(action, resource, context or {})])
        if refusal:
            raise AccessDeniedError(refusal, action)

    def allows(self, role_arn: str, action: str, resource: str, context: Mapping[str, object] | None = None) -> bool:
        """Whether a role may do this; for what AWS leaves out silently, such as a function's log."""
        session = Session(role_arn, "account", "", "", "")
        return self._first_refusal(session, [Demand(action, resource, context or {})]) is None

    def demand_of_service(self, service: str, action: str, resource: str, source_arn: str) -> None:
        """Require that a resource's own policy lets a service (``events.amazonaws.com``) do this to it."""
        principal = Principal(service, self._place.account_id)
        own = {"aws:SourceArn": source_arn, "aws:SourceAccount": self._place.account_id}
        own["aws:PrincipalIsAWSService"] = "true"
        if service == "cloudwatch.amazonaws.com":  # alone says for whom, so that a topic's default policy lets it in
            own["aws:SourceOwner"] = self._place.account_id
        first = Demand(action, resource)
        for part in (first, *key_demands(self._documents, first)):
            context = self._common(part.resource).with_values({**own, **part.context})
            document = self._documents.of_resource(part.resource)
            decision = decide_for_service(principal, part.action, part.resource, context, document)
            if not decision.allowed:
                what = f"perform: {part.action} on resource: {part.resource}"
                raise AccessDeniedError(f"{service} is not authorized to {what} {decision.reason}", part.action)

    def anybody_may(self, action: str, resource: str, context: Mapping[str, object]) -> bool:
        """Whether a resource's own policy lets everybody do this, also who has not signed."""
        known = self._common(resource).with_values(context)
        document = self._documents.of_resource(resource)
        return decide_for_service(_NOBODY, action, resource, known, document).allowed

    def may_be_assumed(self, role_arn: str, by: Principal, context: Mapping[str, object] | None = None) -> bool:
        """Whether a role's trust policy names a service, or the account's owner."""
        role = self._documents.role(role_arn)
        if role is None:
            return False
        known = self._common(role_arn).with_values({"aws:SourceAccount": self._place.account_id, **(context or {})})
        trust = role.assume_role_policy_document
        return decide_for_service(by, "sts:AssumeRole", role_arn, known, trust).allowed

    def read_tags_with(self, service: str, reader: TagReader) -> None:
        """Let a service tell the tags of its resources, for ``aws:ResourceTag`` in conditions."""
        self._documents.tag_readers[service] = reader

    def longest_session_s(self, role_arn: str) -> int:
        """The role's MaxSessionDuration."""
        role = self._documents.role(role_arn)
        return int(getattr(role, "max_session_duration", None) or 3600)

    def role_id(self, role_arn: str) -> str:
        """The role's unique id (AROA...)."""
        return str(getattr(self._documents.role(role_arn), "id", "AROA"))

    def demand_trust(self, role_arn: str, service: str, source_arn: str = "") -> None:
        """Require that a service may assume a role, for the resource ``source_arn``; raises AccessDeniedError."""
        account = self._place.account_id
        context = {"aws:SourceAccount": account} | ({"aws:SourceArn": source_arn} if source_arn else {})
        if not self.may_be_assumed(role_arn, Principal(service, account), context):
            message = (
                f"{service} is not authorized to perform: sts:AssumeRole on resource: {role_arn}: the role has to "
                f"exist, and its trust policy has to allow {service}"
            )
            raise AccessDeniedError(message, "sts:AssumeRole")

    def decide(self, session: Session, demand: Demand) -> AccessDecision:
        """What the policies say of one demand of a role's session."""
        role = self._documents.role(session.role_arn)
        if role is None:
            return NO_ROLE
        trust = demand.action == "sts:AssumeRole"
        principal = Principal(session.arn, self._place.account_id, session.role_arn)
        resource_policy = self._trust(demand.resource) if trust else self._documents.of_resource(demand.resource)
        policies = Policies(
            self._documents.of_role(role),
            self._documents.boundary(role),
            session.policy,
            resource_policy,
            resource_must_allow=trust or _is_of_a_key(demand),
        )
        context = self._context(session, role, demand)
        return decide(principal, demand.action, demand.resource, context, policies)

    def _first_refusal(self, session: Session, wanted: list[Demand]) -> str | None:
        for demand in wanted:
            for part in (demand, *key_demands(self._documents, demand)):
                decision = self.decide(session, part)
                if not decision.allowed:
                    what = f"perform: {part.action} on resource: {part.resource}"
                    refusal = f"User: {session.arn} is not authorized to {what} {decision.reason}"
                    log.warning("%s", refusal)
                    return refusal
        return None

    def _of_the_thing_itself(self, demand: Demand) -> Demand:
        """Who names a key by its alias asks for the key (KMS Developer Guide, "Controlling access to aliases").

        A role's name leaves its path out, its ARN does not.
        """
        if demand.action in _OF_A_ROLE and (role := self._documents.role(demand.resource)):
            return replace(demand, resource=str(role.arn))
        if not demand.action.startswith("kms:") or demand.action.endswith("Alias"):
            return demand
        return replace(demand, resource=self._documents.key_arn(demand.resource) or demand.resource)

    def _for_what_is_missing(self, service: str, wanted: list[Demand]) -> list[Demand]:
        """Who may not list a bucket is not told that an object is missing (S3 API Reference, GetObject)."""
        if service != "s3" or len(wanted) != 1 or wanted[0].action != "s3:GetObject":
            return []
        place = object_place(wanted[0].resource)
        kept = self._buckets().get(place.bucket)
        if kept is None or place.key in kept.keys:
            return []
        return [Demand("s3:ListBucket", f"arn:aws:s3:::{place.bucket}")]

    def _bucket_is_missing(self, wanted: list[Demand]) -> bool:
        """Whether the bucket of an object that is read or written is not there."""
        return any(
            demand.action in _OBJECT_ACTIONS and object_place(demand.resource).bucket not in self._buckets()
            for demand in wanted
        )

    def _buckets(self) -> Mapping[str, FakeBucket]:
        from moto.s3.models import s3_backends

        found: Mapping[str, FakeBucket] = s3_backends[self._place.account_id]["aws"].buckets
        return found

    def _trust(self, role_arn: str) -> str | None:
        role = self._documents.role(role_arn)
        return role.assume_role_policy_document if role else None

    def _common(self, resource: str) -> RequestContext:
        """Condition keys of every request; requests on this machine count as secure."""
        arn = read_arn(resource)
        return RequestContext(
            {
                "aws:SecureTransport": "true",
                "aws:SourceIp": "127.0.0.1",
                "aws:CurrentTime": lambda: clock.now().isoformat(),
                "aws:EpochTime": lambda: str(int(clock.time())),
                "aws:RequestedRegion": self._place.region,
                "aws:ResourceAccount": (arn and arn.account) or self._place.account_id,
                "aws:PrincipalIsAWSService": "false",
                "aws:ViaAWSService": "false",
            }
        )

    def _context(self, session: Session, role: Role, demand: Demand) -> RequestContext:
        tags = {f"aws:PrincipalTag/{k}": v for k, v in self._documents.role_tags(session.role_arn).items()}
        of_caller = {
            "aws:PrincipalArn": session.role_arn,
            "aws:PrincipalAccount": session.account_id,
            "aws:PrincipalType": "AssumedRole",
            "aws:userid": f"{role.id}:{session.name}",
            **tags,
        }
        of_resource: dict[str, object] = {
            f"aws:ResourceTag/{k}": v for k, v in self._documents.tags_of(demand.resource).items()
        }
        if demand.action in _LIMITED_BY_BOUNDARY:
            of_resource["iam:PermissionsBoundary"] = self._documents.boundary_arn(demand.resource)
        return self._common(demand.resource).with_values({**of_caller, **of_resource, **demand.context})


def _is_of_a_key(demand: Demand) -> bool:
    """A key that is being made (``key/*``) has no policy yet."""
    return demand.action.startswith("kms:") and ":key/" in demand.resource and not demand.resource.endswith("key/*")
