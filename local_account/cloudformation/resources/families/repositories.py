"""Repositories of images in stacks. Runs in the server process."""

from __future__ import annotations

from local_account.cloudformation.resources.base import Answer, Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, as_mapping, as_text
from local_account.protocol.records import without

_APART = ("EmptyOnDelete", "LifecyclePolicy", "RepositoryPolicyText")
_CHANGED = {
    "ImageTagMutability": "PutImageTagMutability",
    "ImageScanningConfiguration": "PutImageScanningConfiguration",
}


class ImageRepository(Kind):
    """AWS::ECR::Repository, with what it lets go and who may use it."""

    name = "RepositoryName"
    replaced_by = frozenset({"EncryptionConfiguration"})
    has_tags = True

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the repository, then give it its policies."""
        name = str(properties.get("RepositoryName") or place.generated_name(256, lower=True))
        answer = call(place, "ecr", "CreateRepository", {**without(properties, *_APART), "RepositoryName": name})
        place.begun(name)
        self._put_policies(place, name, {}, properties)
        found = answer["repository"]
        assert isinstance(found, dict)  # noqa: S101  # as botocore reads it
        return self._made(name, found)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change what can be changed of a repository, one call each."""
        key = {"RepositoryName": physical_id}
        for name, operation in _CHANGED.items():
            if old.get(name) != new.get(name) and name in new:
                call(place, "ecr", operation, {**key, name: new[name]})
        self._put_policies(place, physical_id, old, new)
        listed = call(place, "ecr", "DescribeRepositories", {"RepositoryNames": [physical_id]})["repositories"]
        assert isinstance(listed, list)  # noqa: S101  # as botocore reads it
        return self._made(physical_id, listed[0])

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the repository; one with images only where the template says so."""
        force = as_text(properties.get("EmptyOnDelete", False)) == "true"
        call_gone(place, "ecr", "DeleteRepository", {"RepositoryName": physical_id, "Force": force})

    @staticmethod
    def _put_policies(place: StackPlace, name: str, old: Properties, new: Properties) -> None:
        key = {"RepositoryName": name}
        if "RepositoryPolicyText" in new:
            call(place, "ecr", "SetRepositoryPolicy", {**key, "PolicyText": as_text(new["RepositoryPolicyText"])})
        elif "RepositoryPolicyText" in old:
            call_gone(place, "ecr", "DeleteRepositoryPolicy", key)
        if "LifecyclePolicy" in new:
            text = as_mapping(new["LifecyclePolicy"], "LifecyclePolicy").get("LifecyclePolicyText", "")
            call(place, "ecr", "PutLifecyclePolicy", {**key, "LifecyclePolicyText": as_text(text)})
        elif "LifecyclePolicy" in old:
            call_gone(place, "ecr", "DeleteLifecyclePolicy", key)

    @staticmethod
    def _made(name: str, found: Answer) -> Made:
        return Made(name, {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]})


REPOSITORIES: dict[str, Kind] = {"AWS::ECR::Repository": ImageRepository()}
