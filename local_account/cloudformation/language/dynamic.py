"""Dynamic references: ``{{resolve:ssm:name:version}}`` stands for the value of a parameter of Parameter Store.

Runs in the server process. References to secrets are refused: the account has no Secrets Manager, and no property that
takes an ``ssm-secure`` reference. Source: CloudFormation User Guide, dynamic references.
"""

from __future__ import annotations

import re

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.cloudformation.language.errors import InvalidTemplateError

_REFERENCE = re.compile(r"\{\{resolve:([^:{}]*):?([^{}]*)\}\}")


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
            raise InvalidTemplateError(
                f"The stand-in account does not implement dynamic references to secretsmanager ({what})."
            )
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
