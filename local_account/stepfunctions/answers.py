"""What Step Functions answers about executions: described, listed, their history, stopped, run while one waits.

Runs in the server process; ``stepfunctions`` puts these into moto's dispatcher.
"""

from __future__ import annotations

import base64
import math
from typing import Any

from local_account.stepfunctions.executions import Executions, checked_input
from local_account.stepfunctions.publisher import machine_arn

HISTORY_PAGE = 100
PAGE_LIMIT = 1000
EXECUTION_DATA = ("input", "output", "parameters")
BILLED_STEP_MS = 100
BILLED_MEMORY_MB = 64
EXPRESS_ARN = "Invalid Arn: 'Resource type not valid in this context: express'"


def hook_answers(executions: Executions) -> None:
    """Replace moto's answers. Called once."""
    from moto.core.responses import ActionResult
    from moto.stepfunctions.responses import StepFunctionResponse

    def get_execution_history(response: Any) -> Any:
        arn = standard_arn(response._get_param("executionArn"))
        events = response.stepfunction_backend.get_execution_history(arn)["events"]
        events = sorted(events, key=lambda event: event["id"], reverse=bool(response._get_param("reverseOrder")))
        if response._get_param("includeExecutionData") is False:
            events = [_without_data(event) for event in events]
        return ActionResult(page(response, "events", events, HISTORY_PAGE))

    def describe_execution(response: Any) -> Any:
        execution = response.stepfunction_backend.describe_execution(standard_arn(response._get_param("executionArn")))
        return ActionResult(described(execution))

    def list_executions(response: Any) -> Any:
        machine = response.stepfunction_backend.describe_state_machine(response._get_param("stateMachineArn"))
        if machine.type == "EXPRESS":
            raise wrong_type()
        wanted = response._get_param("statusFilter")
        found = [e for e in reversed(list(machine.executions)) if wanted in (None, e.status)]
        answer = page(response, "executions", found, HISTORY_PAGE)
        answer["executions"] = [_listed(execution) for execution in answer["executions"]]
        return ActionResult(answer)

    def stop_execution(response: Any) -> Any:
        execution = response.stepfunction_backend.stop_execution(
            standard_arn(response._get_param("executionArn")),
            response._get_param("error"),
            response._get_param("cause"),
        )
        return ActionResult({"stopDate": execution.stop_date})

    def start_sync_execution(response: Any) -> Any:
        backend, name = response.stepfunction_backend, response._get_param("name")
        data = checked_input(response._get_param("input"))
        chosen, source = executions.machine(backend, response._get_param("stateMachineArn"), name)
        if chosen.type != "EXPRESS":
            raise wrong_type()
        execution, begin = executions.new(chosen, source, name, data)
        executions.publisher.started(execution)
        begin()
        answer = described(execution)
        # There is no ABORTED for these: step-functions/latest/apireference/API_StartSyncExecution.html
        took_ms = (execution.stop_date - execution.start_date).total_seconds() * 1000
        answer["billingDetails"] = {
            "billedMemoryUsedInMB": BILLED_MEMORY_MB,
            "billedDurationInMilliseconds": math.ceil(took_ms / BILLED_STEP_MS) * BILLED_STEP_MS,
        }
        return ActionResult({k: v for k, v in answer.items() if not k.startswith("redrive")})

    StepFunctionResponse.get_execution_history = get_execution_history
    StepFunctionResponse.describe_execution = describe_execution
    StepFunctionResponse.list_executions = list_executions
    StepFunctionResponse.stop_execution = stop_execution
    StepFunctionResponse.start_sync_execution = start_sync_execution


def described(execution: Any) -> dict[str, Any]:
    status = execution.status  # read first: the rest is complete once it is final
    answer: dict[str, Any] = {
        "executionArn": execution.execution_arn,
        "stateMachineArn": machine_arn(execution),
        "name": execution.name,
        "status": status,
        "startDate": execution.start_date,
        "input": execution.execution_input,
        "inputDetails": {"included": True},
        **redrive_details(execution),
    }
    if "source_arn" in vars(execution.state_machine):
        answer["stateMachineVersionArn"] = execution.state_machine.arn
    if status != "RUNNING":
        members = {"stopDate": execution.stop_date, "error": execution.error, "cause": execution.cause}
        answer.update({name: value for name, value in members.items() if value is not None})
    if status == "SUCCEEDED":
        answer.update(output=execution.output, outputDetails={"included": True})
    return answer


def redrive_details(execution: Any) -> dict[str, Any]:
    reason = not_redrivable(execution)
    answer = {
        "redriveCount": getattr(execution, "redrive_count", 0),
        "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
    }
    if reason:
        answer["redriveStatusReason"] = reason
    if getattr(execution, "redrive_date", None):
        answer["redriveDate"] = execution.redrive_date
    return answer


def not_redrivable(execution: Any) -> str | None:
    """Why the execution cannot be redriven; None when it can."""
    if execution.status in {"RUNNING", "SUCCEEDED"}:
        return f"Execution is {execution.status} and cannot be redriven"
    if getattr(execution, "resume", None) is None:
        return "Execution ended before its first state and cannot be redriven"
    return None


def _listed(execution: Any) -> dict[str, Any]:
    status = execution.status
    item = {
        "executionArn": execution.execution_arn,
        "name": execution.name,
        "startDate": execution.start_date,
        "stateMachineArn": machine_arn(execution),
        "status": status,
        "redriveCount": getattr(execution, "redrive_count", 0),
    }
    if status != "RUNNING":
        item["stopDate"] = execution.stop_date
    return item


def page(response: Any, member: str, items: list[Any], size: int) -> dict[str, Any]:
    """One page of a listing, with the token of the next; InvalidToken."""
    from moto.stepfunctions.exceptions import InvalidToken

    size = min(response._get_int_param("maxResults") or size, PAGE_LIMIT)
    token = response._get_param("nextToken")
    try:
        start = int(base64.b64decode(token, validate=True)) if token else 0
    except ValueError as error:
        raise InvalidToken(f"Invalid Token: '{token}'") from error
    answer: dict[str, Any] = {member: items[start : start + size]}
    if start + size < len(items):
        answer["nextToken"] = base64.b64encode(str(start + size).encode()).decode()
    return answer


def standard_arn(arn: str) -> str:
    """The ARN, unless it is an Express execution's, of which AWS keeps nothing."""
    from moto.stepfunctions.exceptions import InvalidArn

    if arn.split(":")[5:6] == ["express"]:
        raise InvalidArn(EXPRESS_ARN)
    return arn


def wrong_type() -> Exception:
    from moto.core.exceptions import AWSError

    error: Exception = AWSError(
        "This operation is not supported by this type of state machine", "StateMachineTypeNotSupported"
    )
    return error


def _without_data(event: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {k: v for k, v in value.items() if k not in EXECUTION_DATA} if isinstance(value, dict) else value
        for name, value in event.items()
    }
