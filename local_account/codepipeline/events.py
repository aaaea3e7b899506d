"""CodePipeline's events on EventBridge: of pipelines, stages and actions.

Runs in the server process. Their shapes are those of the CodePipeline user guide, monitoring events.
"""

from __future__ import annotations

from typing import Any

from local_account.account import Account
from local_account.protocol.service import Resource

_WORDS = {"INPROGRESS": "STARTED", "ABANDONED": "ABANDONED"}


def pipeline(account: Account, execution: Resource, state: str) -> None:
    extra = {"execution-trigger": _trigger(execution), "pipeline-execution-attempt": execution["attempt"]}
    _emit(account, execution, "CodePipeline Pipeline Execution State Change", {"state": state, **extra})


def stage(account: Account, execution: Resource, name: str, status: str) -> None:
    details = {"stage": name, "state": _state(status), "pipeline-execution-attempt": execution["attempt"]}
    _emit(account, execution, "CodePipeline Stage Execution State Change", details)


def action(account: Account, execution: Resource, detail: Resource) -> None:
    kind = detail["actionTypeId"]
    result = {"external-execution-id": detail.get("externalExecutionId")}
    if "errorDetails" in detail:
        result["external-execution-summary"] = detail["errorDetails"]["message"]
        result["error-code"] = detail["errorDetails"]["code"]
    details: dict[str, Any] = {
        "stage": detail["stageName"],
        "action": detail["actionName"],
        "action-execution-id": detail["actionExecutionId"],
        "state": _state(detail["status"]),
        "region": account.region,
        "type": {name: kind[name] for name in ("owner", "category", "provider", "version")},
        "execution-result": {name: value for name, value in result.items() if value},
        "pipeline-execution-attempt": execution["attempt"],
    }
    _emit(account, execution, "CodePipeline Action Execution State Change", details)


def _trigger(execution: Resource) -> dict[str, str]:
    trigger = execution["trigger"]
    return {"trigger-type": trigger["triggerType"], "trigger-detail": trigger.get("triggerDetail", "")}


def _state(status: str) -> str:
    return _WORDS.get(status.upper(), status.upper())


def _emit(account: Account, execution: Resource, kind: str, details: dict[str, Any]) -> None:
    about = {
        "pipeline": execution["pipelineName"],
        "execution-id": execution["pipelineExecutionId"],
        "version": float(execution["pipelineVersion"]),
        "start-time": execution["startTime"],
    }
    account.emit_event(
        "aws.codepipeline", kind, about | details, [account.arn("codepipeline", execution["pipelineName"])]
    )
