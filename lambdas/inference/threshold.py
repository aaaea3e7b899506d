"""The confidence threshold: from SSM Parameter Store, with a short memory, and what it decides.

Runs in Lambda. Environment: THRESHOLD_PARAMETER (the parameter's name) and THRESHOLD_CACHE_SECONDS; only where no
parameter is named, CONFIDENCE_THRESHOLD (0 to 1).
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lambdas.inference.body import WorkflowFault

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

MAX_CACHE_SECONDS = 60.0
_PERMANENT_CODES = {"ParameterNotFound", "ParameterVersionNotFound", "AccessDeniedException", "InvalidKeyId"}


class InvalidThreshold(WorkflowFault):
    """There is no threshold, or it is none: somebody has to set it."""


class ThresholdUnavailable(WorkflowFault):
    """Parameter Store does not answer; the workflow tries this again."""


@dataclass(frozen=True)
class ConfidenceThresholds:
    """The least confidence with which a prediction passes; a class may have one of its own."""

    default: float
    classes: dict[str, float] = field(default_factory=dict)

    def of(self, label: str) -> float:
        """Return the least confidence for a class."""
        return self.classes.get(label, self.default)


@dataclass(frozen=True)
class Verdict:
    """The likeliest class, its probability, and what it takes to pass."""

    predicted_label: str
    confidence: float
    threshold: float

    @property
    def passed(self) -> bool:
        """Whether the confidence reaches the threshold."""
        return self.confidence >= self.threshold  # false for NaN


def judge(inferences: list[float], classes: list[str], thresholds: ConfidenceThresholds) -> Verdict:
    """The verdict on one probability for each class."""
    confidence = max(inferences)
    label = classes[inferences.index(confidence)]
    return Verdict(label, confidence, thresholds.of(label))


def parse(text: str, where: str) -> ConfidenceThresholds:
    """``{"default": 0.93, "classes": {"bicycle": 0.9}}``; other keys, such as who set it, are left alone."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidThreshold(f"{where} must hold a JSON object, got {text[:80]!r}") from error
    if not isinstance(document, dict) or not isinstance(document.get("classes", {}), dict):
        raise InvalidThreshold(f'{where} must be like {{"default": 0.93, "classes": {{}}}}, got {text[:80]!r}')
    classes = {str(name): _number(value, f"{where}: {name}") for name, value in document.get("classes", {}).items()}
    return ConfidenceThresholds(_number(document.get("default"), f"{where}: default"), classes)


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidThreshold(f"{where} must be a number from 0 to 1, got {value!r}")
    return float(value)


class ThresholdParameter:
    """A parameter, read again once what is known is ``cache_s`` seconds old."""

    def __init__(self, ssm: SSMClient, name: str, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ssm, self._name, self._clock = ssm, name, clock
        self._cache_s = min(cache_s, MAX_CACHE_SECONDS)
        self._known: tuple[float, ConfidenceThresholds] | None = None

    def read(self) -> ConfidenceThresholds:
        """While Parameter Store is busy, what was known goes on counting."""
        if self._known and self._clock() - self._known[0] < self._cache_s:
            return self._known[1]
        try:
            text = self._ssm.get_parameter(Name=self._name)["Parameter"]["Value"]
        except (ClientError, BotoCoreError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code in _PERMANENT_CODES:
                raise InvalidThreshold(f"parameter {self._name} cannot be read ({code}): deploy the stack") from error
            if self._known is None:
                raise ThresholdUnavailable(f"parameter {self._name} cannot be read: {error}") from error
            return self._known[1]
        self._known = (self._clock(), parse(text, f"parameter {self._name}"))
        return self._known[1]


@functools.cache
def _parameter(name: str) -> ThresholdParameter:
    return ThresholdParameter(boto3.client("ssm"), name, float(os.environ["THRESHOLD_CACHE_SECONDS"]))


def current_thresholds() -> ConfidenceThresholds:
    """What counts now."""
    if name := os.environ.get("THRESHOLD_PARAMETER"):
        return _parameter(name).read()
    text = os.environ.get("CONFIDENCE_THRESHOLD", "")
    try:
        return ConfidenceThresholds(_number(float(text), "CONFIDENCE_THRESHOLD"))
    except ValueError as error:
        raise InvalidThreshold(f"set THRESHOLD_PARAMETER, or CONFIDENCE_THRESHOLD to a number, not {text!r}") from error
