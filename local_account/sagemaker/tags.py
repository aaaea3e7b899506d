"""Tags of SageMaker resources, by ARN.

Runs in the server process; state: the table ``tags``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        AddTagsInputTypeDef,
        DeleteTagsInputTypeDef,
        ListTagsInputTypeDef,
        TagTypeDef,
    )

MAX_TAGS = 50  # AWS's limit for one resource


def set_tags(sagemaker: SageMaker, arn: str, tags: Sequence[TagTypeDef] | None) -> list[TagTypeDef]:
    """Add tags to a resource, a known key gets the new value; returns all of them.

    Raises ServiceError for more than ``MAX_TAGS``.
    """
    with sagemaker.lock:
        merged = {**sagemaker.tags.get(arn, {}), **{tag["Key"]: tag["Value"] for tag in tags or []}}
        if len(merged) > MAX_TAGS:
            raise ServiceError(f"{arn} cannot have more than {MAX_TAGS} tags, got {len(merged)}.")
        if merged:
            sagemaker.tags[arn] = merged
            sagemaker.changed()
    return _as_list(merged)


def drop_tags(sagemaker: SageMaker, arn: str) -> None:
    """Forget the tags of a resource that is deleted."""
    with sagemaker.lock:
        sagemaker.tags.pop(arn, None)
        sagemaker.changed()


def _as_list(tags: Mapping[str, str]) -> list[TagTypeDef]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Tags:
    """The actions on tags; every ARN that is tagged must be one of this account's SageMaker."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker
        sagemaker.account.authority.read_tags_with("sagemaker", lambda arn: dict(sagemaker.tags.get(arn, {})))

    @action("AddTags")
    def add(self, request: AddTagsInputTypeDef) -> Reply:
        """Answers all tags of the resource."""
        self._require(request["ResourceArn"])
        return {"Tags": set_tags(self._sagemaker, request["ResourceArn"], request["Tags"])}

    @action("ListTags")
    def list(self, request: ListTagsInputTypeDef) -> Reply:
        """Answers all tags at once."""
        self._require(request["ResourceArn"])
        return {"Tags": _as_list(self._sagemaker.tags.get(request["ResourceArn"], {}))}

    @action("DeleteTags")
    def delete(self, request: DeleteTagsInputTypeDef) -> None:
        """A key that the resource does not have is left out silently, as on AWS."""
        self._require(request["ResourceArn"])
        with self._sagemaker.lock:
            tags = self._sagemaker.tags.get(request["ResourceArn"], {})
            for key in request["TagKeys"]:
                tags.pop(key, None)
            self._sagemaker.changed()

    def _require(self, arn: str) -> None:
        if not arn.startswith(self._sagemaker.arn("")):
            raise ServiceError(f"Invalid resource ARN: {arn} is not a SageMaker resource of this account.")
