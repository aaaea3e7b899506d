"""Dynamic references: ``{{resolve:ssm:name:version}}`` and the like, which stand for values kept elsewhere.

Runs in the server process. A parameter's value is part of the template as soon as it is evaluated; a secret's is put in
when a resource is made, and stands in no record, event or answer.

Source: CloudFormation User Guide, dynamic references.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.cloudformation.language.errors import InvalidTemplateError

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]*)\}\}")
_ANY = re.compile(r"\{\{resolve:([^:{}]*)")


class DynamicReferences:
    """Resolves the references of one stack with the stack's role, or as the owner."""

    def __init__(self, account: Account, role: str = "") -> None:
        self._account, self._role = account, role

    def plain(self, text: str) -> str:
        """The text with the values of plain parameters.

        Raises InvalidTemplateError for a parameter that is not there, and for a reference that cannot be resolved.
        """
        if "{{resolve:" not in text:
            return text
        for service in _ANY.findall(text):
            if service not in ("ssm", "ssm-secure", "secretsmanager"):
                raise InvalidTemplateError(f"Dynamic reference service '{service}' is not supported")
        return _replaced(text, {"ssm": self._parameter, "ssm-secure": _refuse_secure})

    def secret(self, value: object) -> object:
        """A value with the secrets that it refers to.

        Raises InvalidTemplateError as `plain` does.
        """
        if isinstance(value, Mapping):
            return {key: self.secret(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.secret(item) for item in value]
        return _replaced(value, {"secretsmanager": self._secret}) if isinstance(value, str) else value

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
        secret_id, kind, key, stage, version = _parts_of_secret(what)
        request = {"SecretId": secret_id}
        request |= {"VersionStage": stage} if stage else {}
        request |= {"VersionId": version} if version else {}
        try:
            client: Any = self._account.client("secretsmanager", self._role)
            text = str(client.get_secret_value(**request)["SecretString"])
        except (ClientError, KeyError) as error:
            raise InvalidTemplateError(f"Could not retrieve secret {secret_id}: {error}") from error
        if kind not in ("", "SecretString"):
            raise InvalidTemplateError(f"Dynamic reference secretsmanager:{what} should name SecretString, not {kind}")
        return _member(text, key, secret_id) if key else text


def _replaced(text: str, resolvers: Mapping[str, Callable[[str], str]]) -> str:
    def substitute(match: re.Match[str]) -> str:
        return resolvers[match[1]](match[2]) if match[1] in resolvers else match[0]

    return _REFERENCE.sub(substitute, text)


def _refuse_secure(what: str) -> str:
    raise InvalidTemplateError(f"SSM Secure reference is not supported in: [{what}]")


def _parts_of_secret(what: str) -> tuple[str, str, str, str, str]:
    """Secret, ``SecretString``, key, stage and version; a secret's ARN has colons of its own."""
    arn = re.match(r"arn:[^:]*:secretsmanager:[^:]*:[^:]*:secret:[^:]*", what)
    name = arn[0] if arn else what.partition(":")[0]
    rest = [*what[len(name) + 1 :].split(":"), "", "", "", ""]
    return name, rest[0], rest[1], rest[2], rest[3]


def _member(text: str, key: str, secret_id: str) -> str:
    try:
        document = json.loads(text)
        return str(document[key])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidTemplateError(
            f"Could not find a value associated with JSONKey in SecretString of {secret_id}"
        ) from error
