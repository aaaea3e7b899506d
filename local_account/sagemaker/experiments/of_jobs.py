"""The trial component that SageMaker makes for each job, and the experiment that a job says it belongs to.

Runs in the server process. Authority: SageMaker developer guide, "Automatically created trial components": parameters
are the hyperparameters and what the job runs on, artifacts its inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.protocol.actions import ServiceError
from local_account.protocol.service import now
from local_account.sagemaker.experiments.named import COMPONENT, EXPERIMENT, TRIAL, NamedRecords, Record
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ExperimentConfigTypeDef


def check_experiment(sagemaker: SageMaker, config: ExperimentConfigTypeDef | None) -> None:
    """Refuse a job of an experiment, a trial or a run that is not there. Raises ServiceError."""
    if not config:
        return
    if "ExperimentName" in config:
        NamedRecords(sagemaker, EXPERIMENT).find(config["ExperimentName"])
    if "TrialName" in config:
        trial = NamedRecords(sagemaker, TRIAL).find(config["TrialName"])
        if config.get("ExperimentName", trial["ExperimentName"]) != trial["ExperimentName"]:
            raise ServiceError(
                f"ExperimentConfig.TrialName: trial {config['TrialName']} belongs to the experiment "
                f"{trial['ExperimentName']}, not to {config['ExperimentName']}."
            )
    if "RunName" in config:
        NamedRecords(sagemaker, COMPONENT).find(config["RunName"])


def component_name(kind: str, job: str) -> str:
    """What the component of a job is called."""
    return f"{job.lower()}-aws-{kind.lower()}-job"


def keep_component(
    sagemaker: SageMaker, kind: str, job: str, arn: str, config: ExperimentConfigTypeDef | None = None
) -> None:
    """Make the component of a job that was created, in the trial that the job names."""
    name, config = component_name(kind, job), config or {}
    components = NamedRecords(sagemaker, COMPONENT)
    request = {"TrialComponentName": name, "DisplayName": config.get("TrialComponentDisplayName", name)}
    components.records.pop(name, None)  # of a job that was there before the account was reset
    components.create(request, None, Source={"SourceArn": arn, "SourceType": f"SageMaker{kind}Job"}, _job=[kind, job])
    trial = config.get("TrialName") or _new_trial(sagemaker, config.get("ExperimentName"), name)
    if trial:
        with sagemaker.lock:
            sagemaker.table("trial-members", dict[str, float]).setdefault(trial, {})[name] = now()
            sagemaker.changed()


def _new_trial(sagemaker: SageMaker, experiment: str | None, component: str) -> str:
    """A trial for a job that names an experiment alone (API Reference, ExperimentConfig)."""
    if experiment is None:
        return ""
    name = f"{component[:108]}-trial"
    NamedRecords(sagemaker, TRIAL).create({"TrialName": name}, None, ExperimentName=experiment)
    return name


def keep_trial(sagemaker: SageMaker, experiment: str, trial: str = "") -> None:
    """Make an experiment and a trial where they are not there."""
    experiments, trials = NamedRecords(sagemaker, EXPERIMENT), NamedRecords(sagemaker, TRIAL)
    with sagemaker.lock:
        if experiment not in experiments.records:
            experiments.create({"ExperimentName": experiment}, None)
        if trial and trial not in trials.records:
            trials.create({"TrialName": trial}, None, ExperimentName=experiment)


def told_by_job(sagemaker: SageMaker, component: Record) -> Record:
    """What a component has of its job; nothing where it has none."""
    named = component.get("_job")
    if not isinstance(named, list):
        return {}
    kind, name = str(named[0]), str(named[1])
    job = sagemaker.jobs(kind).get(name)
    return _told(kind, job) if job else {}


def _told(kind: str, job: Record) -> Record:
    status = str(job[f"{kind}JobStatus"])
    secondary, reason = job.get("SecondaryStatus", status), job.get("FailureReason", "")
    told: Record = {
        "Status": {
            "PrimaryStatus": status,
            "Message": f"Status: {status}, secondary status: {secondary}, failure reason: {reason}.",
        },
        "Parameters": _parameters(job),
        "InputArtifacts": dict(_inputs(job)),
        "OutputArtifacts": dict(_outputs(job)),
    }
    times = {"StartTime": f"{kind}StartTime", "EndTime": f"{kind}EndTime"}
    return told | {name: job[member] for name, member in times.items() if member in job}


def _parameters(job: Record) -> Record:
    found = {name: _parameter(value) for name, value in _map(job, "HyperParameters").items()}
    machines = _map(job, "ResourceConfig") or _map(_map(job, "ProcessingResources"), "ClusterConfig")
    machines = machines or _map(job, "TransformResources")
    for name in ("InstanceCount", "InstanceType", "VolumeSizeInGB"):
        if name in machines:
            found[f"SageMaker.{name}"] = _parameter(machines[name])
    image = _map(job, "AlgorithmSpecification").get("TrainingImage") or _map(job, "AppSpecification").get("ImageUri")
    return {**found, **({"SageMaker.ImageUri": {"StringValue": image}} if image else {})}


def _parameter(value: object) -> Record:
    try:
        return {"NumberValue": float(str(value))}
    except ValueError:
        return {"StringValue": str(value)[:2500]}


def _inputs(job: Record) -> list[tuple[str, Record]]:
    channels = [
        (one["ChannelName"], _map(_map(one, "DataSource"), "S3DataSource")) for one in _each(job, "InputDataConfig")
    ]
    inputs = [(one["InputName"], _map(one, "S3Input")) for one in _each(job, "ProcessingInputs")]
    return [(str(name), {"Value": source["S3Uri"]}) for name, source in [*channels, *inputs] if "S3Uri" in source]


def _outputs(job: Record) -> list[tuple[str, Record]]:
    outputs = [
        (one["OutputName"], _map(one, "S3Output")) for one in _each(_map(job, "ProcessingOutputConfig"), "Outputs")
    ]
    found = [(str(name), {"Value": output["S3Uri"]}) for name, output in outputs if "S3Uri" in output]
    model = _map(job, "ModelArtifacts").get("S3ModelArtifacts")
    transformed = _map(job, "TransformOutput").get("S3OutputPath")
    found += [("SageMaker.ModelArtifact", {"Value": model})] if model else []
    return found + ([("SageMaker.TransformOutput", {"Value": transformed})] if transformed else [])


def _map(held: Mapping[str, object], name: str) -> Record:
    value = held.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def _each(held: Mapping[str, object], name: str) -> list[Record]:
    value = held.get(name)
    return value if isinstance(value, list) else []
