"""Runtimes that Lambda takes, and those that it has retired.

Runs in the server process. Source: lambda/latest/dg/lambda-runtimes.html, "Supported runtimes" and "Deprecated
runtimes" (2026-11). What AWS takes and the account does not run is refused when the function is invoked.
"""

from __future__ import annotations

from local_account.functions.errors import client_error

# The order is that of AWS's message.
SUPPORTED = (
    "nodejs20.x", "provided.al2023", "python3.12", "python3.13", "nodejs22.x", "java17", "nodejs16.x", "dotnet8",
    "python3.10", "java11", "python3.11", "dotnet6", "java21", "nodejs18.x", "provided.al2", "ruby3.3", "ruby3.4",
    "java8.al2", "ruby3.2", "python3.8", "python3.9",
)  # fmt: skip
_NEWER = {"python3.14", "nodejs24.x", "java25", "dotnet10"}
_RETIRED = {
    "nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x",
    "java8", "python2.7", "python3.6", "python3.7", "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1",
    "dotnet5.0", "dotnet7", "go1.x", "ruby2.5", "ruby2.7", "provided",
}  # fmt: skip


def check_runtime(runtime: object) -> None:
    """Raises moto's LambdaClientError for a runtime that Lambda does not take, or takes no more."""
    if runtime is None or runtime in SUPPORTED or runtime in _NEWER:
        return
    if runtime in _RETIRED:
        message = (
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
        raise client_error("InvalidParameterValueException", message, 400)
    message = (
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(SUPPORTED)}] or be a valid ARN"
    )
    raise client_error("InvalidParameterValueException", message, 400)
