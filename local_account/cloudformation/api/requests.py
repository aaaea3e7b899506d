"""What requests ask stacks to become: the template, wherever it lies, its parameters, and who may ask for it.

Runs in the server process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.cloudformation.changes import Preview
from local_account.cloudformation.language.errors import InvalidTemplateError, MissingExportError, TransformError
from local_account.cloudformation.language.parameters import parameter_values, stored_values
from local_account.cloudformation.language.rules import check_rules
from local_account.cloudformation.language.schemas import is_of_aws
from local_account.cloudformation.record import outputs
from local_account.cloudformation.records import DeclaredResource, StackTag, TemplateDocument, WantedStack
from local_account.cloudformation.resources.kinds import is_known
from local_account.cloudformation.rollback_triggers import checked_triggers
from local_account.cloudformation.stack import DeployedStack, named_role
from local_account.cloudformation.stack_policy import StackPolicy
from local_account.cloudformation.template import parse
from local_account.cloudformation.transforms.apply import transformed, transforms_of
from local_account.cloudformation.transforms.macros import Macros
from local_account.protocol.actions import ServiceError
from local_account.protocol.records import change, chosen, record_of

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        CreateChangeSetInputTypeDef,
        CreateStackInputTypeDef,
        GetTemplateSummaryInputTypeDef,
        ParameterTypeDef,
        UpdateStackInputTypeDef,
        ValidateTemplateInputTypeDef,
    )

    StackRequest = CreateStackInputTypeDef | UpdateStackInputTypeDef | CreateChangeSetInputTypeDef
    TemplateRequest = StackRequest | GetTemplateSummaryInputTypeDef | ValidateTemplateInputTypeDef

MAX_BODY_BYTES = 51_200  # a longer template has to lie in S3 (API reference, CreateStack)
MAX_OBJECT_BYTES = 1_048_576
_NAMED = {"AWS::IAM::Group", "AWS::IAM::InstanceProfile", "AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::IAM::User"}


def wanted_stack(
    account: Account, request: StackRequest, stack: DeployedStack, is_new: bool, macros: Mapping[str, str]
) -> WantedStack:
    """What a request wants of a stack, which is new or has a template already; ``macros`` are functions by name.

    Raises ServiceError for a template or parameters that cannot be used, and for capabilities that are not said;
    UntransformedError where a transform fails.
    """
    original = template_of(account, request, None if is_new else stack)
    given = _given(request.get("Parameters", []), stack.record["Parameters"])
    if transforms_of(original):
        _check_expanding(request)
    try:
        template = transformed(Macros(account, macros, str(request.get("RoleARN", ""))), original, given)
    except TransformError as error:
        raise UntransformedError(str(error), _untransformed(account, request, stack, original, given)) from error
    document = parse(template)
    parameters = parameter_values(document, given)
    stored = stored_values(document, parameters, lambda name: _stored(account, name))
    _check_types(document, request.get("ResourceTypes", []))
    wanted = _untransformed(account, request, stack, original if original != template else "", parameters)
    wanted["Template"], wanted["Stored"] = template, stored
    _check_capabilities(document, wanted["Capabilities"])
    check_expressions(stack, document, wanted)
    return wanted


class UntransformedError(Exception):
    """A template with a transform that fails: ``wanted`` is what the request says besides."""

    def __init__(self, reason: str, wanted: WantedStack) -> None:
        super().__init__(reason)
        self.wanted = wanted


def _untransformed(
    account: Account, request: StackRequest, stack: DeployedStack, original: str, parameters: dict[str, str]
) -> WantedStack:
    """What a request wants besides its template."""
    wanted: WantedStack = {
        "Template": "",
        "Original": original,
        "Parameters": parameters,
        "Stored": {},
        "Tags": [record_of(StackTag, tag) for tag in request["Tags"]] if "Tags" in request else stack.record["Tags"],
        "Capabilities": [str(each) for each in request.get("Capabilities", [])],
        "OnFailure": _on_failure(request),
    }
    _add_options(account, request, wanted)
    return wanted


def check_expressions(stack: DeployedStack, document: TemplateDocument, wanted: WantedStack) -> None:
    """Raises ServiceError for a rule that does not hold, and for an expression that can never be evaluated."""
    preview = Preview(stack, document, wanted["Parameters"], wanted.get("Stored", {}))
    scope = preview.scope()
    check_rules(scope)
    for name in document.get("Conditions") or {}:
        scope.condition(name)
    try:
        for declared in scope.active_resources().values():
            scope.properties(declared)
        outputs(scope)
    except MissingExportError:
        return  # AWS tells it when the operation runs


def _add_options(account: Account, request: StackRequest, wanted: WantedStack) -> None:
    change(wanted, chosen(request, ("NotificationARNs", "RetainExceptOnCreate", "TimeoutInMinutes")))
    change(wanted, chosen(request, ("ClientRequestToken", "EnableTerminationProtection")))
    if "RoleARN" in request:
        wanted["RoleARN"] = named_role(account, request["RoleARN"])
    if "RollbackConfiguration" in request:
        wanted["RollbackConfiguration"] = checked_triggers(account, request["RollbackConfiguration"])
    for member in ("StackPolicy", "StackPolicyDuringUpdate"):
        if (policy := stack_policy(account, cast("Mapping[str, str]", request), member)) is not None:
            change(wanted, {member: policy})


def stack_policy(account: Account, request: Mapping[str, str], member: str) -> str | None:
    """The policy that a request has in ``StackPolicyBody`` or at ``StackPolicyURL``; None for none.

    Raises ServiceError for both, and for what is no policy.
    """
    body, url = request.get(f"{member}Body"), request.get(f"{member}URL")
    if body is not None and url is not None:
        raise ServiceError(f"You cannot specify both {member}URL and {member}Body")
    text = object_text(account, url) if url is not None else body
    if text is not None:
        StackPolicy.read(text)
    return text


def _on_failure(request: StackRequest) -> str:
    if "DisableRollback" in request and "OnFailure" in request:
        raise ServiceError("You cannot specify both DisableRollback and OnFailure")
    if request.get("DisableRollback"):
        return "DO_NOTHING"
    return str(request.get("OnFailure", request.get("OnStackFailure", "ROLLBACK")))


def _given(parameters: Iterable[ParameterTypeDef], previous: dict[str, str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for parameter in parameters:
        key = parameter.get("ParameterKey", "")
        if key in given:
            raise ServiceError(f"Parameter {key} is specified more than once")
        if not parameter.get("UsePreviousValue"):
            given[key] = parameter.get("ParameterValue", "")
        elif parameter.get("ParameterValue") is not None:
            raise ServiceError(
                f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true and non empty value "
                "for a parameter"
            )
        elif key in previous:
            given[key] = previous[key]
        else:
            raise ServiceError(f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true")
    return given


def _stored(account: Account, name: str) -> str | None:
    try:
        return account.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    except ClientError:
        return None


def _check_types(document: TemplateDocument, allowed: Iterable[str]) -> None:
    used = {resource["Type"] for resource in document["Resources"].values()}
    if unknown := sorted(kind for kind in used if not is_known(kind) and not is_of_aws(kind)):
        raise InvalidTemplateError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")
    patterns = list(allowed)
    for kind in sorted(used) if patterns else []:
        if not any(
            kind == each or (each.endswith("::*") and kind.startswith(each[:-1])) or each == "*" for each in patterns
        ):
            raise ServiceError(
                f"Resource type {kind} is not allowed by parameter ResourceTypes [{', '.join(patterns)}]"
            )


def required_capabilities(document: TemplateDocument) -> tuple[list[str], str]:
    """The capabilities that a template needs, and why."""
    kinds: dict[str, DeclaredResource] = {}
    for resource in document["Resources"].values():
        if resource["Type"].startswith("AWS::IAM::"):
            kinds.setdefault(resource["Type"], resource)
    if not kinds:
        return [], ""
    named = any(_is_named(resource) for resource in document["Resources"].values())
    capability = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
    return [capability], f"The following resource(s) require capabilities: [{', '.join(kinds)}]"


def _is_named(resource: Mapping[str, object]) -> bool:
    kind, properties = str(resource["Type"]), resource.get("Properties")
    name = f"{kind.rpartition('::')[2]}Name"
    return kind in _NAMED and isinstance(properties, Mapping) and name in properties


def _check_capabilities(document: TemplateDocument, said: list[str]) -> None:
    required, _ = required_capabilities(document)
    enough = {"CAPABILITY_NAMED_IAM"} | ({"CAPABILITY_IAM"} if required == ["CAPABILITY_IAM"] else set())
    if required and not enough & set(said):
        raise ServiceError(f"Requires capabilities : [{required[0]}]", "InsufficientCapabilitiesException")


def _check_expanding(request: StackRequest) -> None:
    """Raises ServiceError where a stack would be made of a template that nobody has seen; a change set shows it."""
    if "ChangeSetName" not in request and "CAPABILITY_AUTO_EXPAND" not in request.get("Capabilities", []):
        raise ServiceError("Requires capabilities : [CAPABILITY_AUTO_EXPAND]", "InsufficientCapabilitiesException")


def template_of(account: Account, request: TemplateRequest, stack: DeployedStack | None) -> str:
    """The text of the template: in the request, in S3, or the one that the stack has.

    Raises ServiceError for none, for one that is too long for a request, and for one that S3 does not give.
    """
    if "TemplateBody" in request:
        return _body(request["TemplateBody"])
    if "TemplateURL" in request:
        return object_text(account, request["TemplateURL"])
    if request.get("UsePreviousTemplate") and stack:
        return stack.record.get("Original") or stack.record["Template"]
    raise ServiceError("Either Template URL or Template Body must be specified.")


def _body(body: str) -> str:
    if len(body.encode()) <= MAX_BODY_BYTES:
        return body
    raise ServiceError(
        f"1 validation error detected: Value '{body}' at 'templateBody' failed to satisfy constraint: "
        f"Member must have length less than or equal to {MAX_BODY_BYTES}"
    )


def object_text(account: Account, url: str) -> str:
    """The text of an object whose address a request names.

    Raises ServiceError for an address that is none of S3's, and for an object that S3 does not give.
    """
    bucket, key = _place(url)
    try:
        content: bytes = account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        raise ServiceError(f"S3 error: {error.response['Error'].get('Message', '')}") from error
    except BotoCoreError as error:  # a name that no client sends, or S3 cannot be asked
        raise ServiceError(f"S3 error: {error}") from error
    if len(content) > MAX_OBJECT_BYTES:
        raise ServiceError(f"Template may not exceed {MAX_OBJECT_BYTES} bytes in size.")
    return content.decode("utf-8", "replace")


def _place(url: str) -> tuple[str, str]:
    """Bucket and key of an address in S3, whose host may name the bucket.

    Raises ServiceError for another address.
    """
    parts = urlsplit(url)
    path, host = unquote(parts.path).lstrip("/"), parts.netloc
    if parts.scheme == "s3":
        raise ServiceError(f"S3 error: Domain name specified in {host} is not a valid S3 domain")
    if parts.scheme not in ("http", "https") or not path:
        raise ServiceError("TemplateURL must be a supported URL.")
    if re.match(r".+\.s3[.-]", host):
        return re.split(r"\.s3[.-]", host)[0], path
    if host.endswith(".amazonaws.com") and not host.startswith("s3"):
        raise ServiceError("TemplateURL must be a supported URL.")
    bucket, _, key = path.partition("/")
    if not key:
        raise ServiceError("TemplateURL must be a supported URL.")
    return bucket, key
