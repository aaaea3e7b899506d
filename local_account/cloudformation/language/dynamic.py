"""Dynamic references: ``{{resolve:ssm:name:version}}`` stands for the value of a parameter of Parameter Store.

``{{resolve:secretsmanager:secret:SecretString:key:stage:version}}`` stands for a secret, or for what is under its key.
Runs in the server process. No property here takes an ``ssm-secure`` reference. Source: CloudFormation User Guide,
dynamic references.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Protocol, cast

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.cloudformation.language.errors import InvalidTemplateError

_SECRET = re.compile(
    r"(?P<name>arn:[\w-]+:secretsmanager:[\w-]*:\d{12}:secret:[^:]+|[^:]+)"
    r"(?::(?P<kind>[^:]*))?(?::(?P<key>[^:]*))?(?::(?P<stage>[^:]*))?(?::(?P<version>[^:]*))?"
)
_REFERENCE = re.compile(r"\{\{resolve:([^:{}]*):?([^{}]*)\}\}")


class SecretReader(Protocol):
    """What is called of Secrets Manager's client."""

    def get_secret_value(self, **request: str) -> Mapping[str, object]:
        """GetSecretValue."""


class DynamicReferences:
    """Resolves the references of one stack with the stack's role, or as the owner."""

    def __init__(self, account: Account, role: str = "") -> None:
        self._account, self._role = account, role

    def plain(self, text: str) -> str:
        """The text with the values of the parameters that it refers to.

        Raises InvalidTemplateError for a parameter that is not there, and for a reference that cannot be resolved.
        """
        return _REFERENCE.sub(self._value, text) if "{{resolve:" in text else text

    def _value(self, reference: re.Match[str]) -> str:
        service, what = reference.groups()
        if service == "ssm":
            return self._parameter(what)
        if service == "ssm-secure":
            raise InvalidTemplateError(f"SSM Secure reference is not supported in: [{what}]")
        if service == "secretsmanager":
            return self._secret(what)
        raise InvalidTemplateError(f"Dynamic reference service '{service}' is not supported")

    def _parameter(self, what: str) -> str:
        name, _, version = what.partition(":")
        selector = f"{name}:{version}" if version else name
        try:
            found = self._account.client("ssm", self._role).get_parameter(Name=selector)["Parameter"]
        except ClientError as error:
            raise InvalidTemplateError(f"Parameters: [ssm:{what}] cannot be found.") from error
        if found["Type"] == "SecureString":
            raise InvalidTemplateError(
                f"Non-secure SSM reference was used for secure parameter: [{name}]. Use ssm-secure reference instead."
            )
        return found["Value"]

    def _secret(self, what: str) -> str:
        match = _SECRET.fullmatch(what)
        if match is None or match["kind"] not in {None, "", "SecretString"}:
            raise InvalidTemplateError(f"Invalid dynamic reference to a secret: [secretsmanager:{what}]")
        asked = {"VersionStage": match["stage"], "VersionId": match["version"]}
        given = {name: value for name, value in asked.items() if value}
        client = cast("SecretReader", self._account.client("secretsmanager", self._role))
        try:
            value = str(client.get_secret_value(SecretId=match["name"], **given).get("SecretString", ""))
        except ClientError as error:
            message = "Secrets Manager can't find the specified secret."
            raise InvalidTemplateError(error.response["Error"].get("Message", message)) from error
        return _under(value, match["key"]) if match["key"] else value


def _under(secret: str, key: str) -> str:
    """What a secret has under a key.

    Raises InvalidTemplateError for a secret that is no JSON, and for a key that it lacks.
    """
    try:
        document = json.loads(secret)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidTemplateError("Could not parse SecretString JSON")
    if key not in document:
        raise InvalidTemplateError(f"Could not find a value associated with JSONKey in SecretString: {key}")
    return str(document[key])
