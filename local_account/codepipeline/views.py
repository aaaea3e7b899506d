"""What CodePipeline tells of pipelines and executions: pure functions of their records.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from local_account.codepipeline.records import (
    ActionRecord,
    ArtifactPlace,
    ClosedTransition,
    CodePipelineExecution,
    StageDeclaration,
    StageState,
)
from local_account.protocol.actions import Reply
from local_account.protocol.records import chosen, without

_SUMMARY = ("pipelineExecutionId", "status", "statusSummary", "startTime", "lastUpdateTime", "trigger", "executionMode")


def execution(record: CodePipelineExecution) -> Reply:
    """An execution as GetPipelineExecution tells it."""
    members = ("pipelineName", "pipelineVersion", "pipelineExecutionId", "status", "statusSummary", "trigger")
    revisions = [{"name": each["artifact"], **without(each, "artifact")} for each in record["revisions"].values()]
    return {
        **chosen(record, (*members, "variables", "executionMode")),
        "artifactRevisions": revisions,
        "executionType": "STANDARD",
    }


def summary(record: CodePipelineExecution) -> Reply:
    """An execution as ListPipelineExecutions tells it."""
    revisions = [
        {"actionName": action, "revisionId": each["revisionId"], "revisionSummary": each["revisionSummary"]}
        for action, each in record["revisions"].items()
    ]
    stop = {"stopTrigger": {"reason": record["stopReason"]}} if "stopReason" in record else {}
    return {**chosen(record, _SUMMARY), "sourceRevisions": revisions, "executionType": "STANDARD", **stop}


def action_execution(record: CodePipelineExecution, detail: ActionRecord) -> Reply:
    """A run of an action as ListActionExecutions tells it."""
    result = {
        "externalExecutionId": detail.get("externalExecutionId"),
        "externalExecutionSummary": detail.get("summary"),
        "errorDetails": detail.get("errorDetails"),
        "logStreamARN": detail.get("logStreamARN"),
    }
    given = {
        "actionTypeId": detail["actionTypeId"],
        "configuration": detail["configuration"],
        "resolvedConfiguration": detail.get("resolvedConfiguration"),
        "inputArtifacts": _artifacts(detail["inputs"]),
    }
    output = {
        "outputArtifacts": _artifacts(detail.get("outputs", {})),
        "executionResult": {name: value for name, value in result.items() if value},
        "outputVariables": detail.get("outputVariables", {}),
    }
    kept = ("actionExecutionId", "stageName", "actionName", "startTime", "lastUpdateTime", "status")
    return {
        "pipelineExecutionId": record["pipelineExecutionId"],
        "pipelineVersion": record["pipelineVersion"],
        **chosen(detail, kept),
        "input": {name: value for name, value in given.items() if value is not None},
        "output": output,
    }


def _artifacts(places: Mapping[str, ArtifactPlace | None]) -> list[Reply]:
    return [{"name": name, "s3location": place} if place else {"name": name} for name, place in places.items()]


def stage_state(
    stage: StageDeclaration, states: Mapping[str, StageState], closed: ClosedTransition | None, waiting: list[str]
) -> Reply:
    """A stage as GetPipelineState tells it, without its actions."""
    transition: Reply = {"enabled": True}
    if closed:
        transition = {"enabled": False, "disabledReason": closed["reason"], "lastChangedAt": closed["at"]}
    inbound = [{"pipelineExecutionId": one, "status": "InProgress", "type": "STANDARD"} for one in waiting]
    return {
        "stageName": stage["name"],
        "inboundTransitionState": transition,
        **({"inboundExecution": inbound[-1], "inboundExecutions": inbound} if inbound else {}),
        **({"latestExecution": states[stage["name"]]} if stage["name"] in states else {}),
    }


def action_states(stage: StageDeclaration, records: Iterable[CodePipelineExecution]) -> list[Reply]:
    """The actions of a stage as GetPipelineState tells them, each as it ran last; ``records`` with the newest first."""
    latest: dict[str, ActionRecord] = {}
    for record in records:
        for detail in reversed(record["actions"]):
            if detail["stageName"] == stage["name"]:
                latest.setdefault(detail["actionName"], detail)
    return [_action_state(action["name"], latest.get(action["name"])) for action in stage["actions"]]


def _action_state(name: str, detail: ActionRecord | None) -> Reply:
    if detail is None:
        return {"actionName": name}
    members = ("actionExecutionId", "status", "summary", "token", "externalExecutionId", "errorDetails", "logStreamARN")
    ran = {member: value for member, value in chosen(detail, members).items() if value}
    ran["lastStatusChange"] = detail["lastUpdateTime"]
    state: dict[str, object] = {"actionName": name, "latestExecution": ran}
    if "revision" in detail:
        state["currentRevision"] = {
            "revisionId": detail["revision"]["revisionId"],
            "revisionChangeId": detail["revision"]["revisionId"],
            "created": detail["startTime"],
        }
    return state
