"""The events of pipeline executions and their steps, as EventBridge gets them.

Authority for the members: "SageMaker Pipelines events" in the SageMaker developer guide; unlike other events of
SageMaker they are in camelCase and carry times as texts.
"""

from __future__ import annotations

from datetime import UTC, datetime

from local_account.sagemaker.pipelines.documents import PipelineStep
from local_account.sagemaker.records import ExecutionRecord, StepRecord
from local_account.sagemaker.service import SageMaker

EXECUTION_EVENT = "SageMaker Model Building Pipeline Execution Status Change"
STEP_EVENT = "SageMaker Model Building Pipeline Execution PipelineStep Status Change"


def iso(at: float) -> str:
    """Epoch seconds as ISO 8601 text, in UTC, whole seconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def emit_execution(sagemaker: SageMaker, record: ExecutionRecord, before: str | None) -> None:
    """Tell EventBridge about an execution's new status."""
    status = record["PipelineExecutionStatus"]
    ended = status in ("Succeeded", "Failed", "Stopped")
    detail = {
        "pipelineExecutionDescription": record.get("PipelineExecutionDescription", ""),
        "pipelineExecutionDisplayName": record["PipelineExecutionDisplayName"],
        "currentPipelineExecutionStatus": status,
        **({"previousPipelineExecutionStatus": before} if before else {}),
        "executionStartTime": iso(record["CreationTime"]),
        **({"executionEndTime": iso(record["LastModifiedTime"])} if ended else {}),
        "pipelineArn": record["PipelineArn"],
        "pipelineExecutionArn": record["PipelineExecutionArn"],
    }
    sagemaker.emit(EXECUTION_EVENT, detail, [record["PipelineArn"], record["PipelineExecutionArn"]])


def emit_step(
    sagemaker: SageMaker, execution: ExecutionRecord, step: PipelineStep, before: str | None, record: StepRecord
) -> None:
    """Tell EventBridge about a step's new status; ``record`` is the step's."""
    metadata = {
        _lower(key): {_lower(member): value for member, value in body.items()}
        for key, body in record.get("Metadata", {}).items()
    }
    detail = {
        "metadata": metadata,
        "stepStartTime": iso(record["StartTime"]),
        **({"stepEndTime": iso(record["EndTime"])} if "EndTime" in record else {}),
        **({"failureReason": record["FailureReason"]} if "FailureReason" in record else {}),
        "stepName": step.name,
        "stepType": step.type,
        **({"previousStepStatus": before} if before else {}),
        "currentStepStatus": record["StepStatus"],
        "cacheHitResult": record.get("CacheHitResult", {}),
        "pipelineArn": execution["PipelineArn"],
        "pipelineExecutionArn": execution["PipelineExecutionArn"],
    }
    sagemaker.emit(STEP_EVENT, detail, [execution["PipelineArn"], execution["PipelineExecutionArn"]])


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
