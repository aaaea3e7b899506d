"""What became of photographs that were sent: the states that their executions entered, and the answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from console.web.remembered import Remembered
from scones.errors import SconesError
from scones.plain_text import brief
from scones.review.queue import ReviewMessage
from scones.runs import executions
from scones.runs.executions import ImageOutcome, StoredImage
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_stepfunctions.type_defs import (
        DescribeExecutionOutputTypeDef,
        ExecutionListItemTypeDef,
        HistoryEventTypeDef,
    )

_RECENT = 10
_outcomes: Remembered[ImageOutcome] = Remembered()


@dataclass(frozen=True)
class EnteredState:
    """A state of an execution; ``tone`` is good, bad or busy."""

    name: str
    tone: str


@dataclass(frozen=True)
class PhotoRun:
    """One execution."""

    name: str
    status: str
    key: str
    states: list[EnteredState]
    outcome: ImageOutcome | None
    version: str
    threshold: float | None

    @property
    def reviewable(self) -> bool:
        """It passed; one that did not waits for a review already."""
        return self.outcome is not None and self.outcome.status == "SUCCEEDED"


@dataclass(frozen=True)
class PhotosView:
    """The executions that the address names."""

    runs: list[PhotoRun]


@dataclass(frozen=True)
class RecentPhoto:
    """A line of the list: ``image`` is the last part of its key, and empty while it is not known."""

    name: str
    started: datetime
    status: str
    image: str
    answer: str


@dataclass(frozen=True)
class RecentView:
    """The newest executions of the workflow."""

    photos: list[RecentPhoto]


def execution_arn(connection: Connection, name: str) -> str:
    """The ARN of an execution of the workflow."""
    return f"{executions.workflow_arn(connection).replace(':stateMachine:', ':execution:')}:{name}"


def read_photos(connection: Connection, names: Sequence[str]) -> PhotosView:
    """Read each execution with its history."""
    return PhotosView([_run(connection, name) for name in names])


def _run(connection: Connection, name: str) -> PhotoRun:
    states = connection.client("stepfunctions")
    arn = execution_arn(connection, name)
    found = states.describe_execution(executionArn=arn)
    history = states.get_execution_history(executionArn=arn, maxResults=200)["events"]
    given = json.loads(found.get("input", "{}"))
    image = StoredImage(str(given.get("s3_bucket", "")), str(given.get("s3_key", "")))
    ended = found["status"] != "RUNNING"
    outcome = executions.outcome_of(image, found) if ended else None
    result = result_of(found)
    return PhotoRun(
        name,
        outcome.status if outcome else "RUNNING",
        image.key,
        _entered(history, found["status"]),
        outcome,
        str(result.get("model_package_arn", "")).rpartition("/")[2],
        cast("float | None", result.get("threshold")),
    )


def _entered(history: Sequence[HistoryEventTypeDef], status: str) -> list[EnteredState]:
    """In order; the last one tells how the execution ended."""
    names = [e["stateEnteredEventDetails"]["name"] for e in history if "stateEnteredEventDetails" in e]
    last = {"RUNNING": "busy", "SUCCEEDED": "good"}.get(status, "bad")
    return [EnteredState(name, "good" if n < len(names) else last) for n, name in enumerate(names, start=1)]


def result_of(found: DescribeExecutionOutputTypeDef) -> dict[str, object]:
    """What an execution answered, also one that failed because its confidence was too low."""
    try:
        text = found.get("output") or str(json.loads(found.get("cause", ""))["errorMessage"])
        result = json.loads(text)
    except (ValueError, KeyError, TypeError):
        return {}
    return result if isinstance(result, dict) else {}


def review_message(connection: Connection, name: str) -> ReviewMessage:
    """What the workflow says of an image whose confidence is too low, of one that passed. SconesError."""
    found = connection.client("stepfunctions").describe_execution(executionArn=execution_arn(connection, name))
    result = result_of(found)
    wanted = ("s3_bucket", "s3_key", "inference_id", "model_package_arn", "predicted_label", "confidence", "classes")
    if found["status"] != "SUCCEEDED" or any(key not in result for key in wanted):
        raise SconesError("only an image that passed can be sent to review: others wait there, or were not classified")
    at = connection.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    parts = {key: result[key] for key in (*wanted, "threshold", "inferences") if key in result}
    return cast("ReviewMessage", {**parts, "execution_arn": found["executionArn"], "queued_at": at})


def read_recent(connection: Connection) -> RecentView:
    """Read the newest executions, and what those that have ended answered."""
    answer = connection.client("stepfunctions").list_executions(
        stateMachineArn=executions.workflow_arn(connection), maxResults=_RECENT
    )
    return RecentView([_recent(connection, item) for item in answer["executions"]])


def _recent(connection: Connection, item: ExecutionListItemTypeDef) -> RecentPhoto:
    """An execution that has ended stays as it is: it is asked once."""
    ended = item["status"] != "RUNNING"
    outcome = _outcomes.get(item["executionArn"], lambda: _ended(connection, item["executionArn"])) if ended else None
    if outcome is None:
        return RecentPhoto(item["name"], item["startDate"], item["status"], "", "")
    sure = f" {outcome.confidence:.3f}" if outcome.confidence is not None else ""
    said = f"{outcome.predicted_label}{sure}" if outcome.predicted_label else outcome.error
    return RecentPhoto(
        item["name"], item["startDate"], outcome.status, outcome.image.key.rpartition("/")[2], brief(said)
    )


def _ended(connection: Connection, arn: str) -> ImageOutcome:
    found = connection.client("stepfunctions").describe_execution(executionArn=arn)
    given = json.loads(found.get("input", "{}"))
    image = StoredImage(str(given.get("s3_bucket", "")), str(given.get("s3_key", "")))
    return executions.outcome_of(image, found)
