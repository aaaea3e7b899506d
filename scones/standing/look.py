"""One look at a stage: a line for each part of it, and what somebody has to do.

Runs on a laptop. Each part asks its own service, so that one refused call leaves the others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scones import failures
from scones.plain_text import brief, unsigned
from scones.serving_versions import deployments, endpoint
from scones.stage.connection import Connection
from scones.traffic import report_list

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef
    from types_boto3_sqs.literals import QueueAttributeNameType

_COUNTS: tuple[QueueAttributeNameType, ...] = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


@dataclass(frozen=True)
class StandingPart:
    """One part: what it says in a line, what somebody has to do (nothing: ""), and the console's page about it."""

    line: str
    todo: str = ""
    page: Literal["registry", "live", "review", "reports", "runs", ""] = ""
    busy: bool = False
    failed: bool = False
    """It could not be read; ``line`` says why."""


def serving(connection: Connection) -> StandingPart:
    """What answers."""
    found = endpoint.status(connection)
    if found is None:
        return StandingPart("nothing serves", "approve a version: `scones model approve`", "registry")
    version = found.model_package_arn.rpartition("/")[2] or "an unknown version"
    line = f"version {version} serves, {found.status}"
    if found.status == "Failed":
        return StandingPart(line, f"the endpoint failed: {brief(found.failure) or 'no reason given'}", "registry")
    return StandingPart(line, deployments.remark(deployments.state(connection)), "registry")


def deployment(connection: Connection) -> StandingPart:
    """What is being deployed, with its share of the traffic, or what was deployed last."""
    known = deployments.state(connection)
    if known.current is not None:
        return StandingPart(f"{deployments.doing(known)}{_share(connection)}", "", "registry", busy=True)
    if not known.records:
        return StandingPart("none yet", "", "registry")
    last = known.records[-1]
    began = f"{last['started'][:16].replace('T', ' ')} UTC"
    line = f"none under way; the last: version {last['version']} {last['outcome']}, started {began}"
    failed = last["outcome"] not in deployments.FINE
    todo = f"version {last['version']} was not deployed: {brief(unsigned(last['detail']))}" if failed else ""
    return StandingPart(line, todo, "registry")


def _share(connection: Connection) -> str:
    """Of the traffic, that the new version gets already; "" while SageMaker does not tell."""
    found = connection.client("sagemaker").describe_endpoint(EndpointName=connection.names.endpoint)
    share = new_share(found)
    return "" if share is None else f", {share:.0%} of the traffic"


def new_share(found: DescribeEndpointOutputTypeDef) -> float | None:
    """Return the new fleet's share of the traffic; None when no update is under way."""
    pending = found.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
    old = sum(variant.get("CurrentWeight", 0.0) for variant in found.get("ProductionVariants", []))
    new = sum(variant.get("CurrentWeight", 0.0) for variant in pending)
    return new / (old + new) if pending and old + new else None


def versions(connection: Connection) -> StandingPart:
    """Which versions wait for a person."""
    answer = connection.client("sagemaker").list_model_packages(
        ModelPackageGroupName=connection.names.model_package_group,
        ModelApprovalStatus="PendingManualApproval",
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=10,
    )
    waiting = [str(item.get("ModelPackageVersion", "?")) for item in answer["ModelPackageSummaryList"]]
    if not waiting:
        return StandingPart("none waits for approval", "", "registry")
    named = f"version{'' if len(waiting) == 1 else 's'} {', '.join(waiting)}"
    return StandingPart(
        f"{named} wait{'s' if len(waiting) == 1 else ''} for approval", f"decide on {named}", "registry"
    )


def alarms(connection: Connection) -> StandingPart:
    """Which alarms are on."""
    pages = connection.client("cloudwatch").get_paginator("describe_alarms")
    prefix = f"{connection.names.prefix}-"
    found = [alarm for page in pages.paginate(AlarmNamePrefix=prefix) for alarm in page["MetricAlarms"]]
    on = [str(alarm["AlarmName"]).removeprefix(prefix) for alarm in found if alarm["StateValue"] == "ALARM"]
    if on:
        return StandingPart(f"{len(on)} of {len(found)} on: {', '.join(on)}", f"look into {', '.join(on)}", "live")
    return StandingPart(f"none of {len(found)} on", "", "live")


def review(connection: Connection) -> StandingPart:
    """How many images wait for a person."""
    waiting, held = _messages(connection, connection.names.review_queue)
    aside, _ = _messages(connection, connection.names.review_dead_letter_queue)
    line = f"{waiting} wait{', ' + str(held) + ' are being looked at' if held else ''}"
    if aside:
        return StandingPart(
            f"{line}, {aside} put aside", f"{aside} messages were put aside: nobody could read them", "review"
        )
    return StandingPart(
        line, f"label {waiting} image{'' if waiting == 1 else 's'}: `scones review label`" if waiting else "", "review"
    )


def _messages(connection: Connection, queue: str) -> tuple[int, int]:
    sqs = connection.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))["Attributes"]
    return int(found[_COUNTS[0]]), int(found[_COUNTS[1]])


def report(connection: Connection) -> StandingPart:
    """What the newest report says."""
    listed = report_list.reports(connection)
    if not listed:
        return StandingPart("none yet", "", "reports")
    newest = listed[0]
    todo = f"read it: {', '.join(newest.alarms)} moved" if newest.alarms else ""
    return StandingPart(f"{newest.verdict} (to {newest.end[:16].replace('T', ' ')} UTC)", todo, "reports")


def training(connection: Connection) -> StandingPart:
    """How the newest run of the training pipeline goes."""
    found = connection.client("sagemaker").list_pipeline_executions(
        PipelineName=connection.names.training_pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
    )["PipelineExecutionSummaries"]
    if not found:
        return StandingPart("never ran", "start it: `scones pipeline run`", "runs")
    status = str(found[0]["PipelineExecutionStatus"])
    line = f"{status}, started {found[0]['StartTime']:%Y-%m-%d %H:%M} UTC"
    todo = "see why the last run failed: `scones pipeline status`" if status == "Failed" else ""
    return StandingPart(line, todo, "runs", busy=status == "Executing")


PARTS: dict[str, Callable[[Connection], StandingPart]] = {
    "endpoint": serving,
    "deployment": deployment,
    "versions": versions,
    "alarms": alarms,
    "review queue": review,
    "last report": report,
    "last training": training,
}


def look(connection: Connection) -> dict[str, StandingPart]:
    """Read every part at the same time; one that cannot be read says so, and the others stand."""
    with ThreadPoolExecutor(len(PARTS)) as pool:
        return dict(zip(PARTS, pool.map(lambda name: _part(connection, name), PARTS), strict=True))


def _part(connection: Connection, name: str) -> StandingPart:
    try:
        return PARTS[name](connection)
    except Exception as error:
        told = failures.told(error)
        if told is None:
            raise
        return StandingPart(f"could not be read: {told}", failed=True)
