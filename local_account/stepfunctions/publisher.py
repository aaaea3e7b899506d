"""What the account tells of executions: events to EventBridge, metrics to CloudWatch.

Runs in the server process.
"""

from __future__ import annotations

import logging
from typing import Any

from local_account.account import Account
from local_account.cloudwatch.telemetry import Telemetry

log = logging.getLogger(__name__)


class Publisher:
    """Tells EventBridge, CloudWatch and the snapshots about executions; never fails an execution."""

    def __init__(self, account: Account, telemetry: Telemetry) -> None:
        self._account, self._telemetry = account, telemetry

    def started(self, execution: Any) -> None:
        machine = machine_arn(execution)
        self._telemetry.add_metric("AWS/States", "ExecutionsStarted", 1, "Count", {"StateMachineArn": machine})
        self._emit(execution, "RUNNING")

    def ended(self, execution: Any) -> None:
        dimensions = {"StateMachineArn": machine_arn(execution)}
        name = {
            "SUCCEEDED": "ExecutionsSucceeded",
            "FAILED": "ExecutionsFailed",
            "TIMED_OUT": "ExecutionsTimedOut",
            "ABORTED": "ExecutionsAborted",
        }[execution.status]
        self._telemetry.add_metric("AWS/States", name, 1, "Count", dimensions)
        milliseconds = (execution.stop_date - execution.start_date).total_seconds() * 1000
        self._telemetry.add_metric("AWS/States", "ExecutionTime", milliseconds, "Milliseconds", dimensions)
        if execution.sm_type == "EXPRESS":
            return  # Express workflows send no events: step-functions/latest/dg/eventbridge-integration.html
        self._account.snapshots.mark_dirty("states")
        self._emit(execution, execution.status)

    def _emit(self, execution: Any, status: str) -> None:
        if execution.sm_type == "EXPRESS":
            return
        ended, succeeded = status != "RUNNING", status == "SUCCEEDED"
        detail = {
            "executionArn": execution.execution_arn,
            "stateMachineArn": machine_arn(execution),
            "name": execution.name,
            "status": status,
            "startDate": int(execution.start_date.timestamp() * 1000),
            "stopDate": int(execution.stop_date.timestamp() * 1000) if ended else None,
            "input": execution.execution_input,
            "inputDetails": {"included": True},
            "output": execution.output if succeeded else None,
            "outputDetails": {"included": True} if succeeded else None,
            "error": execution.error if ended else None,
            "cause": execution.cause if ended else None,
        }
        try:
            self._account.emit_event(
                "aws.states", "Step Functions Execution Status Change", detail, [execution.execution_arn]
            )
        except Exception:  # a rule that cannot be served must not change what an execution came to
            log.exception("the status change of %s was not published", execution.execution_arn)


def machine_arn(execution: Any) -> str:
    machine = execution.state_machine
    arn: str = getattr(machine, "source_arn", None) or machine.arn
    return arn
