"""What each type of pipeline step does: it calls this account's own API, as SageMaker Pipelines calls AWS's.

Runs in the server process, in the thread of the step. A step answers its metadata (which job, which model package) and
its properties, what expressions of later steps read.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping

from botocore.exceptions import ClientError

from local_account.base.arns import last_part, name_of
from local_account.protocol.actions import Json
from local_account.sagemaker.pipelines.callbacks import Callback, CallbackMessage, UnansweredError
from local_account.sagemaker.pipelines.documents import WITH_OUTPUTS, OutputParameter, conditions_of
from local_account.sagemaker.pipelines.expressions import PipelineExpressionError, holds, resolve
from local_account.sagemaker.pipelines.running import (
    POLL_S,
    Metadata,
    Running,
    StepError,
    StepResult,
    StepStoppedError,
    exception_type,
)
from local_account.sagemaker.records import StepMetadata
from local_account.sagemaker.service import SageMaker


def run(running: Running, arguments: dict[str, Json]) -> StepResult:
    """Run a step with its resolved arguments; raises StepError, StepStoppedError."""
    step_types: dict[str, Callable[[Running, dict[str, Json]], StepResult]] = {
        "Processing": functools.partial(_job, kind="Processing"),
        "Training": functools.partial(_job, kind="Training"),
        "Transform": functools.partial(_job, kind="Transform"),
        "Tuning": _tuning,
        "Callback": _callback,
        "RegisterModel": _register_model,
        "Model": _model,
        "Lambda": _lambda,
        "Condition": _condition,
        "Fail": _fail,
    }
    return step_types[running.step.type](running, arguments)


def describe(sagemaker: SageMaker, step_type: str, metadata: Metadata) -> dict[str, Json] | None:
    """The properties of a step that ran earlier, from its metadata; None when what it made is gone."""
    if step_type in WITH_OUTPUTS:
        outputs = metadata[step_type].get("OutputParameters", [])
        return {"OutputParameters": {o["Name"]: o["Value"] for o in outputs}}
    if step_type == "Condition":
        return {"Outcome": metadata["Condition"]["Outcome"] == "True"}
    key, action, argument = {
        "Processing": ("ProcessingJob", "DescribeProcessingJob", "ProcessingJobName"),
        "Training": ("TrainingJob", "DescribeTrainingJob", "TrainingJobName"),
        "Transform": ("TransformJob", "DescribeTransformJob", "TransformJobName"),
        "RegisterModel": ("RegisterModel", "DescribeModelPackage", "ModelPackageName"),
        "Model": ("Model", "DescribeModel", "ModelName"),
        "Tuning": ("TuningJob", "DescribeHyperParameterTuningJob", "HyperParameterTuningJobName"),
    }[step_type]
    arn = metadata[key]["Arn"]
    try:
        if step_type == "Tuning":
            return _tuned(sagemaker, last_part(arn))
        return sagemaker.call(action, {argument: arn if step_type == "RegisterModel" else last_part(arn)})
    except Exception:  # whatever stands in the way, there is nothing to read
        return None


def _job(running: Running, arguments: dict[str, Json], *, kind: str) -> StepResult:
    member = f"{kind}JobName"
    name = running.job_name(arguments.get(member))
    experiment: dict[str, Json] = {"ExperimentConfig": dict(running.experiment)} if running.experiment else {}
    metadata = _run_job(running, {**experiment, **arguments, member: name}, kind, f"{kind}Job")
    return StepResult(metadata, running.sagemaker.call(f"Describe{kind}Job", {member: name}))


def _tuning(running: Running, arguments: dict[str, Json]) -> StepResult:
    member = "HyperParameterTuningJobName"
    name = running.job_name(arguments.get(member))
    metadata = _run_job(running, {**arguments, member: name}, "HyperParameterTuning", "TuningJob")
    return StepResult(metadata, _tuned(running.sagemaker, name))


def _tuned(sagemaker: SageMaker, name: str) -> dict[str, Json]:
    """A tuning job's description, and its training jobs from the best to the worst."""
    named: dict[str, object] = {"HyperParameterTuningJobName": name}
    described = sagemaker.call("DescribeHyperParameterTuningJob", named)
    best_first: dict[str, object] = {
        **named,
        "SortBy": "FinalObjectiveMetricValue",
        "SortOrder": _best_first(described),
    }
    listed = sagemaker.call("ListTrainingJobsForHyperParameterTuningJob", best_first)
    return {**described, "TrainingJobSummaries": listed["TrainingJobSummaries"]}


def _best_first(described: dict[str, Json]) -> str:
    config = described["HyperParameterTuningJobConfig"]
    objective = config.get("HyperParameterTuningJobObjective") if isinstance(config, dict) else None
    return "Ascending" if isinstance(objective, dict) and objective["Type"] == "Minimize" else "Descending"


def _run_job(running: Running, arguments: Mapping[str, Json], prefix: str, metadata_key: str) -> Metadata:
    """Create a job and wait for its end. Raises StepError, StepStoppedError."""
    name = str(arguments[f"{prefix}JobName"])
    created = running.call(f"Create{prefix}Job", arguments)
    metadata: Metadata = {metadata_key: {"Arn": str(created[f"{prefix}JobArn"])}}
    running.note(metadata)
    record = running.sagemaker.jobs("Tuning" if running.step.type == "Tuning" else prefix)[name]
    asked = False
    while (status := str(record[f"{prefix}JobStatus"])) in ("InProgress", "Stopping"):
        if running.stop.is_set() and not asked:
            asked = True
            _stop_job(running, prefix, name)
        time.sleep(POLL_S)
    if running.stop.is_set():
        raise StepStoppedError
    if status != "Completed":
        reason = str(record.get("FailureReason") or f"{prefix} job {name} ended {status}.")
        raise StepError(reason, exception_type=exception_type(reason), metadata=metadata)
    return metadata


def _stop_job(running: Running, prefix: str, name: str) -> None:
    try:
        running.call(f"Stop{prefix}Job", {f"{prefix}JobName": name})
    except StepError:  # it ended in the meantime
        return


def _callback(running: Running, arguments: dict[str, Json]) -> StepResult:
    """Send the token, and wait until somebody answers; also after a stop, which is told as well."""
    queue, outputs = (
        str(resolve(running.step.document["SqsQueueUrl"], running.scope)),
        running.step.document.get("OutputParameters") or [],
    )
    token, callback = running.callbacks.issue(running.execution_arn, outputs)
    told: StepMetadata = {"CallbackToken": token, "SqsQueueUrl": queue}
    metadata: Metadata = {"Callback": told}
    running.note(metadata)
    try:
        _exchange(running, CallbackMessage(token, running.execution_arn, arguments), queue, callback)
    except UnansweredError as error:
        raise StepError(str(error), metadata=metadata) from error
    finally:
        running.callbacks.withdraw(token)
    told["OutputParameters"] = [{"Name": name, "Value": str(value)} for name, value in callback.values.items()]
    return StepResult(metadata, {"OutputParameters": callback.values})


def _exchange(running: Running, message: CallbackMessage, queue: str, callback: Callback) -> None:
    sqs = running.sagemaker.account.client("sqs", running.role)
    message.send(sqs, queue)
    told = False
    while not callback.answered.wait(POLL_S):
        if running.stop.is_set() and not told:
            told = True
            message.send(sqs, queue, "Stopping")
        if running.sagemaker.account.stopping.is_set():
            raise StepStoppedError
    if running.stop.is_set():
        raise StepStoppedError
    if callback.failure is not None:
        raise UnansweredError(callback.failure)


def _register_model(running: Running, arguments: dict[str, Json]) -> StepResult:
    group = arguments.get("ModelPackageGroupName")
    if group and name_of(str(group), "sagemaker", "model-package-group") not in running.sagemaker.model_package_groups:
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
