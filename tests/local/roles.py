"""Roles of foreign projects: they may do everything, because the tests that use them are about something else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from unittest import mock

SERVICES = ["lambda", "states", "sagemaker", "events", "scheduler"]
# Names that requests of the tests take for granted, with their paths.
TAKEN_FOR_GRANTED = {"jobs": "/", "states": "/", "scheduler": "/", "endpoint": "/service-role/"}


def trust(*services: str, **principals: str) -> str:
    """A trust policy for services (``lambda``) and other principals (``AWS="arn:..."``)."""
    named: dict[str, Any] = dict(principals)
    if services:
        named["Service"] = [f"{service}.amazonaws.com" for service in services]
    return document({"Effect": "Allow", "Principal": named, "Action": "sts:AssumeRole"})


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str], **condition: Any) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def make_role(account: Any, name: str, *statements: Mapping[str, Any], path: str = "/", trusted: str = "") -> str:
    """A role with these statements, with all permissions where there are none; its ARN."""
    iam = account.client("iam")
    role = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trusted or trust(*SERVICES))["Role"]
    policy = document(*(statements or [allow("*", "*")]))
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy)
    return str(role["Arn"])


def make_taken_for_granted(account: Any) -> None:
    """The roles that requests of the tests name without making them."""
    with mock.patch.dict(os.environ):  # a test may have set the user's profile, which is the server's matter
        for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
            del os.environ[variable]
        iam = account.client("iam")
    existing = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    for name, path in TAKEN_FOR_GRANTED.items():
        if name not in existing:
            make_role(account, name, path=path)
