"""What the account tells of executions: events to EventBridge, metrics to CloudWatch.

Runs in the server process.
"""

from __future__ import annotations

import logging

from local_account.account import Account
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.execution import AccountExecution, not_redrivable

log = logging.getLogger(__name__)
_ENDED_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}


class ExecutionPublisher:
    """Tells EventBridge, CloudWatch and the snapshots about executions; never fails an execution."""

    def __init__(self, account: Account, telemetry: Telemetry) -> None:
        self._account, self._telemetry = account, telemetry

    def started(self, execution: AccountExecution) -> None:
        """Count the execution, and send its event."""
        dimensions = {"StateMachineArn": execution.machine_arn}
        self._telemetry.add_metric("AWS/States", "ExecutionsStarted", 1, "Count", dimensions)
        self._emit(execution, "RUNNING")

    def ended(self, execution: AccountExecution) -> None:
        """Count how it ended and how long it took, send its event, have it written to the state."""
        dimensions = {"StateMachineArn": execution.machine_arn}
        self._telemetry.add_metric("AWS/States", _ENDED_METRICS[execution.status], 1, "Count", dimensions)
        milliseconds = execution.took_s * 1000
        self._telemetry.add_metric("AWS/States", "ExecutionTime", milliseconds, "Milliseconds", dimensions)
        if execution.is_express:
            return  # Express workflows send no events: step-functions/latest/dg/eventbridge-integration.html
        self._account.snapshots.mark_dirty("states")
        self._emit(execution, execution.status)

    def _emit(self, execution: AccountExecution, status: str) -> None:
        if execution.is_express:
            return
        ended, succeeded = status != "RUNNING", status == "SUCCEEDED"
        stopped = execution.stop_date if ended else None
        reason = not_redrivable(execution)
        detail = {
            "executionArn": execution.execution_arn,
            "stateMachineArn": execution.machine_arn,
            "name": execution.name,
            "status": status,
            "startDate": int(execution.start_date.timestamp() * 1000),
            "stopDate": int(stopped.timestamp() * 1000) if stopped else None,
            "input": execution.execution_input,
            "inputDetails": {"included": True},
            "output": execution.output if succeeded else None,
            "stateMachineVersionArn": execution.version_arn,
            "stateMachineAliasArn": execution.alias_arn,
            "redriveCount": execution.redrive_count,
            "redriveDate": int(execution.redrive_date.timestamp() * 1000) if execution.redrive_date else None,
            "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
            "redriveStatusReason": reason,
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
