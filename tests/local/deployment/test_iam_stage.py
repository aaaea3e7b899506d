"""The deployed stage's own roles: what is taken from one fails its step, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.local.workflow_stage import PREFIX, Photos, Shop

WORKFLOW = f"{PREFIX}-inference-workflow"


@contextmanager
def without(shop: Shop, function: str, action: str) -> Iterator[None]:
    """The role of a function without one action."""
    configuration = shop.account.client("lambda").get_function_configuration(FunctionName=f"{PREFIX}-{function}")
    iam, role = shop.account.client("iam"), configuration["Role"].rpartition("/")[2]
    (policy,) = [
        found
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        if action in json.dumps((found := iam.get_role_policy(RoleName=role, PolicyName=name))["PolicyDocument"])
    ]
    put = {"RoleName": role, "PolicyName": policy["PolicyName"]}
    document: dict[str, Any] = copy.deepcopy(policy["PolicyDocument"])
    for statement in document["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        statement["Action"] = [one for one in actions if one != action] or ["sts:Nothing"]
    iam.put_role_policy(**put, PolicyDocument=json.dumps(document))
    try:
        yield
    finally:
        iam.put_role_policy(**put, PolicyDocument=json.dumps(policy["PolicyDocument"]))


def test_a_permission_taken_from_a_deployed_function_fails_its_step(shop: Shop, photos: Photos) -> None:
    image = shop.put("incoming/permissions.png", photos.passing[0])
    for function, action in (("serialize-image", "s3:GetObject"), ("classify-image", "sagemaker:InvokeEndpoint")):
        with without(shop, function, action):
            ended = shop.run(WORKFLOW, image)
        assert ended["status"] == "FAILED", (function, ended)
        assert f"assumed-role/{PREFIX}-" in ended["cause"]
        assert f"is not authorized to perform: {action} on resource: arn:aws:" in ended["cause"]
    assert shop.run(WORKFLOW, image)["status"] == "SUCCEEDED"
