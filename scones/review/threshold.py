"""The confidence threshold of a stage: the live one, its history, and what to expect of another.

Runs on a laptop or in CodeBuild. Reads and writes the stage's parameter in SSM Parameter Store, which the inference
workflow reads, and reads the evaluation of the version that serves. Parameter Store keeps the history itself.
"""

from __future__ import annotations

import csv
import getpass
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reporting.documents.evaluation import Coverage, Evaluation
from scones.errors import SconesError
from scones.serving_versions import endpoint, registry
from scones.serving_versions.registry import ModelVersion
from scones.stage.connection import Connection, object_exists, split_uri

if TYPE_CHECKING:
    from types_boto3_ssm.type_defs import ParameterHistoryTypeDef

BACK_TO_DEFAULT = "default"
STACK = "the stack"
"""Who changed the threshold, in the document that the stack creates."""


class NotAThresholdError(SconesError):
    """The parameter holds something else; setting the threshold replaces it."""


@dataclass(frozen=True)
class StageThresholds:
    """The document in the parameter: a prediction of ``label`` passes with at least the confidence ``of(label)``."""

    default: float
    classes: dict[str, float] = field(default_factory=dict)
    changed_by: str = ""
    reason: str = ""

    def of(self, label: str) -> float:
        """Return the least confidence for a class."""
        return self.classes.get(label, self.default)

    def of_all(self) -> tuple[float, dict[str, float]]:
        """What it decides, whoever set it."""
        return self.default, self.classes

    def __str__(self) -> str:
        return ", ".join([f"{self.default:g}", *(f"{name} {value:g}" for name, value in sorted(self.classes.items()))])


@dataclass(frozen=True)
class ThresholdChange:
    """One version of the parameter: ``by`` is whom AWS says, where it says, else whom the document names."""

    version: int
    at: datetime
    by: str
    thresholds: StageThresholds


@dataclass(frozen=True)
class NotedPrediction:
    """What the evaluation noted of one test image."""

    true_label: str
    predicted_label: str
    confidence: float
    path: str = ""
    """Below the dataset."""


@dataclass(frozen=True)
class Expected:
    """Shares of the test images: ``coverage`` passes, of which ``accuracy`` is right (None when nothing passes)."""

    coverage: float
    accuracy: float | None
    passed: int
    images: int


@dataclass(frozen=True)
class LiveModel:
    """The version that serves, its evaluation and, where the evaluation wrote them, its predictions on test images."""

    version: ModelVersion
    evaluation: Evaluation
    predictions: list[NotedPrediction]

    @property
    def table(self) -> list[Coverage]:
        """Coverage and accuracy per threshold, as the evaluation measured them; older ones have a few rows only."""
        return sorted(self.evaluation.threshold_table or self.evaluation.coverage, key=lambda row: row.threshold)

    def expected(self, thresholds: StageThresholds) -> Expected | None:
        """None for evaluations that kept no predictions."""
        return expected(self.predictions, thresholds) if self.predictions else None


def current(connection: Connection) -> StageThresholds:
    """What counts now. SconesError when the stage has none."""
    name = connection.names.threshold_parameter
    try:
        answer = connection.client("ssm").get_parameter(Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        raise SconesError(f"parameter {name} does not exist: run `scones deploy` first") from error
    return parse(answer["Parameter"]["Value"], name)


def parse(text: str, name: str) -> StageThresholds:
    """The parameter's document. Raises NotAThresholdError."""
    try:
        document = json.loads(text)
        classes = {str(label): share(value, str(label)) for label, value in document.get("classes", {}).items()}
        default = share(document["default"], "default")
    except (ValueError, AttributeError, KeyError, TypeError, SconesError) as error:
        raise NotAThresholdError(
            f'parameter {name} must hold a document like {{"default": 0.93, "classes": {{}}}}, got {text[:80]!r}: give'
            " the stage one with `scones threshold set 0.93`"
        ) from error
    return StageThresholds(default, classes, str(document.get("changed_by", "")), str(document.get("reason", "")))


def share(value: str | float | None, what: str) -> float:
    """A number from 0 to 1; SconesError for anything else."""
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        raise SconesError(f"the threshold {what} must be a number from 0 to 1, got {value!r}")
    return number


def history(connection: Connection) -> list[ThresholdChange]:
    """Every version that Parameter Store still keeps, the newest first."""
    name = connection.names.threshold_parameter
    pages = connection.client("ssm").get_paginator("get_parameter_history").paginate(Name=name)
    return sorted((_change(item) for page in pages for item in page["Parameters"]), key=lambda c: -c.version)


def _change(item: ParameterHistoryTypeDef) -> ThresholdChange:
    try:
        thresholds = parse(item["Value"], item["Name"])
    except NotAThresholdError:  # somebody wrote it by other means; it belongs to the history all the same
        thresholds = StageThresholds(math.nan, reason=f"not a threshold: {item['Value'][:60]}")
    user = str(item.get("LastModifiedUser", ""))
    who = user if user.startswith("arn:") else thresholds.changed_by
    return ThresholdChange(int(item["Version"]), item["LastModifiedDate"], who, thresholds)


def live_model(connection: Connection) -> LiveModel | None:
    """The version that serves, or None."""
    found = endpoint.status(connection)
    if found is None or not found.model_package_arn:
        return None
    version = registry.deployed(connection, found.model_package_arn)
    evaluation = registry.evaluation(connection, version)
    return LiveModel(version, evaluation, _predictions(connection, version))


def _predictions(connection: Connection, version: ModelVersion) -> list[NotedPrediction]:
    bucket, key = split_uri(f"{version.evaluation_uri.rpartition('/')[0]}/predictions.csv")
    s3 = connection.client("s3")
    if not object_exists(s3, bucket, key):
        return []
    text = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    rows = csv.DictReader(io.StringIO(text))
    return [
        NotedPrediction(row["true"], row["predicted"], float(row["confidence"]), row.get("path", "")) for row in rows
    ]


def expected(predictions: Sequence[NotedPrediction], thresholds: StageThresholds) -> Expected:
    """What the test images would have met with these thresholds."""
    passed = [p for p in predictions if p.confidence >= thresholds.of(p.predicted_label)]
    right = sum(p.predicted_label == p.true_label for p in passed)
    accuracy = right / len(passed) if passed else None
    return Expected(len(passed) / len(predictions), accuracy, len(passed), len(predictions))


def changed(
    now: StageThresholds | None, default: str | None, classes: Sequence[str], known: Sequence[str]
) -> StageThresholds:
    """The thresholds with ``default`` and with ``["bicycle=0.95"]``; classes that are not named keep their own.

    SconesError for a value outside 0 to 1 or a class that is not ``known``.
    """
    if default is None and not classes:
        raise SconesError("nothing to set: give a threshold such as 0.9, or one for a class with --class bicycle=0.95")
    if now is None and default is None:
        raise SconesError("the parameter holds no threshold now: give one for all classes too, such as 0.93")
    own = dict(now.classes) if now else {}
    for item in classes:
        name, equals, value = item.partition("=")
        if not equals:
            raise SconesError(f"--class {item!r} is not NAME=THRESHOLD, for example bicycle=0.95")
        if name not in known:
            raise SconesError(f"there is no class {name!r}; the classes are: {', '.join(known)}")
        if value == BACK_TO_DEFAULT:
            own.pop(name, None)
        else:
            own[name] = share(value, f"of {name}")
    return StageThresholds(now.default if now and default is None else share(default, "for all classes"), own)


def write(connection: Connection, thresholds: StageThresholds, reason: str) -> StageThresholds:
    """Make it the live threshold, with the caller's name and the reason; answers what was written."""
    signed = StageThresholds(thresholds.default, thresholds.classes, caller(connection), reason)
    _put(connection, signed)
    return signed


def _put(connection: Connection, thresholds: StageThresholds) -> None:
    connection.client("ssm").put_parameter(
        Name=connection.names.threshold_parameter, Value=json.dumps(asdict(thresholds)), Type="String", Overwrite=True
    )


@contextmanager
def kept(connection: Connection, say: Callable[[str], None]) -> Iterator[None]:
    """What a person set outlives what is done meanwhile.

    CloudFormation leaves the parameter alone as long as the template says the same of it; when that changes, or is
    rolled back, it sets the value of the template.
    """
    before = _found(connection)
    try:
        yield
    finally:
        now = _found(connection)
        if before and now and before.changed_by != STACK and now.of_all() != before.of_all():
            _put(connection, before)
            say(f"threshold {before} put back: the deployment had set {now}")


def _found(connection: Connection) -> StageThresholds | None:
    try:
        return current(connection)
    except SconesError:  # not deployed yet, or not a threshold
        return None


def caller(connection: Connection) -> str:
    """Who runs this: the account's name for the credentials, and the user of this machine."""
    arn = str(connection.client("sts").get_caller_identity()["Arn"])
    try:
        return f"{arn} ({getpass.getuser()})"
    except (KeyError, OSError):  # a container without a user database
        return arn
