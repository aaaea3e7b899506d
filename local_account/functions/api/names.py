"""Names of functions, in each form that Lambda's API takes: a name, a part of an ARN, an ARN, each with a qualifier.

Runs in the server process. Source: lambda/latest/api, "FunctionName"; ARNs of other accounts and regions are refused
before anybody gets here (`protocol.foreign`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from local_account.base.arns import read_function_name
from local_account.functions.errors import client_error

LATEST = "$LATEST"
_VERSION = re.compile(r"\d+")


@dataclass(frozen=True)
class FunctionName:
    """A function, and the version or alias of it that is meant; None where none was named."""

    name: str
    qualifier: str | None = None

    @property
    def is_alias(self) -> bool:
        """Whether the qualifier is an alias's name."""
        return self.qualifier not in {None, LATEST} and not is_version(str(self.qualifier))

    def under(self, arn: str) -> str:
        """The ARN of what is meant; ``arn`` is that of the function."""
        return f"{arn}:{self.qualifier}" if self.qualifier else arn


def is_version(qualifier: str) -> bool:
    """Whether a qualifier is a version's number."""
    return _VERSION.fullmatch(qualifier) is not None


def named(text: str, qualifier: str | None = None) -> FunctionName:
    """What a FunctionName and a Qualifier mean; raises moto's LambdaClientError where they contradict each other."""
    found = read_function_name(text)
    if found.qualifier and qualifier and found.qualifier != qualifier:
        message = "The derived qualifier from the function name does not match the specified qualifier."
        raise client_error("InvalidParameterValueException", message, 400)
    return FunctionName(found.name, found.qualifier or qualifier or None)


def unqualified(text: str) -> str:
    """The name of a function in an operation that knows no versions; raises moto's LambdaClientError for one."""
    found = named(text)
    if found.qualifier:
        message = (
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
        raise client_error("InvalidParameterValueException", message, 400)
    return found.name


def not_found(arn: str) -> Exception:
    """Lambda's error for a function, or a version of it, that is not there."""
    return client_error("ResourceNotFoundException", f"Function not found: {arn}", 404)


def check_revision(given: object, last: str, reader: str = "GetFunction/GetAlias") -> None:
    """Raises moto's LambdaClientError for a RevisionId that is not the ``last`` one, which ``reader`` tells."""
    if not given or given == last:
        return
    message = (
        f"The Revision Id provided does not match the latest Revision Id. Call the {reader} API to retrieve the latest "
        "Revision Id"
    )
    raise client_error("PreconditionFailedException", message, 412)
