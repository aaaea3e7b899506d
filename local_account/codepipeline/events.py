"""CodePipeline's events on EventBridge: of pipelines, stages and actions.

Runs in the server process. Their shapes are those of the CodePipeline user guide, monitoring events.
"""

from __future__ import annotations

from collections.abc import Mapping

from local_account.account import Account
from local_account.codepipeline.records import ActionRecord, CodePipelineExecution
from local_account.protocol.records import chosen

_WORDS = {"INPROGRESS": "STARTED", "ABANDONED": "ABANDONED"}


def pipeline(account: Account, execution: CodePipelineExecution, state: str) -> None:
    """Send that an execution has reached a state (STARTED, RESUMED, SUCCEEDED, ...)."""
    extra = {"execution-trigger": _trigger(execution), "pipeline-execution-attempt": execution["attempt"]}
    _emit(account, execution, "CodePipeline Pipeline Execution State Change", {"state": state, **extra})


def stage(account: Account, execution: CodePipelineExecution, name: str, status: str) -> None:
    """Send that a stage has reached a status."""
    details = {"stage": name, "state": _state(status), "pipeline-execution-attempt": execution["attempt"]}
    _emit(account, execution, "CodePipeline Stage Execution State Change", details)


def action(account: Account, execution: CodePipelineExecution, detail: ActionRecord) -> None:
    """Send the status of an action."""
    kind = detail["actionTypeId"]
    result = {"external-execution-id": detail.get("externalExecutionId")}
    if "errorDetails" in detail:
        result["external-execution-summary"] = detail["errorDetails"]["message"]
        result["error-code"] = detail["errorDetails"]["code"]
    details = {
        "stage": detail["stageName"],
        "action": detail["actionName"],
        "action-execution-id": detail["actionExecutionId"],
        "state": _state(detail["status"]),
        "region": account.region,
        "type": chosen(kind, ("owner", "category", "provider", "version")),
        "execution-result": {name: value for name, value in result.items() if value},
        "pipeline-execution-attempt": execution["attempt"],
    }
    _emit(account, execution, "CodePipeline Action Execution State Change", details)


def _trigger(execution: CodePipelineExecution) -> dict[str, str]:
    trigger = execution["trigger"]
    return {"trigger-type": trigger["triggerType"], "trigger-detail": trigger.get("triggerDetail", "")}


def _state(status: str) -> str:
    return _WORDS.get(status.upper(), status.upper())


def _emit(account: Account, execution: CodePipelineExecution, kind: str, details: Mapping[str, object]) -> None:
    about = {
        "pipeline": execution["pipelineName"],
        "execution-id": execution["pipelineExecutionId"],
        "version": float(execution["pipelineVersion"]),
        "start-time": execution["startTime"],
    }
    account.emit_event(
        "aws.codepipeline", kind, {**about, **details}, [account.arn("codepipeline", execution["pipelineName"])]
    )
