"""The stand-in account's tables of actions and resource types against AWS's Service Authorization Reference.

cfn-lint carries a copy of that reference (actions of each service with their resource types).
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import botocore.session
import pytest

from local_account.authority.names import Region, resources
from local_account.authority.requests import Asked
from local_account.authority.s3_requests import s3_demands

PLACE = Region("123456789012", "us-east-1")
CLIENTS = {"cloudwatch": "cloudwatch", "states": "stepfunctions"}
# Names of ours for resource types that the reference tells apart.
ALIKE = {
    "rule": {"rule-on-default-event-bus", "rule-on-custom-event-bus"},
    "layer": {"layer", "layerversion"},
    "execution": {"execution", "express", "labelled execution"},
    "log-stream": {"log-stream", "log-group"},
}
# Of S3, what the stand-in account refuses anyway, and two names that AWS has replaced.
UNUSED = re.compile(
    r"\w*(Analytics|IntelligentTiering|Inventory|Metrics|Metadata)Configurations?"
    r"|CreateSession|ListDirectoryBuckets|RenameObject|WriteGetObjectResponse|(Get|Put)BucketLifecycle"
)
CHECKED = [
    *("sagemaker", "lambda", "states", "sqs", "sns", "ssm", "dynamodb", "logs", "events", "scheduler"),
    *("cloudformation", "glue", "kms", "ecr", "codebuild", "codepipeline", "cloudwatch"),
]


@pytest.fixture(scope="module")
def reference() -> Any:
    return json.loads(files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("prefix", CHECKED)
def test_operations_are_checked_on_the_resource_types_of_the_reference(prefix: str, reference: Any) -> None:
    model = botocore.session.get_session().get_service_model(CLIENTS.get(prefix, prefix))
    actions = reference[prefix]["Actions"]
    wrong = {}
    for operation in model.operation_names:
        documented = set(actions.get(operation.lower(), {}).get("Resources", []))
        shape = model.operation_model(operation).input_shape
        given: dict[str, Any] = dict.fromkeys(shape.members, "x") if shape else {}
        ours = {kind for kind, _ in resources(prefix, operation, given, PLACE)}
        too_many = {kind for kind in ours if kind != "any" and not (ALIKE.get(kind, {kind}) & documented)}
        if too_many and operation.lower() in actions:
            wrong[operation] = (sorted(too_many), sorted(documented))
    assert wrong == {}


def test_every_action_of_s3_exists_and_is_about_a_bucket_or_an_object(reference: Any) -> None:
    model = botocore.session.get_session().get_service_model("s3")
    actions = reference["s3"]["Actions"]
    wrong = {}
    for operation in [name for name in model.operation_names if not UNUSED.fullmatch(name)]:
        members = model.operation_model(operation).input_shape.members
        values = {"Bucket": "x", "Key": "x", "CopySource": "b/k"}
        given = {name: value for name, value in values.items() if name in members}
        for action, resource, _ in s3_demands(Asked("s3", operation, given)):
            documented = actions.get(action.removeprefix("s3:").lower())
            kind = "*" if resource == "*" else "object" if "/" in resource else "bucket"
            if documented is None or (kind != "*" and kind not in documented.get("Resources", [])):
                wrong[operation] = (action, kind, documented)
    assert wrong == {}
