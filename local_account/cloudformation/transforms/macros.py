"""What transforms a part of a template: a function of the account, or a file of S3.

Runs in the server process. Source: CloudFormation User Guide, template macros and AWS::Include.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.base.arns import object_place
from local_account.cloudformation.language.errors import InvalidTemplateError, TransformError
from local_account.cloudformation.template import read_template

Section = dict[str, object]


@dataclass(frozen=True)
class TransformCall:
    """One use of a transform: what it is called with, and the part of the template beside it."""

    name: str
    parameters: Mapping[str, object]
    fragment: Section


@dataclass(frozen=True)
class Macros:
    """The macros of the account. ``functions``: the functions by the names that stacks gave to macros."""

    account: Account
    functions: Mapping[str, str]
    role: str = ""
    """Who calls them; empty for the owner."""

    def apply(self, call: TransformCall, values: Mapping[str, object]) -> object:
        """What the function of a macro makes of a part; ``values`` are the template's parameters.

        Raises TransformError for a macro that is not there, and for one that fails.
        """
        if call.name not in self.functions:
            raise TransformError(f"No transform named {call.name} found.")
        identity = f"{self.account.account_id}::{call.name}"
        event = {
            "region": self.account.region,
            "accountId": self.account.account_id,
            "fragment": call.fragment,
            "transformId": identity,
            "params": call.parameters,
            "requestId": str(uuid.uuid4()),
            "templateParameterValues": values,
        }
        answer = self._invoked(self.functions[call.name], event, identity)
        if str(answer["status"]).lower() != "success":
            message = answer.get("errorMessage")
            told = f"with: {message}" if message else "without an error message."
            raise TransformError(f"Transform {identity} failed {told}")
        return answer.get("fragment")

    def _invoked(self, function: str, event: Mapping[str, object], identity: str) -> Mapping[str, object]:
        client = self.account.client("lambda", self.role)
        malformed = TransformError(f"Received malformed response from transform {identity}")
        try:
            answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        except ClientError as error:
            raise TransformError(f"Transform {identity} failed with: {error}") from error
        if "FunctionError" in answer:
            raise malformed
        result = json.loads(answer["Payload"].read() or b"null")
        if not isinstance(result, dict) or "status" not in result or result.get("requestId") != event["requestId"]:
            raise malformed
        return result

    def included(self, location: object) -> Section:
        """The part of a template that lies in S3.

        Raises TransformError for an address that is none, and for an object that cannot be read.
        """
        if not isinstance(location, str) or not location.startswith("s3://"):
            raise _not_included("Location parameter's value should be in the form s3://bucket/key")
        place = object_place(location)
        client = self.account.client("s3", self.role)
        try:
            content = client.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
        except ClientError as error:
            raise _not_included(f"{location}: {error.response['Error'].get('Message', '')}") from error
        try:
            return read_template(content.decode("utf-8", "replace"))
        except InvalidTemplateError as error:
            raise _not_included("The specified S3 object's content should be valid Yaml/JSON") from error


def _not_included(why: str) -> TransformError:
    return TransformError(f"Transform AWS::Include failed with: {why}")


def as_section(value: object) -> Section:
    """A part of a template that has to be an object.

    Raises TransformError for anything else.
    """
    if not isinstance(value, dict):
        raise TransformError("Template format error: unsupported structure.")
    return value
