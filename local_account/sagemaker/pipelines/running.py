"""What a step of a pipeline has while it runs, how it ends, and when it is tried again.

Runs in the server process, in the thread of the step.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from botocore.exceptions import ClientError

from local_account.base.arns import last_part
from local_account.protocol.actions import Json
from local_account.sagemaker.pipelines.callbacks import Callbacks
from local_account.sagemaker.pipelines.documents import PipelineStep
from local_account.sagemaker.pipelines.expressions import ExpressionScope
from local_account.sagemaker.records import StepMetadata
from local_account.sagemaker.service import SageMaker

POLL_S = 0.05
# Exception types of retry policies, by how a job's FailureReason or an API error's code begins.
_RETRYABLE = {
    "InternalServerError": "SageMaker.JOB_INTERNAL_ERROR",
    "CapacityError": "SageMaker.CAPACITY_ERROR",
    "InsufficientCapacity": "SageMaker.CAPACITY_ERROR",
    "ResourceLimitExceeded": "SageMaker.RESOURCE_LIMIT",
    "Throttling": "Step.THROTTLING",
    "InternalFailure": "Step.SERVICE_FAULT",
    "ServiceUnavailable": "Step.SERVICE_FAULT",
}


Metadata = dict[str, StepMetadata]


class StepError(Exception):
    """Why a step failed; ``exception_type`` is what a retry policy may name. ``metadata`` tells which job it was."""

    def __init__(self, reason: str, *, exception_type: str | None = None, metadata: Metadata | None = None) -> None:
        super().__init__(reason)
        self.exception_type = exception_type
        self.metadata: Metadata = metadata or {}


class StepStoppedError(Exception):
    """The execution was stopped while the step ran."""


@dataclass(frozen=True)
class Running:
    """What a step needs while it runs. ``note`` keeps its metadata as soon as it is known."""

    sagemaker: SageMaker
    step: PipelineStep
    execution_arn: str
    scope: ExpressionScope
    stop: threading.Event
    note: Callable[[Metadata], None]
    role: str
    """The pipeline's, in whose name the step calls."""
    callbacks: Callbacks
    experiment: Mapping[str, Json]
    """The ExperimentConfig of jobs that name none."""

    @property
    def execution_id(self) -> str:
        """The last part of the execution's ARN."""
        return last_part(self.execution_arn)

    def job_name(self, prefix: Json = None) -> str:
        """``pipelines-<execution id>-<step>-<random>``, at most 63 characters, as AWS forms it.

        A definition may name another beginning; tuning jobs have 32 characters.
        """
        longest = 32 if self.step.type == "Tuning" else 63
        random = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(10))
        if prefix is not None:
            return f"{str(prefix)[: longest - len(self.execution_id) - 1].strip('-')}-{self.execution_id}"
        begin = f"{self.execution_id}-" if longest < 63 else f"pipelines-{self.execution_id}-"
        step = self.step.name.replace("_", "-")[: longest - len(f"{begin}-{random}")].strip("-")
        return f"{begin}{step}-{random}"

    def call(self, action: str, arguments: Mapping[str, Json]) -> dict[str, object]:
        """Call SageMaker as the pipeline's role.

        Raises StepError, in AWS's words.
        """
        method = "".join(f"_{c.lower()}" if c.isupper() else c for c in action).lstrip("_")
        try:
            client = self.sagemaker.account.client("sagemaker", self.role)
            answer: dict[str, object] = getattr(client, method)(**arguments)
        except ClientError as error:
            details = error.response["Error"]
            raise StepError(
                f"ClientError: Failed to invoke sagemaker:{action}. Error Details: {details.get('Message', '')}",
                exception_type=exception_type(details.get("Code", "")),
            ) from error
        except Exception as error:  # botocore refuses arguments of the wrong type before it sends them
            raise StepError(f"ClientError: Failed to invoke sagemaker:{action}. Error Details: {error}") from error
        return answer


@dataclass(frozen=True)
class StepResult:
    """Metadata for ListPipelineExecutionSteps, properties for the expressions of later steps."""

    metadata: Metadata
    properties: dict[str, Json]


def exception_type(reason: str) -> str | None:
    """The exception type of a retry policy for an error code or a FailureReason."""
    return next((kind for begin, kind in _RETRYABLE.items() if reason.startswith(begin)), None)


def retry_pause_s(
    step: PipelineStep, exception: str | None, attempts: dict[int, int], elapsed_s: float
) -> float | None:
    """How long to wait before the next attempt, or None when no policy (any more) covers ``exception``."""
    for number, policy in enumerate(step.document.get("RetryPolicies") or []):
        if exception is None or exception not in policy["ExceptionType"]:
            continue
        done = attempts.get(number, 0)
        pause_s = float(policy.get("IntervalSeconds", 1)) * float(policy.get("BackoffRate", 2.0)) ** done
        expired = "ExpireAfterMin" in policy and elapsed_s + pause_s > policy["ExpireAfterMin"] * 60
        # AWS's default of 5 attempts; with ExpireAfterMin the time alone decides
        limit = policy.get("MaxAttempts", 10_000 if "ExpireAfterMin" in policy else 5)
        if done >= limit or expired:
            return None
        attempts[number] = done + 1
        return pause_s
    return None
