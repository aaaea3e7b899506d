"""Repositories of images: ECR's API, and stacks that hold one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount

LIFECYCLE = json.dumps({
    "rules": [{
        "rulePriority": 1, "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1},
        "action": {"type": "expire"},
    }],
})  # fmt: skip


@pytest.fixture(scope="module")
def ecr(account: RunningAccount) -> Any:
    return account.client("ecr")


def code_of(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_a_repository_is_made_found_and_removed(ecr: Any) -> None:
    made = ecr.create_repository(repositoryName="team/image", tags=[{"Key": "k", "Value": "v"}])["repository"]
    assert made["repositoryUri"] == "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/image"
    assert code_of(ecr.create_repository, repositoryName="team/image") == "RepositoryAlreadyExistsException"
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "k", "Value": "v"}]
    assert ecr.list_images(repositoryName="team/image")["imageIds"] == []
    ecr.delete_repository(repositoryName="team/image")
    assert code_of(ecr.describe_repositories, repositoryNames=["team/image"]) == "RepositoryNotFoundException"


@pytest.mark.parametrize(
    "request_of_another",
    [
        {"registryId": "999999999999", "repositoryName": "shared"},
        {"registryId": "999999999999", "repositoryNames": ["shared"]},
    ],
)
def test_a_registry_of_another_account_is_not_ours(ecr: Any, request_of_another: dict[str, Any]) -> None:
    names = [each["repositoryName"] for each in ecr.describe_repositories()["repositories"]]
    if "shared" not in names:
        ecr.create_repository(repositoryName="shared")
    call = ecr.delete_repository if "repositoryName" in request_of_another else ecr.describe_repositories
    assert code_of(call, **request_of_another) == "RepositoryNotFoundException"


def test_a_stack_holds_a_repository(account: RunningAccount, ecr: Any) -> None:
    stacks = account.client("cloudformation")
    policy = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]}
    properties = {
        "RepositoryName": "of-a-stack", "ImageTagMutability": "IMMUTABLE", "RepositoryPolicyText": policy,
        "LifecyclePolicy": {"LifecyclePolicyText": LIFECYCLE}, "ImageScanningConfiguration": {"ScanOnPush": True},
    }  # fmt: skip
    template: dict[str, Any] = {
        "Resources": {"R": {"Type": "AWS::ECR::Repository", "Properties": properties}},
        "Outputs": {"Uri": {"Value": {"Fn::GetAtt": ["R", "RepositoryUri"]}}, "Name": {"Value": {"Ref": "R"}}},
    }
    stacks.create_stack(StackName="images", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName="images", WaiterConfig={"Delay": 1})
    outputs = {
        o["OutputKey"]: o["OutputValue"] for o in stacks.describe_stacks(StackName="images")["Stacks"][0]["Outputs"]
    }
    assert outputs == {"Name": "of-a-stack", "Uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/of-a-stack"}
    assert json.loads(ecr.get_lifecycle_policy(repositoryName="of-a-stack")["lifecyclePolicyText"])["rules"]
    properties |= {"ImageTagMutability": "MUTABLE"}
    del properties["LifecyclePolicy"]
    stacks.update_stack(StackName="images", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName="images", WaiterConfig={"Delay": 1})
    (found,) = ecr.describe_repositories(repositoryNames=["of-a-stack"])["repositories"]
    assert found["imageTagMutability"] == "MUTABLE"
    assert code_of(ecr.get_lifecycle_policy, repositoryName="of-a-stack") == "LifecyclePolicyNotFoundException"
    stacks.delete_stack(StackName="images")
    stacks.get_waiter("stack_delete_complete").wait(StackName="images", WaiterConfig={"Delay": 1})
    assert code_of(ecr.describe_repositories, repositoryNames=["of-a-stack"]) == "RepositoryNotFoundException"
