"""What CodePipeline tells of pipelines and executions: pure functions of their records.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from local_account.protocol.service import Resource

_SUMMARY = ("pipelineExecutionId", "status", "statusSummary", "startTime", "lastUpdateTime", "trigger", "executionMode")


def execution(record: Resource) -> Resource:
    """GetPipelineExecution."""
    members = ("pipelineName", "pipelineVersion", "pipelineExecutionId", "status", "statusSummary", "trigger")
    revisions = [
        {"name": each["artifact"], **{name: value for name, value in each.items() if name != "artifact"}}
        for each in record["revisions"].values()
    ]
    return {
        **{name: record[name] for name in (*members, "variables", "executionMode") if name in record},
        "artifactRevisions": revisions,
        "executionType": "STANDARD",
    }


def summary(record: Resource) -> Resource:
    """One of ListPipelineExecutions."""
    revisions = [
        {"actionName": action, "revisionId": each["revisionId"], "revisionSummary": each["revisionSummary"]}
        for action, each in record["revisions"].items()
    ]
    stop = {"stopTrigger": {"reason": record["stopReason"]}} if "stopReason" in record else {}
    kept = {name: record[name] for name in _SUMMARY if name in record}
    return {**kept, "sourceRevisions": revisions, "executionType": "STANDARD", **stop}


def action_execution(record: Resource, detail: Resource) -> Resource:
    """One of ListActionExecutions."""
    result = {
        "externalExecutionId": detail.get("externalExecutionId"),
        "externalExecutionSummary": detail.get("summary"),
        "errorDetails": detail.get("errorDetails"),
        "logStreamARN": detail.get("logStreamARN"),
    }
    given: dict[str, Any] = {
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
        **{name: detail[name] for name in kept},
        "input": {name: value for name, value in given.items() if value is not None},
        "output": output,
    }


def _artifacts(places: dict[str, Any]) -> list[Resource]:
    return [{"name": name, "s3location": place} if place else {"name": name} for name, place in places.items()]


def stage_state(stage: Resource, states: Resource, closed: Resource | None, waiting: list[str]) -> Resource:
    """A stage of GetPipelineState, without its actions."""
    transition: Resource = {"enabled": True}
    if closed:
        transition = {"enabled": False, "disabledReason": closed["reason"], "lastChangedAt": closed["at"]}
    inbound = [{"pipelineExecutionId": one, "status": "InProgress", "type": "STANDARD"} for one in waiting]
    return {
        "stageName": stage["name"],
        "inboundTransitionState": transition,
        **({"inboundExecution": inbound[-1], "inboundExecutions": inbound} if inbound else {}),
        **({"latestExecution": states[stage["name"]]} if stage["name"] in states else {}),
    }


def action_states(stage: Resource, records: Iterable[Resource]) -> list[Resource]:
    """The actions of a stage, each as it ran last; ``records`` with the newest first."""
    latest: dict[str, Resource] = {}
    for record in records:
        for detail in reversed(record["actions"]):
            if detail["stageName"] == stage["name"]:
                latest.setdefault(detail["actionName"], detail)
    return [_action_state(action["name"], latest.get(action["name"])) for action in stage["actions"]]


def _action_state(name: str, detail: Resource | None) -> Resource:
    if detail is None:
        return {"actionName": name}
    members = ("actionExecutionId", "status", "summary", "token", "externalExecutionId", "errorDetails", "logStreamARN")
    ran = {member: detail[member] for member in members if detail.get(member)}
    ran["lastStatusChange"] = detail["lastUpdateTime"]
    state: Resource = {"actionName": name, "latestExecution": ran}
    if "revision" in detail:
        state["currentRevision"] = {
            "revisionId": detail["revision"]["revisionId"],
            "revisionChangeId": detail["revision"]["revisionId"],
            "created": detail["startTime"],
        }
    return state
