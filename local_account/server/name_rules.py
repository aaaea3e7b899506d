"""Names that a service restricts: moto takes any, the service refuses at the call what its model's pattern excludes.

Runs in the server process, for operations that make something. Only names are looked at here, as they are in botocore's
models; Step Functions' own rules are moto's, SageMaker's requests are validated whole.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import botocore.session

from local_account.authority.requests import CLIENT_NAMES, asked
from local_account.base.errors import ErrorAnswer, aws_error
from local_account.protocol.validation import text_problems

_MAKES = re.compile(r"(Add|Create|Publish|Put|Register)[A-Z]")
_NAME = re.compile(r"\w*[Nn]ame|Rule|StatementId")
# Signing name -> how the service calls what it refuses.
_CODES = {
    "dynamodb": "ValidationException",
    "events": "ValidationException",
    "iam": "ValidationError",
    "lambda": "ValidationException",
    "logs": "InvalidParameterException",
    "scheduler": "ValidationException",
}


def refusal(environ: dict[str, Any], service: str) -> ErrorAnswer | None:
    """The service's error for a name that it does not take."""
    if service not in _CODES or environ["REQUEST_METHOD"] in ("GET", "HEAD", "DELETE"):
        return None
    request = asked(service, environ)
    if request is None or not _MAKES.match(request.operation):
        return None
    found = [
        problem
        for name, shape in _named(service, request.operation).items()
        if isinstance(value := request.parameters.get(name), str)
        for problem in text_problems(value, shape, name[:1].lower() + name[1:])
    ]
    if not found:
        return None
    count = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
    return aws_error(environ, service, _CODES[service], f"{count}: {'; '.join(found)}")


@cache
def _named(service: str, operation: str) -> dict[str, Any]:
    """The shapes of an operation's own names."""
    model = botocore.session.get_session().get_service_model(CLIENT_NAMES.get(service, service))
    if operation not in model.operation_names:
        return {}
    shape = model.operation_model(operation).input_shape
    members = shape.members.items() if shape else ()
    return {name: each for name, each in members if each.type_name == "string" and _NAME.fullmatch(name)}
