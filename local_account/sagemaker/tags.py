"""Tags of SageMaker resources, by ARN.

Runs in the server process; state: the table ``tags``.
"""

from __future__ import annotations

from typing import Any

from local_account.sagemaker.service import SageMaker, SageMakerError

MAX_TAGS = 50  # AWS's limit for one resource


def set_tags(sagemaker: SageMaker, arn: str, tags: list[dict[str, str]] | None) -> list[dict[str, str]]:
    """Add tags to a resource, a known key gets the new value; returns all of them."""
    with sagemaker.lock:
        table = sagemaker.table("tags")
        merged: dict[str, str] = {**table.get(arn, {}), **{tag["Key"]: tag["Value"] for tag in tags or []}}
        if len(merged) > MAX_TAGS:
            raise SageMakerError(f"{arn} cannot have more than {MAX_TAGS} tags, got {len(merged)}.")
        if merged:
            table[arn] = merged
            sagemaker.changed()
    return _as_list(merged)


def drop_tags(sagemaker: SageMaker, arn: str) -> None:
    """Forget the tags of a resource that is deleted."""
    with sagemaker.lock:
        sagemaker.table("tags").pop(arn, None)
        sagemaker.changed()


def _as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def install(sagemaker: SageMaker) -> None:
    def require(arn: str) -> None:
        # Every ARN that is tagged must be one of this account's SageMaker.
        if not arn.startswith(sagemaker.arn("")):
            raise SageMakerError(f"Invalid resource ARN: {arn} is not a SageMaker resource of this account.")

    def add_tags(request: dict[str, Any]) -> dict[str, Any]:
        require(request["ResourceArn"])
        return {"Tags": set_tags(sagemaker, request["ResourceArn"], request["Tags"])}

    def list_tags(request: dict[str, Any]) -> dict[str, Any]:
        require(request["ResourceArn"])
        return {"Tags": _as_list(sagemaker.table("tags").get(request["ResourceArn"], {}))}

    def delete_tags(request: dict[str, Any]) -> None:
        require(request["ResourceArn"])
        with sagemaker.lock:
            tags = sagemaker.table("tags").get(request["ResourceArn"], {})
            for key in request["TagKeys"]:
                tags.pop(key, None)
            sagemaker.changed()

    sagemaker.account.authority.read_tags_with("sagemaker", lambda arn: dict(sagemaker.table("tags").get(arn, {})))
    sagemaker.implement({"AddTags": add_tags, "ListTags": list_tags, "DeleteTags": delete_tags})
