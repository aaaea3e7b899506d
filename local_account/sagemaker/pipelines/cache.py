"""Step caching: whether an earlier run of the same step did the same work.

Pure functions over the records of executions. Authority for the attributes: "Default cache key attributes by pipeline
step type" in the SageMaker developer guide.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping

from local_account.protocol.actions import Json
from local_account.sagemaker.records import ExecutionRecord, StepRecord

_KEY_ATTRIBUTES = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    "Tuning": ("HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions"),
}
_DURATION = re.compile(
    r"P?(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)
_SECONDS = {
    "years": 365 * 86400,
    "months": 30 * 86400,
    "weeks": 7 * 86400,
    "days": 86400,
    "hours": 3600,
    "minutes": 60,
    "seconds": 1,
}


def duration_s(text: str) -> int:
    """Seconds of an ISO 8601 duration, also without its P, as AWS takes it; raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groupdict().values()):
        raise ValueError(f"{text!r} is not a duration such as P7D, PT1H or 30dT5h")
    return sum(int(value) * _SECONDS[unit] for unit, value in match.groupdict().items() if value)


def cache_key(step_type: str, arguments: Mapping[str, Json]) -> str | None:
    """Digest of what decides a step's result, or None for a type that is never cached."""
    if step_type not in _KEY_ATTRIBUTES:
        return None
    decisive = {name: arguments.get(name) for name in _KEY_ATTRIBUTES[step_type]}
    return hashlib.sha256(json.dumps([step_type, decisive], sort_keys=True).encode()).hexdigest()


def earlier_success(
    executions: Iterable[ExecutionRecord], step_name: str, key: str, not_before: float
) -> tuple[ExecutionRecord, StepRecord] | None:
    """The newest (execution, step record) that ran ``step_name`` with ``key`` itself and succeeded."""
    hits = [
        (execution, step)
        for execution in executions
        for step in execution["Steps"].values()
        if step["StepName"] == step_name
        and step["StepStatus"] == "Succeeded"
        and step.get("CacheKey") == key
        and "CacheHitResult" not in step
        and step["EndTime"] >= not_before
    ]
    return max(hits, key=lambda hit: hit[1]["EndTime"], default=None)
