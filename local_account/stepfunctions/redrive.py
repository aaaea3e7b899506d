"""RedriveExecution: an execution that failed goes on at the state that failed.

Runs in the server process. What succeeded before is not run again; of a Distributed Map only the children that did not
succeed. Difference from AWS: of a Parallel and of an inline Map all branches and items run again, not only those that
failed (step-functions/latest/dg/redrive-executions.html).
"""

from __future__ import annotations

import threading
from typing import Any

from local_account.stepfunctions.answers import not_redrivable, standard_arn
from local_account.stepfunctions.executions import Executions, now
from local_account.stepfunctions.runs import Resume


def hook_redrive(executions: Executions) -> None:
    """Answer RedriveExecution. Called once."""
    from moto.core.exceptions import AWSError
    from moto.core.responses import ActionResult
    from moto.stepfunctions.responses import StepFunctionResponse

    starting = threading.Lock()

    def redrive_execution(response: Any) -> Any:
        execution = response.stepfunction_backend.describe_execution(standard_arn(response._get_param("executionArn")))
        with starting:
            if reason := not_redrivable(execution):
                raise AWSError(reason, "ExecutionNotRedrivable")
            begin = _again(executions, execution)
        executions.publisher.started(execution)
        threading.Thread(target=begin, daemon=True).start()
        return ActionResult({"redriveDate": execution.redrive_date})

    StepFunctionResponse.redrive_execution = redrive_execution


def _again(executions: Executions, execution: Any) -> Any:
    from moto.stepfunctions.parser.api import ExecutionStatus

    state, data, variables = execution.resume
    resume = Resume(state, data, variables, execution.exec_worker.history)
    execution.redrive_count = getattr(execution, "redrive_count", 0) + 1
    execution.redrive_date = now()
    begin = executions.runner(execution, resume)
    execution.stop_date = execution.error = execution.cause = None
    execution.exec_status = ExecutionStatus.RUNNING
    executions.running[execution.execution_arn] = execution
    return begin
