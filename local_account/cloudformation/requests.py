"""What requests ask stacks to become: the template, wherever it lies, its parameters, and who may ask for it.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from local_account.account import Account
from local_account.cloudformation.records import StackTag, WantedStack
from local_account.cloudformation.stack import DeployedStack, named_role
from local_account.cloudformation.template import parameter_values, parse
from local_account.protocol.actions import ServiceError
from local_account.protocol.records import record_of

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


def wanted_stack(account: Account, request: StackRequest, stack: DeployedStack | None) -> WantedStack:
    """What a request wants of a new stack, or of the one there is.

    Raises ServiceError for a template or parameters that cannot be used, and for capabilities that are not said.
    """
    template = template_of(account, request, stack)
    document = parse(template)
    previous = stack.record["Parameters"] if stack else {}
    parameters = parameter_values(document, _given(request.get("Parameters", []), previous))
    capabilities = [str(each) for each in request.get("Capabilities", [])]
    has_identities = any(r["Type"].startswith("AWS::IAM::") for r in document["Resources"].values())
    if has_identities and not {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"} & set(capabilities):
        raise ServiceError("Requires capabilities : [CAPABILITY_NAMED_IAM]", "InsufficientCapabilitiesException")
    tags = [record_of(StackTag, tag) for tag in request["Tags"]] if "Tags" in request else None
    wanted: WantedStack = {
        "Template": template,
        "Parameters": parameters,
        "Tags": (stack.record["Tags"] if stack else []) if tags is None else tags,
        "Capabilities": capabilities,
        "OnFailure": _on_failure(request),
    }
    if "RoleARN" in request:
        wanted["RoleARN"] = named_role(account, request["RoleARN"])
    return wanted


def _on_failure(request: StackRequest) -> str:
    if request.get("DisableRollback"):
        return "DO_NOTHING"
    return str(request.get("OnFailure", "ROLLBACK"))


def _given(parameters: Iterable[ParameterTypeDef], previous: dict[str, str]) -> dict[str, str]:
    given = {}
    for parameter in parameters:
        key = parameter["ParameterKey"]
        if not parameter.get("UsePreviousValue"):
            given[key] = parameter.get("ParameterValue", "")
        elif key in previous:
            given[key] = previous[key]
        else:
            raise ServiceError(f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true")
    return given


def template_of(account: Account, request: TemplateRequest, stack: DeployedStack | None) -> str:
    """The text of the template: in the request, in S3, or the one that the stack has.

    Raises ServiceError for none and for one that is too long for a request, ClientError as GetObject does.
    """
    if "TemplateBody" in request:
        body = request["TemplateBody"]
        if len(body.encode()) > MAX_BODY_BYTES:
            raise ServiceError(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
                f"Member must have length less than or equal to {MAX_BODY_BYTES}"
            )
        return body
    if "TemplateURL" in request:
        bucket, key = _place(request["TemplateURL"])
        content: bytes = account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return content.decode()
    if request.get("UsePreviousTemplate") and stack:
        return stack.record["Template"]
    raise ServiceError("Either Template URL or Template Body must be specified.")


def _place(url: str) -> tuple[str, str]:
    """Bucket and key of an address in S3, whose host may name the bucket."""
    path, host = unquote(urlsplit(url).path).lstrip("/"), urlsplit(url).netloc
    bucket, _, key = path.partition("/")
    if ".s3" in host and not host.startswith("s3"):
        return host.split(".s3")[0], path
    return bucket, key
