"""Where the policies of this account lie: of roles in IAM, of buckets, queues, topics, functions and keys with those.

Runs in the server process and reads moto's own objects at each question, so that a change counts at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_account.base.arns import Arn, last_part, object_place, own_arn

if TYPE_CHECKING:
    from moto.iam.models import ManagedPolicy, Role

TagReader = Callable[[str], dict[str, str]]


@dataclass(frozen=True)
class Documents:
    """Looks up policies of one account."""

    account_id: str
    region: str
    tag_readers: dict[str, TagReader] = field(init=False)
    """By service: the tags of a resource by its ARN."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag_readers", {"kms": self.key_tags, "iam": self.role_tags})

    def role(self, role_arn: str) -> Role | None:
        """moto's role with this ARN, also when the ARN leaves its path out."""
        from moto.iam.exceptions import NotFoundException
        from moto.iam.models import iam_backends

        arn = self._own(role_arn)
        if arn is None:
            return None
        try:
            return iam_backends[self.account_id]["aws"].get_role(arn.last)
        except NotFoundException:
            return None

    def of_role(self, role: Role) -> list[str]:
        """Its inline and its attached policies."""
        attached = [default_document(policy) for policy in list(role.managed_policies.values())]
        return [*list(role.policies.values()), *attached]

    def boundary(self, role: Role) -> str | None:
        """The policy that is the role's permissions boundary; one that does not exist allows nothing."""
        from moto.iam.exceptions import NotFoundException
        from moto.iam.models import iam_backends

        arn = role.permissions_boundary_arn
        if not arn:
            return None
        try:
            return default_document(iam_backends[self.account_id]["aws"].get_policy(arn))
        except NotFoundException:
            return "{}"

    def of_resource(self, arn: str) -> str | None:
        """The policy that a resource has itself, None for none or for kinds that are not looked at."""
        named = self._own(arn)
        read = _READERS.get(named.service) if named else None
        return read(self, named) if read and named else None

    def boundary_arn(self, role_arn: str) -> str | None:
        """Which policy is a role's permissions boundary."""
        return getattr(self.role(role_arn), "permissions_boundary_arn", None) or None

    def tags_of(self, arn: str) -> dict[str, str]:
        """The tags of a KMS key, a role, or a resource of whoever called `read_tags_with`."""
        named = self._own(arn)
        read = self.tag_readers.get(named.service) if named else None
        return read(arn) if read else {}

    def role_tags(self, role_arn: str) -> dict[str, str]:
        """The tags of a role; none for one that does not exist."""
        held = getattr(self.role(role_arn), "tags", None) or {}
        listed = held.values() if isinstance(held, dict) else held  # moto keeps either
        return {tag["Key"]: tag["Value"] for tag in listed}

    def key_tags(self, arn: str) -> dict[str, str]:
        """The tags of a KMS key."""
        from moto.kms.models import kms_backends

        key_id = last_part(arn)
        tags: dict[str, str] = kms_backends[self.account_id][self.region].tagger.get_tag_dict_for_resource(key_id)
        return tags

    def key_arn(self, key_id: str) -> str | None:
        """The ARN of a customer's KMS key by its id, ARN or alias; None for AWS's own keys and for unknown ones."""
        from moto.kms.models import kms_backends

        if ":alias/aws/" in key_id or key_id.startswith("alias/aws/"):
            return None
        backend = kms_backends[self.account_id][self.region]
        try:
            key = backend.keys.get(backend.any_id_to_key_id(key_id))
        except Exception:  # moto raises its own for each kind of unknown name
            return None
        return str(key.arn) if key is not None and getattr(key, "key_manager", "CUSTOMER") != "AWS" else None

    def _own(self, arn: str) -> Arn | None:
        return own_arn(arn, self.account_id, self.region)


def default_document(policy: ManagedPolicy) -> str:
    """The document of a policy's default version."""
    document = next((version.document for version in policy.versions if version.is_default), "{}")
    return document if isinstance(document, str) else json.dumps(document)


def _of_bucket(documents: Documents, arn: Arn) -> str | None:
    from moto.s3.models import s3_backends

    bucket = s3_backends[documents.account_id]["aws"].buckets.get(object_place(str(arn)).bucket)
    policy = getattr(bucket, "policy", None)
    return policy.decode("utf-8", "replace") if isinstance(policy, bytes) else policy


def _of_queue(documents: Documents, arn: Arn) -> str | None:
    from moto.sqs.models import sqs_backends

    queue = sqs_backends[documents.account_id][documents.region].queues.get(arn.resource)
    return queue.policy if queue else None


def _of_topic(documents: Documents, arn: Arn) -> str | None:
    from moto.sns.models import sns_backends

    topic = sns_backends[documents.account_id][documents.region].topics.get(str(arn))
    return topic.policy if topic else None


def _of_function(documents: Documents, arn: Arn) -> str | None:
    from moto.awslambda.models import lambda_backends

    if arn.kind != "function" or len(arn.parts) == 1:
        return None
    try:
        function = lambda_backends[documents.account_id][documents.region].get_function(arn.parts[1])
    except Exception:  # moto's own exception for an unknown function; the call itself will say so
        return None
    return json.dumps({"Statement": function.policy.statements}) if function.policy.statements else None


def _of_key(documents: Documents, arn: Arn) -> str | None:
    from moto.kms.models import kms_backends

    key = kms_backends[documents.account_id][documents.region].keys.get(arn.name)
    return key.policy if key else None


_READERS = {"s3": _of_bucket, "sqs": _of_queue, "sns": _of_topic, "lambda": _of_function, "kms": _of_key}
