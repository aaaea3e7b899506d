"""The policies that AWS manages (``arn:aws:iam::aws:policy/...``), and what IAM says of permissions in advance.

Runs in the server process; ``install`` gives moto's IAM both. moto has AWS's 1,600 policies as one text of 4.7 MB, and
reads all of it or nothing: here a policy is read from it when somebody names it, so that a start costs nothing and
the state holds only those that are used.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.iam import urls
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.exceptions import EntityAlreadyExists, NotFoundException, ValidationError
from moto.iam.models import AWSManagedPolicy, IAMBackend, iam_backends
from moto.iam.responses import IamResponse

from local_account.account import Account
from local_account.authority.documents import default_document
from local_account.authority.simulation import Simulation, simulate
from local_account.base.arns import last_part, read_arn
from local_account.base.replacements import answered_by, extends, use_backend
from local_account.base.sdk.settings import EXECUTION_ROLE, EXECUTION_ROLE_PATH
from local_account.base.stored import stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moto.iam.models import Group, ManagedPolicy, Role

    from local_account.base.replacements import Handlers

_AWS = "arn:aws:iam::aws:policy/"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def install(_account: Account) -> None:
    """Called once, before the first request."""
    use_backend(iam_backends, AwsPolicies)


def _described(name: str) -> dict[str, object] | None:
    """What moto's text says of one policy, without reading the rest."""
    mark = f"\n {json.dumps(name)}:"
    at = aws_managed_policies_data.find(mark)
    if at < 0:
        return None
    found: dict[str, object] = json.JSONDecoder().raw_decode(aws_managed_policies_data, at + len(mark))[0]
    return found


@stored
@extends
class AwsPolicies(IAMBackend):
    """moto's IAM, in which AWS's policies are there as soon as they are named."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(IamAnswers, urls.url_paths)

    def get_role(self, role_name: str) -> Role:
        """A role; SageMaker's execution role is there once it is named. Raises NotFoundException."""
        found = next((role for role in list(self.roles.values()) if role.name == role_name), None)
        if found:
            return found
        if role_name == EXECUTION_ROLE:
            with suppress(EntityAlreadyExists):  # another request made it meanwhile
                _make_execution_role(self)
        return super().get_role(role_name)

    def attach_role_policy(self, policy_arn: str, role_name: str) -> None:
        """Attach a policy, AWS's or one's own."""
        bring(self, policy_arn)
        super().attach_role_policy(policy_arn, role_name)

    def attach_group_policy(self, policy_arn: str, group_name: str) -> None:
        """Attach a policy, AWS's or one's own."""
        bring(self, policy_arn)
        super().attach_group_policy(policy_arn, group_name)

    def attach_user_policy(self, policy_arn: str, user_name: str) -> None:
        """Attach a policy, AWS's or one's own."""
        bring(self, policy_arn)
        super().attach_user_policy(policy_arn, user_name)

    def put_role_policy(self, role_name: str, policy_name: str, policy_json: str) -> None:
        """A policy of one role, in either version of the language."""
        super().put_role_policy(role_name, policy_name, _in_todays_version(policy_json))
        self.get_role(role_name).put_policy(policy_name, policy_json)

    def put_group_policy(self, group_name: str, policy_name: str, policy_json: str) -> None:
        """A policy of one group, in either version of the language."""
        super().put_group_policy(group_name, policy_name, _in_todays_version(policy_json))
        self.get_group(group_name).put_policy(policy_name, policy_json)

    def put_user_policy(self, user_name: str, policy_name: str, policy_json: str) -> None:
        """A policy of one user, in either version of the language."""
        super().put_user_policy(user_name, policy_name, _in_todays_version(policy_json))
        self.get_user(user_name).put_policy(policy_name, policy_json)

    def update_assume_role_policy(self, role_name: str, policy_document: str) -> None:
        """Who may take a role, in either version of the language."""
        super().update_assume_role_policy(role_name, _in_todays_version(policy_document))
        self.get_role(role_name).assume_role_policy_document = policy_document

    def get_policy(self, policy_arn: str) -> ManagedPolicy:
        """A policy, AWS's or one's own; raises NotFoundException."""
        bring(self, policy_arn)
        return super().get_policy(policy_arn)

    def list_policies(
        self, marker: str | None, max_items: int, only_attached: bool, path_prefix: str, scope: str
    ) -> tuple[Iterable[ManagedPolicy], str | None]:
        """A page of the policies; AWS's that nobody named are there for the answer only."""
        if scope == "Local" or only_attached:
            return super().list_policies(marker, max_items, only_attached, path_prefix, scope)
        every = {**_all_of_aws(self), **self.managed_policies}.values()
        wanted = [one for one in every if one.path.startswith(path_prefix)]
        if scope == "AWS":
            wanted = [one for one in wanted if isinstance(one, AWSManagedPolicy)]
        start = int(marker or 0)
        end = start + max_items
        return wanted[start:end], str(end) if end < len(wanted) else None


def _in_todays_version(text: str) -> str:
    """A document as moto checks it: one of 2008, which is the version of those that name none, is valid inline."""
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if not isinstance(document, dict) or document.get("Version", "2008-10-17") != "2008-10-17":
        return text
    return json.dumps({**document, "Version": "2012-10-17"})


def _make_execution_role(backend: AwsPolicies) -> None:
    """The role that SageMaker's console would make: it may use SageMaker, S3 and what jobs need."""
    backend.create_role(
        EXECUTION_ROLE, json.dumps(_TRUST), EXECUTION_ROLE_PATH, None, "SageMaker execution role", [], "3600"
    )
    for name in ("AmazonSageMakerFullAccess", "AmazonS3FullAccess"):
        backend.attach_role_policy(f"{_AWS}{name}", EXECUTION_ROLE)


def bring(backend: IAMBackend, policy_arn: str) -> None:
    """Have moto know a policy of AWS's that there is and that it does not know yet."""
    if not policy_arn.startswith(_AWS) or policy_arn in backend.managed_policies:
        return
    name = last_part(policy_arn)
    found = _described(name)
    if found is None:
        return
    policy = AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, found)
    if policy.arn == policy_arn:
        backend.managed_policies[policy_arn] = policy


def _all_of_aws(backend: IAMBackend) -> dict[str, ManagedPolicy]:
    described = json.loads(aws_managed_policies_data)
    made = (
        AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, found)
        for name, found in described.items()
    )
    return {policy.arn: policy for policy in made}


@extends
class IamAnswers(IamResponse):
    """moto's answers, and those about permissions in advance."""

    def simulate_principal_policy(self) -> ActionResult:
        """SimulatePrincipalPolicy: what the policies of a role, user or group come to, without asking for it."""
        policies, boundary = _policies_of(self.backend, self._get_param("PolicySourceArn"))
        return _simulated(self.params, policies, boundary)

    def simulate_custom_policy(self) -> ActionResult:
        """SimulateCustomPolicy: what some documents come to."""
        return _simulated(self.params, [], None)


def _simulated(asked: Mapping[str, Any], policies: list[tuple[str, str]], boundary: str | None) -> ActionResult:
    """The answer to either request, whose own documents come after ``policies``."""
    own = [(f"PolicyInputList.{i}", text) for i, text in enumerate(asked.get("PolicyInputList", []), start=1)]
    limit = next(iter(asked.get("PermissionsBoundaryPolicyInputList", [])), boundary)
    context = {
        one.get("ContextKeyName", ""): list(one.get("ContextKeyValues", [])) for one in asked.get("ContextEntries", [])
    }
    simulation = Simulation([*policies, *own], limit, context)
    found = simulate(simulation, asked["ActionNames"], asked.get("ResourceArns") or ["*"])
    start = int(asked.get("Marker", 0))
    end = start + int(asked.get("MaxItems", 100))
    more = {"Marker": str(end)} if end < len(found) else {}
    return ActionResult({"EvaluationResults": found[start:end], "IsTruncated": bool(more), **more})


def _policies_of(backend: IAMBackend, arn: str) -> tuple[list[tuple[str, str]], str | None]:
    """Name and document of every policy that a role, a user or a group has, and its permissions boundary.

    Raises NotFoundException.
    """
    named = read_arn(arn)
    kind, name = (named.kind, named.last) if named else ("", arn)
    if kind == "role":
        role = backend.get_role(name)
        limit = role.permissions_boundary_arn
        return _named_documents(role.policies, role.managed_policies), _document(backend, limit) if limit else None
    if kind == "group":
        return _of_group(backend.get_group(name)), None
    if kind != "user":
        raise ValidationError(f"PolicySourceArn: expected the ARN of a role, a user or a group, got {arn}.")
    user = backend.get_user(name)
    found = _named_documents(user.policies, user.managed_policies)
    for group in backend.get_groups_for_user(name):
        found += _of_group(group)
    return found, None


def _of_group(group: Group) -> list[tuple[str, str]]:
    return _named_documents(group.policies, group.managed_policies)


def _named_documents(inline: Mapping[str, str], managed: Mapping[str, ManagedPolicy]) -> list[tuple[str, str]]:
    attached = [(str(policy.name), default_document(policy)) for policy in list(managed.values())]
    return [*((name, document) for name, document in list(inline.items())), *attached]


def _document(backend: IAMBackend, arn: str) -> str:
    """The policy that is a boundary; one that does not exist allows nothing."""
    try:
        return default_document(backend.get_policy(arn))
    except NotFoundException:
        return "{}"
