"""What each type of pipeline step does: it calls this account's own API, as SageMaker Pipelines calls AWS's.

Runs in the server process, in the thread of the step. A step answers its metadata (which job, which model package) and
its properties, what expressions of later steps read.
"""

from __future__ import annotations

import functools
import json
import secrets
import string
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from botocore.exceptions import ClientError

from local_account.protocol.actions import Json
from local_account.sagemaker.pipelines.documents import OutputParameter, PipelineStep, conditions_of
from local_account.sagemaker.pipelines.expressions import ExpressionScope, PipelineExpressionError, holds, resolve
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
    execution_id: str
    scope: ExpressionScope
    stop: threading.Event
    note: Callable[[Metadata], None]
    role: str
    """The pipeline's, in whose name the step calls."""

    def job_name(self) -> str:
        """``pipelines-<execution id>-<step>-<random>``, at most 63 characters, as AWS forms it."""
        random = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(10))
        step = self.step.name.replace("_", "-")[: 63 - len(f"pipelines-{self.execution_id}--{random}")].strip("-")
        return f"pipelines-{self.execution_id}-{step}-{random}"

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


def run(running: Running, arguments: dict[str, Json]) -> StepResult:
    """Run a step with its resolved arguments; raises StepError, StepStoppedError."""
    step_types: dict[str, Callable[[Running, dict[str, Json]], StepResult]] = {
        "Processing": functools.partial(_job, kind="Processing"),
        "Training": functools.partial(_job, kind="Training"),
        "Transform": functools.partial(_job, kind="Transform"),
        "RegisterModel": _register_model,
        "Model": _model,
        "Lambda": _lambda,
        "Condition": _condition,
        "Fail": _fail,
    }
    return step_types[running.step.type](running, arguments)


def describe(sagemaker: SageMaker, step_type: str, metadata: Metadata) -> dict[str, Json] | None:
    """The properties of a step that ran earlier, from its metadata; None when what it made is gone."""
    if step_type == "Lambda":
        outputs = metadata["Lambda"].get("OutputParameters", [])
        return {"OutputParameters": {o["Name"]: o["Value"] for o in outputs}}
    if step_type == "Condition":
        return {"Outcome": metadata["Condition"]["Outcome"] == "True"}
    key, action, argument = {
        "Processing": ("ProcessingJob", "DescribeProcessingJob", "ProcessingJobName"),
        "Training": ("TrainingJob", "DescribeTrainingJob", "TrainingJobName"),
        "Transform": ("TransformJob", "DescribeTransformJob", "TransformJobName"),
        "RegisterModel": ("RegisterModel", "DescribeModelPackage", "ModelPackageName"),
        "Model": ("Model", "DescribeModel", "ModelName"),
    }[step_type]
    arn = metadata[key]["Arn"]
    try:
        return sagemaker.call(action, {argument: arn if step_type == "RegisterModel" else arn.rsplit("/", 1)[-1]})
    except Exception:  # whatever stands in the way, there is nothing to read
        return None


def _job(running: Running, arguments: dict[str, Json], *, kind: str) -> StepResult:
    name = running.job_name()
    created = running.call(f"Create{kind}Job", {**arguments, f"{kind}JobName": name})
    metadata: Metadata = {f"{kind}Job": {"Arn": str(created[f"{kind}JobArn"])}}
    running.note(metadata)
    record = running.sagemaker.jobs(kind)[name]
    asked = False
    while (status := str(record[f"{kind}JobStatus"])) in ("InProgress", "Stopping"):
        if running.stop.is_set() and not asked:
            asked = True
            _stop_job(running, kind, name)
        time.sleep(POLL_S)
    if running.stop.is_set():
        raise StepStoppedError
    if status != "Completed":
        reason = str(record.get("FailureReason") or f"{kind} job {name} ended {status}.")
        raise StepError(reason, exception_type=exception_type(reason), metadata=metadata)
    return StepResult(metadata, running.sagemaker.call(f"Describe{kind}Job", {f"{kind}JobName": name}))


def _stop_job(running: Running, kind: str, name: str) -> None:
    try:
        running.call(f"Stop{kind}Job", {f"{kind}JobName": name})
    except StepError:  # it ended in the meantime
        return


def _register_model(running: Running, arguments: dict[str, Json]) -> StepResult:
    group = arguments.get("ModelPackageGroupName")
    if group and str(group).rsplit("/", 1)[-1] not in running.sagemaker.model_package_groups:
        running.call("CreateModelPackageGroup", {"ModelPackageGroupName": group})
    arn = str(running.call("CreateModelPackage", arguments)["ModelPackageArn"])
    properties = running.sagemaker.call("DescribeModelPackage", {"ModelPackageName": arn})
    return StepResult({"RegisterModel": {"Arn": arn}}, properties)


def _model(running: Running, arguments: dict[str, Json]) -> StepResult:
    name = running.job_name()
    arn = str(running.call("CreateModel", {**arguments, "ModelName": name})["ModelArn"])
    return StepResult({"Model": {"Arn": arn}}, running.sagemaker.call("DescribeModel", {"ModelName": name}))


def _lambda(running: Running, arguments: dict[str, Json]) -> StepResult:
    arn = str(resolve(running.step.document["FunctionArn"], running.scope))
    called: StepMetadata = {"Arn": arn}
    metadata: Metadata = {"Lambda": called}
    try:
        client = running.sagemaker.account.client("lambda", running.role)
        answer = client.invoke(FunctionName=arn, Payload=json.dumps(arguments).encode())
    except ClientError as error:
        raise StepError(
            f"ClientError: Failed to invoke lambda:Invoke. Error Details: {error}", metadata=metadata
        ) from error
    payload: bytes = answer["Payload"].read()
    if "FunctionError" in answer:
        raise StepError(f"Lambda function failed: {payload.decode(errors='replace')}", metadata=metadata)
    wanted = running.step.document.get("OutputParameters") or []
    outputs = _lambda_outputs(payload, wanted, metadata) if wanted else {}
    called["OutputParameters"] = [{"Name": name, "Value": str(value)} for name, value in outputs.items()]
    return StepResult(metadata, {"OutputParameters": outputs})


def _lambda_outputs(payload: bytes, wanted: list[OutputParameter], metadata: Metadata) -> dict[str, Json]:
    body: Json
    try:
        body = json.loads(payload)
    except ValueError:
        body = None
    names = [output["OutputName"] for output in wanted]
    found = {name: body[name] for name in names if name in body} if isinstance(body, dict) else {}
    if missing := [name for name in names if name not in found]:
        shown = payload[:200].decode(errors="replace")
        raise StepError(f"Lambda function's answer lacks the outputs {missing}; it answered {shown}", metadata=metadata)
    return found


def _condition(running: Running, _arguments: dict[str, Json]) -> StepResult:
    outcome = all(holds(condition, running.scope) for condition in conditions_of(running.step))
    return StepResult({"Condition": {"Outcome": str(outcome)}}, {"Outcome": outcome})


def _fail(_running: Running, arguments: dict[str, Json]) -> StepResult:
    message = arguments.get("ErrorMessage", "")
    if not isinstance(message, str):
        raise PipelineExpressionError(f"ErrorMessage must be a text, got {message!r}")
    raise StepError(message, metadata={"Fail": {"ErrorMessage": message[:3072]} if message else {}})
