"""Functions as Lambda's API describes them, with the service's defaults.

Runs in the server process. Source: lambda/latest/api, FunctionConfiguration. A function is ready as soon as it is made:
the answer that makes or changes it says ``Pending`` or ``InProgress``, as AWS does, and whatever asks next is told that
it is done, under another revision.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_account.functions.configuration import AccountFunction

_DONE = {"State": "Active", "LastUpdateStatus": "Successful"}
_MADE = {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
_CHANGED = {
    "State": "Active",
    "LastUpdateStatus": "InProgress",
    "LastUpdateStatusReason": "The function is being created.",
    "LastUpdateStatusReasonCode": "Creating",
}
_NOT_LISTED = {"State", "LastUpdateStatus", "RuntimeVersionConfig"}


def described(function: AccountFunction, arn: str) -> dict[str, object]:
    """A function as it is, under the ARN that was asked for."""
    return _configuration(function, arn) | _DONE


def listed(function: AccountFunction, arn: str) -> dict[str, object]:
    """A function in a list, which leaves out what AWS would have to look up."""
    return {name: value for name, value in described(function, arn).items() if name not in _NOT_LISTED}


def just_made(function: AccountFunction, version: str) -> dict[str, object]:
    """A function in the answer that makes it; then it is ready."""
    answer = _configuration(function, function.unqualified_arn) | _MADE | {"Version": version}
    function.revise()
    return answer


def just_changed(function: AccountFunction) -> dict[str, object]:
    """A function in the answer that changes it; then it is ready."""
    function.revise()
    answer = _configuration(function, function.unqualified_arn) | _CHANGED
    function.revise()
    return answer


def _configuration(function: AccountFunction, arn: str) -> dict[str, object]:
    runtime = function.run_time or ""
    found: dict[str, object] = {
        "FunctionName": function.function_name,
        "FunctionArn": arn,
        "Runtime": function.run_time,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.code_size,
        "Description": function.description,
        "Timeout": function.timeout,
        "MemorySize": function.memory_size,
        "LastModified": function.last_modified,
        "CodeSha256": function.code_sha_256,
        "Version": str(function.version),
        "TracingConfig": function.tracing_config,
        "RevisionId": function.revision_id,
        "PackageType": function.package_type,
        "Architectures": function.architectures,
        "EphemeralStorage": {"Size": function.ephemeral_storage},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {"RuntimeVersionArn": runtime_arn(function.region, runtime)},
        "LoggingConfig": function.logging,
    }
    if function.has_environment or function.environment_vars:
        found["Environment"] = {"Variables": function.environment_vars}
    if function.layers:
        found["Layers"] = function.layers
    if function.dead_letter_config:
        found["DeadLetterConfig"] = function.dead_letter_config
    return found


def runtime_arn(region: str, runtime: str) -> str:
    """The ARN of the version of a runtime: there is one of each here."""
    return f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"
