"""Resources of other accounts and regions: refused before anybody acts on our own of the same name.

Runs in the server process, called by both fronts with the members of a request. Each service has its own words for it
(each one's API reference, errors); where it does not say, a resource of another account is not accessible, and one of
another region is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from local_account.base.arns import Arn, read_arn, read_function_name, read_queue_url


@dataclass(frozen=True)
class ForeignError:
    """How a service refuses; ``message`` may name {arn}, {account}, {region}, {home}, {service} and {operation}."""

    code: str
    message: str
    status: int = 400


@dataclass(frozen=True)
class ForeignWords:
    """How a service refuses resources of another account, and of another region."""

    account: ForeignError
    region: ForeignError


_DENIED = (
    "User: arn:aws:iam::{home}:root is not authorized to perform: {service}:{operation} on resource: {arn} because no "
    "resource-based policy allows the {service}:{operation} action"
)
_MISSING = "The resource {arn} does not exist"
_PLAIN = ForeignWords(ForeignError("AccessDeniedException", _DENIED), ForeignError("ValidationException", _MISSING))
_NO_QUEUE = ForeignError("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
_WORDS = {
    "cloudformation": ForeignWords(
        ForeignError("ValidationError", "Stack with id {arn} does not exist"),
        ForeignError("ValidationError", "Stack with id {arn} does not exist"),
    ),
    "codebuild": ForeignWords(
        ForeignError("InvalidInputException", "Invalid project: cross-account access is not allowed: {arn}"),
        ForeignError("InvalidInputException", "Invalid region: {region}, expected the region of the request: {arn}"),
    ),
    "events": ForeignWords(
        ForeignError("AccessDeniedException", _DENIED), ForeignError("ResourceNotFoundException", _MISSING)
    ),
    "kms": ForeignWords(
        ForeignError(
            "AccessDeniedException",
            "User: arn:aws:iam::{home}:root is not authorized to perform: kms:{operation} on this resource because the "
            "resource does not exist in this Region, no resource-based policies allow access, or a resource-based "
            "policy explicitly denies access",
        ),
        ForeignError("NotFoundException", "Invalid arn {region}"),
    ),
    "lambda": ForeignWords(
        ForeignError("AccessDeniedException", _DENIED, 403),
        ForeignError(
            "ResourceNotFoundException",
            "Functions from '{region}' are not reachable in this region ('{home_region}')",
            404,
        ),
    ),
    "logs": ForeignWords(
        ForeignError("AccessDeniedException", _DENIED),
        ForeignError("ResourceNotFoundException", "The specified log group does not exist."),
    ),
    "scheduler": ForeignWords(
        ForeignError("AccessDeniedException", _DENIED, 403), ForeignError("ResourceNotFoundException", _MISSING, 404)
    ),
    "sns": ForeignWords(
        ForeignError("AuthorizationError", _DENIED.replace("{service}", "SNS"), 403),
        ForeignError("InvalidParameter", "Invalid parameter: TopicArn"),
    ),
    "sqs": ForeignWords(_NO_QUEUE, _NO_QUEUE),
    "states": ForeignWords(
        ForeignError("AccessDeniedException", _DENIED),
        ForeignError("InvalidArn", "Invalid Arn: '{arn}' is of the region {region}"),
    ),
}
_OWNERS: dict[str, tuple[str, ForeignError]] = {
    "ecr": (
        "registryId",
        ForeignError(
            "RepositoryNotFoundException", "The repository does not exist in the registry with id '{account}'"
        ),
    ),
    "glue": ("CatalogId", ForeignError("AccessDeniedException", "Cross-account access to catalog {account} is denied")),
}
"""Members that say whose resource is meant, an account's number, and how the service refuses another one."""
_PASSED: Mapping[str, tuple[tuple[str, ...], str, int]] = {
    "codebuild": (("serviceRole",), "AccessDeniedException", 400),
    "codepipeline": (("pipeline.roleArn",), "AccessDeniedException", 400),
    "events": (("RoleArn", "Targets.RoleArn"), "AccessDeniedException", 400),
    "lambda": (("Role",), "AccessDeniedException", 403),
    "logs": (("roleArn",), "AccessDeniedException", 400),
    "sagemaker": (("RoleArn", "ExecutionRoleArn"), "ValidationException", 400),
    "scheduler": (("Target.RoleArn",), "AccessDeniedException", 403),
    "states": (("roleArn",), "AccessDeniedException", 400),
}
"""Where a service is handed a role, and how it refuses one of another account (IAM User Guide, passing a role)."""
# Members that may name what is another account's: they are read, or refused, where they are used.
_ELSEWHERE = {
    ("lambda", "Layers"),
    ("lambda", "LayerName"),
    ("events", "Targets"),
    ("events", "TargetArn"),
    ("sns", "Endpoint"),
    ("sns", "TargetArn"),
}
_ARN_SERVICES = {"monitoring": "cloudwatch", "codeconnections": "codestar-connections"}
"""The name in a service's ARNs, where requests are signed for another."""
_ANYWHERE = {"iam", "sts", "s3"}
"""Services whose resources have no region, or whose own checks name the account."""


@dataclass(frozen=True)
class Home:
    """The account and the region that are served."""

    account: str
    region: str


def foreign_error(service: str, operation: str, members: Mapping[str, object], home: Home) -> ForeignError | None:
    """How the service refuses a request that names a resource of its own elsewhere; None for any other request."""
    if service in _ANYWHERE:
        return None
    url = read_queue_url(members.get("QueueUrl")) if service == "sqs" else None
    if url is not None and url.account != home.account:
        return _NO_QUEUE
    if (owner := _other_owner(service, members, home) or _passed_role(service, members, home)) is not None:
        return owner
    for arn in _arns(service, members):
        if arn.service == _ARN_SERVICES.get(service, service) and not arn.is_in(home.account, home.region):
            words = _WORDS.get(service, _PLAIN)
            # Both say that it is elsewhere; the region is what AWS's front looks at first.
            error = words.region if arn.region not in {"", home.region} else words.account
            return _filled(error, arn, operation, home)
    return None


def _arns(service: str, members: Mapping[str, object]) -> Iterator[Arn]:
    if service == "lambda" and (function := _function(members.get("FunctionName"))):
        yield function
    for name, value in members.items():
        if (service, name) not in _ELSEWHERE:
            yield from _held(value)


def _other_owner(service: str, members: Mapping[str, object], home: Home) -> ForeignError | None:
    name, error = _OWNERS.get(service, ("", None))
    account = members.get(name)
    if error is None or account is None or account == home.account:
        return None
    return ForeignError(error.code, error.message.format(account=account), error.status)


def _passed_role(service: str, members: Mapping[str, object], home: Home) -> ForeignError | None:
    """The refusal of a role of another account that a service is to take."""
    places, code, status = _PASSED.get(service, ((), "", 400))
    roles = [read_arn(each) for place in places for each in _at(members, place.split("."))]
    if any(role and role.service == "iam" and role.account not in {"", home.account} for role in roles):
        return ForeignError(code, "Cross-account pass role is not allowed.", status)
    return None


def _at(value: object, path: list[str]) -> Iterator[object]:
    """What stands at a path of members' names; each item of a list on the way."""
    if isinstance(value, list):
        for each in value:
            yield from _at(each, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping):
        yield from _at(value.get(path[0]), path[1:])


def _function(value: object) -> Arn | None:
    """What a part of a function's ARN names, where it names an account or a region."""
    if not isinstance(value, str) or value.startswith("arn:"):
        return None
    text = read_function_name(value)
    if not text.account and not text.region:
        return None
    return Arn("aws", "lambda", text.region, text.account, f"function:{text.name}")


def _held(value: object) -> Iterator[Arn]:
    if isinstance(value, str):
        if value.startswith("arn:") and (arn := read_arn(value)):
            yield arn
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _held(each)
    elif isinstance(value, list):
        for each in value:
            yield from _held(each)


def _filled(error: ForeignError, arn: Arn, operation: str, home: Home) -> ForeignError:
    message = error.message.format(
        arn=arn,
        account=arn.account,
        region=arn.region,
        home=home.account,
        home_region=home.region,
        service=arn.service,
        operation="InvokeFunction" if (arn.service, operation) == ("lambda", "Invoke") else operation,
    )
    return ForeignError(error.code, message, error.status)
