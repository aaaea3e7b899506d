"""Start a SageMaker pipeline, watch its steps, read their logs.

Runs on a laptop or in CodeBuild; boto3 only, so it sees the same on AWS and on the stand-in account.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from scones.errors import SconesError
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import (
        DescribeTrainingJobResponseTypeDef,
        PipelineExecutionStepTypeDef,
        StartPipelineExecutionRequestTypeDef,
    )

ENDED = {"Succeeded", "Failed", "Stopped"}
_LOG_GROUPS = {kind: f"/aws/sagemaker/{kind}s" for kind in ("ProcessingJob", "TrainingJob", "TransformJob")}


@dataclass(frozen=True)
class RunStep:
    """One step of a run as ListPipelineExecutionSteps shows it; ``job`` is the ARN of what ran it or what it made."""

    name: str
    status: str
    started: datetime | None
    ended: datetime | None
    failure: str
    kind: str
    job: str
    cached: bool
    progress: str = ""
    """Of a training job that runs: its epoch and what it measured last."""

    @property
    def seconds(self) -> float:
        """Seconds so far, or in all once it has ended."""
        if self.started is None:
            return 0.0
        end = self.ended or datetime.now(self.started.tzinfo)
        return (end - self.started).total_seconds()


@dataclass(frozen=True)
class Run:
    """One execution of a pipeline."""

    arn: str
    status: str
    failure: str
    steps: tuple[RunStep, ...]

    @property
    def succeeded(self) -> bool:
        """Whether every step that had to run did."""
        return self.status == "Succeeded"

    def step(self, name: str) -> RunStep | None:
        """Return the step of a name; None while it has not begun."""
        return next((s for s in self.steps if s.name == name), None)

    def explain(self) -> str:
        """Why it did not succeed, in one line."""
        failed = [s for s in self.steps if s.status == "Failed"]
        reasons = [f"{s.name}: {' '.join(s.failure.split())}" for s in failed] or [self.failure or "no reason given"]
        return f"pipeline run {self.arn.rsplit('/', 1)[-1]} ended {self.status}: {'; '.join(reasons)}"


def start(connection: Connection, pipeline: str, parameters: Mapping[str, str], display_name: str = "") -> str:
    """Start a pipeline with parameters that differ from its defaults; answers the execution's ARN."""
    request: StartPipelineExecutionRequestTypeDef = {
        "PipelineName": pipeline,
        "PipelineParameters": [{"Name": k, "Value": v} for k, v in sorted(parameters.items())],
        "ClientRequestToken": uuid.uuid4().hex,
    }
    if display_name:
        request["PipelineExecutionDisplayName"] = display_name
    answer = connection.client("sagemaker").start_pipeline_execution(**request)
    return str(answer["PipelineExecutionArn"])


def describe(connection: Connection, arn: str) -> Run:
    """A run with its steps in the order in which they started."""
    sagemaker = connection.client("sagemaker")
    answer = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=arn, SortOrder="Ascending"
    )
    steps = tuple(_with_details(sagemaker, _step(i)) for page in pages for i in page["PipelineExecutionSteps"])
    return Run(arn, answer["PipelineExecutionStatus"], answer.get("FailureReason", ""), steps)


def _step(item: PipelineExecutionStepTypeDef) -> RunStep:
    metadata = item.get("Metadata", {})
    kind, job = next(((k, str(v.get("Arn", ""))) for k, v in metadata.items() if isinstance(v, Mapping)), ("", ""))
    return RunStep(
        item["StepName"],
        item["StepStatus"],
        item.get("StartTime"),
        item.get("EndTime"),
        item.get("FailureReason", ""),
        kind,
        job,
        "CacheHitResult" in item,
    )


def _with_details(sagemaker: SageMakerClient, step: RunStep) -> RunStep:
    """What only the job itself tells: how far a training is, and why a processing step failed."""
    name = step.job.rsplit("/", 1)[-1]
    if step.status == "Failed" and step.kind == "ProcessingJob" and name:
        # The step says no more than "see job logs".
        job = sagemaker.describe_processing_job(ProcessingJobName=name)
        return replace(step, failure=job.get("ExitMessage") or step.failure)
    if step.status == "Executing" and step.kind == "TrainingJob" and name:
        return replace(step, progress=training_progress(sagemaker.describe_training_job(TrainingJobName=name)))
    return step


def training_progress(job: DescribeTrainingJobResponseTypeDef) -> str:
    """``epoch 3 of 24, train loss 0.412, validation accuracy 0.910``; before the first epoch, what the job does."""
    metrics = {metric["MetricName"]: float(metric["Value"]) for metric in job.get("FinalMetricDataList", [])}
    status = str(job.get("SecondaryStatus", ""))
    if not metrics or status != "Training":
        return status
    words = []
    if "epoch" in metrics and "epochs" in metrics:
        words = [f"epoch {metrics.pop('epoch'):.0f} of {metrics.pop('epochs'):.0f}"]
    words += [f"{name.replace(':', ' ')} {value:.3f}" for name, value in metrics.items()]
    return ", ".join(words)


def latest(connection: Connection, pipeline: str) -> str:
    """ARN of the newest run of a pipeline; SconesError when it never ran."""
    answer = connection.client("sagemaker").list_pipeline_executions(
        PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
    )
    if not answer["PipelineExecutionSummaries"]:
        raise SconesError(f"pipeline {pipeline} never ran: start it with `scones pipeline run`")
    return str(answer["PipelineExecutionSummaries"][0]["PipelineExecutionArn"])


def wait(connection: Connection, arn: str, show: Callable[[Run], None] | None = None) -> Run:
    """Look at a run until it ends, handing every look to ``show``."""
    while True:
        run = describe(connection, arn)
        if show:
            show(run)
        if run.status in ENDED:
            return run
        time.sleep(connection.settings.poll_interval_s)


def stop(connection: Connection, arn: str) -> None:
    """Stop a run; the steps that run end first."""
    connection.client("sagemaker").stop_pipeline_execution(
        PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex
    )


def log_lines(connection: Connection, step: RunStep) -> Iterator[str]:
    """The lines that a step's job wrote to CloudWatch Logs."""
    group = _LOG_GROUPS.get(step.kind)
    if group is None:
        return
    job_name = step.job.rsplit("/", 1)[-1]
    pages = (
        connection.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=group, logStreamNamePrefix=f"{job_name}/")
    )
    for page in pages:
        for event in page["events"]:
            yield event["message"].rstrip("\n")


def processing_output(connection: Connection, run: Run, output: str) -> str:
    """Where a run's processing job wrote its output of this name."""
    for step in run.steps:
        if step.kind == "ProcessingJob" and step.job:
            job = connection.client("sagemaker").describe_processing_job(ProcessingJobName=step.job.rsplit("/", 1)[-1])
            for item in job["ProcessingOutputConfig"]["Outputs"]:
                if item["OutputName"] == output:
                    return str(item["S3Output"]["S3Uri"])
    raise SconesError(f"run {run.arn} has no step with an output named {output!r}")
