"""Whether drift starts a training, and in one sentence why, or why not.

Runs in Lambda. Only predictions that moved are a reason: nothing can be trained against a dark camera or a capture with
gaps, which people are told of. What is asked each time is the newest report, so that it does not matter which event
came, how often, or whether one was lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lambdas.deployment.clients import EndpointClients
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.registry import find_version
from lambdas.deployment.version import ServableVersion, VersionGoneError

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_sagemaker.type_defs import PipelineExecutionSummaryTypeDef

PREDICTIONS = "predictions"
# Executions of this name were started here; whatever people start does not count for the cool-down.
DISPLAY_NAME = "drift-{:%Y%m%dT%H%M%S}"
_OURS = DISPLAY_NAME.partition("{")[0]
NEVER = "never"  # ReviewedUntil without reviewed images
_LABEL_FILE = "/label.json"
_UNDER_WAY = {"Executing", "Stopping"}
# Metadata of a version -> the parameter that it came from (`pipelines.training_pipeline`).
_SAME_AGAIN = {
    "source_s3_uri": "SourceUri",
    "data_origin": "DataOrigin",
    "recipe": "Recipe",
    "pretrained_mode": "PretrainedMode",
    "members": "Members",
    "image_size": "ImageSize",
    "backbone": "Backbone",
    "backbone_weights": "BackboneWeights",
    "precision": "Precision",
}

STARTED, REFUSED, QUIET = "started", "refused", "quiet"


@dataclass(frozen=True)
class Rules:
    """What has to hold before a training is started: the stage file's [monitoring]."""

    retrain: bool
    cooldown_hours: float
    min_records: int
    min_reviewed_images: int


@dataclass(frozen=True)
class Where:
    """What is looked at and started; ``table`` is the one of the deployments."""

    clients: EndpointClients
    table: Table
    pipeline: str
    model_package_group: str
    reports_uri: str
    reviews_uri: str
    rules: Rules


@dataclass(frozen=True)
class TrainingDecision:
    """``outcome``: STARTED, REFUSED, or QUIET where nothing asks for a training."""

    outcome: str
    why: str
    report: str = ""
    """Where the report is that it is about."""
    execution: str = ""


@dataclass(frozen=True)
class NewestReport:
    """The newest of the list that the monitoring job keeps."""

    uri: str
    alarms: tuple[str, ...]
    records: int


def consider_training(where: Where, now: datetime) -> TrainingDecision:
    """Start the training pipeline, if the newest report asks for it and nothing speaks against it."""
    report = newest_report(where)
    if report is None:
        return TrainingDecision(QUIET, "there is no report yet")
    if PREDICTIONS not in report.alarms:
        return TrainingDecision(QUIET, "the newest report finds no drift of the predictions", report.uri)
    live = Ledger(where.table).live()
    if live is None:
        return TrainingDecision(REFUSED, "no version serves", report.uri)
    try:
        version = find_version(where.clients.sagemaker, Ledger(where.table), live.package_arn)
    except VersionGoneError as error:
        return TrainingDecision(REFUSED, str(error), report.uri)
    executions = _executions(where)
    known = version.metadata.get("reviewed_until", NEVER)
    reviews = [f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for at in _reviews(where)]
    new = sum(known == NEVER or at > known for at in reviews)
    obstacle = (
        _settings_against(where)
        or _execution_against(where, executions, now)
        or _waiting_version(where, version)
        or _too_little(where.rules, report, new)
    )
    if not obstacle and "source_s3_uri" not in version.metadata:
        obstacle = f"version {live.version} does not say what it was trained on"
    if obstacle:
        return TrainingDecision(REFUSED, obstacle, report.uri)
    arn = _start(where, version, executions, max(reviews, default=NEVER), now)
    return TrainingDecision(STARTED, f"version {live.version}'s data and {new} newly reviewed images", report.uri, arn)


def newest_report(where: Where) -> NewestReport | None:
    """None where none was ever written."""
    bucket, _, prefix = where.reports_uri.removeprefix("s3://").partition("/")
    try:
        answer = where.clients.s3.get_object(Bucket=bucket, Key=f"{prefix}/index.json")
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    listed = json.loads(answer["Body"].read())
    if not listed:
        return None
    newest = listed[0]
    return NewestReport(
        f"{where.reports_uri}/{newest['name']}/report.html", tuple(newest["alarms"]), int(newest.get("records", 0))
    )


def _executions(where: Where) -> list[PipelineExecutionSummaryTypeDef]:
    """The latest of the training pipeline, the newest first."""
    answer = where.clients.sagemaker.list_pipeline_executions(
        PipelineName=where.pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=50
    )
    return answer["PipelineExecutionSummaries"]


def _reviews(where: Where) -> Iterator[datetime]:
    """When each reviewed image was labelled."""
    bucket, _, prefix = where.reviews_uri.removeprefix("s3://").partition("/")
    pages = where.clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    for page in pages:
        yield from (o["LastModified"] for o in page.get("Contents", []) if o["Key"].endswith(_LABEL_FILE))


def _settings_against(where: Where) -> str:
    return "" if where.rules.retrain else "the stage's settings say not to ([monitoring] retrain)"


def _execution_against(where: Where, executions: list[PipelineExecutionSummaryTypeDef], now: datetime) -> str:
    for execution in executions:
        if execution["PipelineExecutionStatus"] in _UNDER_WAY:
            return f"execution {_name(execution['PipelineExecutionArn'])} of {where.pipeline} is in progress"
    ours = [e for e in executions if e.get("PipelineExecutionDisplayName", "").startswith(_OURS)]
    again = ours[0]["StartTime"] + timedelta(hours=where.rules.cooldown_hours) if ours else now
    if again > now:
        return f"the last one was started at {_clock(ours[0]['StartTime'])}, the next may be at {_clock(again)}"
    return ""


def _waiting_version(where: Where, live: ServableVersion) -> str:
    """A version that is newer than the one that serves has to be approved or rejected first."""
    answer = where.clients.sagemaker.list_model_packages(
        ModelPackageGroupName=where.model_package_group,
        ModelApprovalStatus="PendingManualApproval",
        CreationTimeAfter=datetime.fromisoformat(live.created),
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=1,
    )
    waiting = [p for p in answer["ModelPackageSummaryList"] if p["ModelPackageArn"] != live.package_arn]
    return f"version {waiting[0]['ModelPackageVersion']} waits for approval" if waiting else ""


def _too_little(rules: Rules, report: NewestReport, reviewed: int) -> str:
    if report.records < rules.min_records:
        return f"the report is about {report.records} predictions, fewer than {rules.min_records}"
    if reviewed < rules.min_reviewed_images:
        return (
            f"of at least {rules.min_reviewed_images} reviewed images that the version that serves does not know there "
            f"are {reviewed}: see `scones review label`"
        )
    return ""


def _start(
    where: Where,
    version: ServableVersion,
    executions: list[PipelineExecutionSummaryTypeDef],
    reviewed_until: str,
    now: datetime,
) -> str:
    """Two invocations that see the same executions start one: the token is the same."""
    metadata = version.metadata
    given = {parameter: metadata[name] for name, parameter in _SAME_AGAIN.items() if metadata.get(name)}
    given |= {"Classes": version.classes, "ReviewedUntil": reviewed_until}
    last = executions[0]["PipelineExecutionArn"] if executions else "none"
    answer = where.clients.sagemaker.start_pipeline_execution(
        PipelineName=where.pipeline,
        PipelineExecutionDisplayName=DISPLAY_NAME.format(now.astimezone(UTC)),
        PipelineParameters=[{"Name": k, "Value": v} for k, v in sorted(given.items()) if v],
        ClientRequestToken=hashlib.sha256(f"{where.pipeline} after {last}".encode()).hexdigest(),
    )
    return str(answer["PipelineExecutionArn"])


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
