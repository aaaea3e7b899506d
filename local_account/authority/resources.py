"""Which permissions an operation needs: IAM actions on resources, roles that are passed, and condition keys.

Runs in the server process. An operation whose resource `names` does not know demands that a policy allow it on ``*``:
too much is asked for rather than too little, and the refusal names the action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from local_account.authority.names import Region, resources
from local_account.authority.requests import Asked
from local_account.authority.s3_requests import s3_demands

# Signing name -> prefix of the actions.
PREFIXES = {"monitoring": "cloudwatch", "sagemaker-runtime": "sagemaker"}
ACTION_NAMES = {
    ("lambda", "Invoke"): "InvokeFunction",
    # Amazon SQS Developer Guide, "Amazon SQS API permissions": a batch needs what its single operation needs.
    ("sqs", "SendMessageBatch"): "SendMessage",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
}
# What making a resource with tags needs besides (Service Authorization Reference, dependent actions and the services'
# pages about tags: KMS Developer Guide, "Controlling access to tags"; IAM User Guide, "Controlling access ... tags").
TAGGING = {
    ("cloudwatch", "PutMetricAlarm"): "TagResource",
    ("dynamodb", "CreateTable"): "TagResource",
    ("events", "PutRule"): "TagResource",
    ("iam", "CreatePolicy"): "TagPolicy",
    ("iam", "CreateRole"): "TagRole",
    ("kms", "CreateKey"): "TagResource",
    ("lambda", "CreateFunction"): "TagResource",
    ("logs", "CreateLogGroup"): "TagResource",
    ("sns", "CreateTopic"): "TagResource",
    ("sqs", "CreateQueue"): "TagQueue",
    ("ssm", "PutParameter"): "AddTagsToResource",
    ("states", "CreateStateMachine"): "TagResource",
}
# Need no permission: STS API Reference, GetCallerIdentity.
FREE = {("sts", "GetCallerIdentity")}


@dataclass(frozen=True)
class Demand:
    """One thing that has to be allowed. ``context`` holds condition keys beyond those of every request."""

    action: str
    resource: str
    context: Mapping[str, object] = field(default_factory=dict)


def demands(request: Asked, place: Region) -> list[Demand]:
    """All that has to be allowed for a request."""
    if (request.service, request.operation) in FREE:
        return []
    if request.service == "s3":
        return [Demand(action, resource, context) for action, resource, context in s3_demands(request)]
    prefix = PREFIXES.get(request.service, request.service)
    if prefix == "dynamodb" and request.operation.startswith("Transact"):
        return [Demand(f"dynamodb:{action}", arn) for action, arn in _transaction(request, place)]
    action = f"{prefix}:{ACTION_NAMES.get((request.service, request.operation), request.operation)}"
    context = _context(prefix, request)
    named = resources(prefix, request.operation, request.parameters, place)
    found = [Demand(action, resource, context) for _, resource in named] or [Demand(action, "*", context)]
    if "aws:TagKeys" in context and (tagging := _tagging(prefix, request.operation)):
        # A key that is being made has no name yet.
        tagged = place.arn("kms", "key/*") if prefix == "kms" else found[0].resource
        found.append(Demand(f"{prefix}:{tagging}", tagged, context))
    return [*found, *_passed_roles(prefix, request.parameters)]


def _tagging(prefix: str, operation: str) -> str | None:
    if prefix == "sagemaker" and operation.startswith("Create"):
        return "AddTags"
    return TAGGING.get((prefix, operation))


def _context(prefix: str, request: Asked) -> dict[str, object]:
    context: dict[str, object] = {}
    if prefix == "sts":
        named = {"sts:RoleSessionName": "RoleSessionName", "sts:ExternalId": "ExternalId"}
        context |= {key: request.parameters[name] for key, name in named.items() if name in request.parameters}
    if prefix == "iam":  # of a role that is there already, iam_authority knows the boundary
        named = {"iam:PermissionsBoundary": "PermissionsBoundary", "iam:PolicyARN": "PolicyArn"}
        context |= {key: request.parameters[name] for key, name in named.items() if name in request.parameters}
    if prefix == "cloudwatch" and (namespace := request.parameters.get("Namespace")):
        context["cloudwatch:namespace"] = str(namespace)
    if tags := _tags(request.parameters.get("Tags") or request.parameters.get("tags")):
        context |= {f"aws:RequestTag/{key}": value for key, value in tags.items()}
        context["aws:TagKeys"] = list(tags)
    if isinstance(keys := request.parameters.get("TagKeys") or request.parameters.get("tagKeys"), list):
        context["aws:TagKeys"] = [str(key) for key in keys]
    return context


def _tags(given: object) -> dict[str, str]:
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items()}
    if not isinstance(given, list):
        return {}
    named = [{name.lower(): value for name, value in tag.items()} for tag in given if isinstance(tag, dict)]
    # KMS calls them TagKey and TagValue.
    return {str(tag.get("key", tag.get("tagkey"))): str(tag.get("value", tag.get("tagvalue", ""))) for tag in named}


# Parameters in which a role is handed to a service (IAM User Guide, "Grant permissions to pass a role").
_ROLE_PARAMETERS = {"RoleArn", "ExecutionRoleArn", "Role", "roleArn", "serviceRole", "RoleARN"}
_PASSED_TO = {
    "sagemaker": "sagemaker.amazonaws.com",
    "lambda": "lambda.amazonaws.com",
    "states": "states.amazonaws.com",
    "events": "events.amazonaws.com",
    "scheduler": "scheduler.amazonaws.com",
    "codebuild": "codebuild.amazonaws.com",
    "codepipeline": "codepipeline.amazonaws.com",
    "cloudformation": "cloudformation.amazonaws.com",
}


def _passed_roles(prefix: str, parameters: Mapping[str, object]) -> Iterator[Demand]:
    service = _PASSED_TO.get(prefix)
    if service is not None:
        for role in dict.fromkeys(_roles(parameters)):
            yield Demand("iam:PassRole", role, {"iam:PassedToService": service})


def _roles(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _ROLE_PARAMETERS and isinstance(inner, str) and ":role/" in inner:
                yield inner
            elif isinstance(inner, (Mapping, list)):
                yield from _roles(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _roles(inner)


def _transaction(request: Asked, place: Region) -> Iterator[tuple[str, str]]:
    """DynamoDB's transactions need the permissions of their parts (DynamoDB Developer Guide, transactions and IAM)."""
    names = {"ConditionCheck": "ConditionCheckItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
    names |= {"Get": "GetItem"}
    items = request.parameters.get("TransactItems")
    for item in items if isinstance(items, list) else []:
        for kind, part in item.items():
            yield names.get(kind, kind), place.arn("dynamodb", f"table/{part.get('TableName')}")
