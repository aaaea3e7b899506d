"""Training jobs: script mode (or an own entrypoint) between S3 channels and a model archive.

Runs in the server process; writes the log group ``/aws/sagemaker/TrainingJobs``, ``model.tar.gz`` (and
``output.tar.gz``) below the job's output path, and the metrics a job defines to CloudWatch.
"""

from __future__ import annotations

import json
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from local_account.base.archives.tars import ArchiveError, extract_tar
from local_account.base.images import repository
from local_account.protocol.actions import Reply, action
from local_account.protocol.records import view
from local_account.protocol.service import now
from local_account.sagemaker.experiments.components import ComponentMetrics
from local_account.sagemaker.experiments.of_jobs import component_name
from local_account.sagemaker.job_defaults import fill_metrics, fill_training
from local_account.sagemaker.job_records import TrainingJobRecord
from local_account.sagemaker.jobs import checkpoints
from local_account.sagemaker.jobs.actions import JobActions
from local_account.sagemaker.jobs.checkpoints import Checkpoints
from local_account.sagemaker.jobs.checks import check_training
from local_account.sagemaker.jobs.cluster import Host, HostGroup, Shard, groups_of
from local_account.sagemaker.jobs.run import REASON_CHARACTERS, FailedJobError, JobRun
from local_account.sagemaker.jobs.script_mode import TrainingScript, channels_of, input_data_config
from local_account.sagemaker.jobs.training_metrics import TrainingMetrics
from local_account.sagemaker.jobs.training_output import TrainingOutput
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        ChannelOutputTypeDef,
        CreateTrainingJobRequestTypeDef,
        DescribeTrainingJobRequestTypeDef,
        ListTrainingJobsRequestTypeDef,
        StopTrainingJobRequestTypeDef,
    )

_MESSAGES = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Training job interrupted: its spot instance was taken back",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job reached its maximum run time",
    "MaxWaitTimeExceeded": "Training job reached its maximum wait time",
}
_LIMITS = {"MaxRuntimeInSeconds": "MaxRuntimeExceeded", "MaxWaitTimeInSeconds": "MaxWaitTimeExceeded"}


class TrainingRun(JobRun):
    """One training job."""

    kind = "Training"

    def __init__(self, sagemaker: SageMaker, record: dict[str, object]) -> None:
        self.job = view(TrainingJobRecord, record)
        super().__init__(sagemaker, record)
        self.script = TrainingScript.of(self.job.get("HyperParameters", {}), self.job.get("Environment", {}))
        self._metrics = TrainingMetrics(self.job["AlgorithmSpecification"].get("MetricDefinitions", []))
        self._checkpoints: dict[Host, list[Checkpoints]] = {}
        self._trained_s = 0.0
        self._container_started: float | None = None

    @property
    def output_uri(self) -> str:
        """Where the archives go."""
        return f"{self.job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"

    def host_groups(self) -> list[HostGroup]:
        """What ResourceConfig asks for."""
        return groups_of(self.job["ResourceConfig"])

    def prepare(self, host: Host) -> None:
        """Download the channels, the checkpoints and the code."""
        for name in ("model", "output/data", "output/intermediate", "input/data", "input/config", "code"):
            (host.root / name).mkdir(parents=True, exist_ok=True)
        self._write_config(host)
        for channel in channels_of(self.job, host):
            self._fetch_channel(host, channel)
        self._checkpoints[host] = [Checkpoints(self.files, host, place) for place in checkpoints.streams(self.job)]
        if "CheckpointConfig" in self.job:
            kept = Checkpoints(self.files, host, self.job["CheckpointConfig"])
            kept.restore()
            self._checkpoints[host].append(kept)
        if self.script:
            self._fetch_code(self.script, host)

    def _write_config(self, host: Host) -> None:
        config = host.root / "input" / "config"
        hyperparameters = self.job.get("HyperParameters", {})
        (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
        (config / "inputdataconfig.json").write_text(json.dumps(input_data_config(self.job, host)))
        (config / "resourceconfig.json").write_text(json.dumps(self.cluster.resource_config(host)))
        if "DebugHookConfig" in self.job:
            (config / "debughookconfig.json").write_text(json.dumps(self.job["DebugHookConfig"]))

    def _fetch_channel(self, host: Host, channel: ChannelOutputTypeDef) -> None:
        source = channel["DataSource"]["S3DataSource"]
        receivers = self.cluster.receivers(source.get("InstanceGroupNames", []))
        shard = Shard.of(host, receivers, source.get("S3DataDistributionType", "FullyReplicated"))
        folder = host.root / "input" / "data" / channel["ChannelName"]
        self.files.download(source["S3Uri"], folder, source["S3DataType"], shard=shard)

    def _fetch_code(self, script: TrainingScript, host: Host) -> None:
        if not script.submit_directory.startswith("s3://"):
            raise FailedJobError(
                "ClientError: sagemaker_submit_directory must be the S3 URI of a source archive (the stand-in account "
                f"has no container images that could hold the code), got {script.submit_directory!r}"
            )
        archive = host.root / "input" / "sourcedir.tar.gz"
        self.files.download_object(script.submit_directory, archive)
        try:
            extract_tar(archive, host.root / "code")
        except ArchiveError as error:
            raise FailedJobError(f"ClientError: {script.submit_directory}: {error}") from error
        archive.unlink()
        if not (host.root / "code" / script.program).is_file():
            raise FailedJobError(
                f"AlgorithmError: expected the entry point {script.program!r} in {script.submit_directory}, it holds: "
                f"{', '.join(sorted(p.name for p in (host.root / 'code').iterdir()))}"
            )

    def command(self, host: Host) -> tuple[list[str], dict[str, str], Path | None]:
        """The job's own entry point, its script, or what stands for its image."""
        specification = self.job["AlgorithmSpecification"]
        environment = {
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.job["TrainingJobArn"],
            "SAGEMAKER_REGION": self.account.region,
            "SAGEMAKER_JOB_NAME": self.name,
            **self.job.get("Environment", {}),
        }
        if "ContainerEntrypoint" in specification:
            command = [*specification["ContainerEntrypoint"], *specification.get("ContainerArguments", [])]
            return command, environment, None
        if self.script:
            variables = {**self.script.variables(self.job, self.cluster, host), **environment}
            return self.script.container_command(self.cluster, host), variables, Path("/opt/ml/code")
        uri = specification["TrainingImage"]
        if image := self.account.images.get(repository(uri)):
            if missing := image.missing():
                raise FailedJobError(f"ClientError: image {uri} needs {missing}: pip install {missing}")
            return [*image.train], {**environment, "PYTHONPATH": str(image.folder), "TRAINING_IMAGE_URI": uri}, None
        known = ", ".join(self.account.images) or "none"
        raise FailedJobError(
            f"ClientError: image {uri} cannot run here: the stand-in account has no container images. It runs jobs "
            "that bring their code: script mode (hyperparameters sagemaker_program and sagemaker_submit_directory) or "
            f"a ContainerEntrypoint. Images that something was named for when it was started: {known}."
        )

    def entered(self, phase: str) -> None:
        """Keep the secondary status, and count the time of the instance that is taken away."""
        changes: dict[str, object] = {}
        if phase == "Training":
            self._container_started = time.monotonic()
            if "TrainingStartTime" not in self.job:
                changes["TrainingStartTime"] = now()
        elif phase == "Interrupted":
            self._count_time()
            self._save_checkpoints(last=True)
        if not self.stop_requested.is_set():
            self._transition(phase)
        self.change(changes)

    def stopping(self) -> None:
        """Keep the secondary status as well."""
        self._transition("Stopping")
        super().stopping()

    def interrupted(self) -> bool:
        """Only spot instances are taken back."""
        spot = self.job.get("EnableManagedSpotTraining", False)
        return spot and checkpoints.take_interruption(self.sagemaker, self.job["TrainingJobArn"])

    def watch(self) -> None:
        """Upload checkpoints that changed."""
        self._save_checkpoints()

    def _save_checkpoints(self, *, last: bool = False) -> None:
        for kept in chain.from_iterable(self._checkpoints.values()):
            kept.save(last=last)

    def _count_time(self) -> None:
        """Add the time of this instance; an interrupted job has several."""
        if self._container_started is not None:
            self._trained_s += time.monotonic() - self._container_started
            self._container_started = None

    def limits_s(self) -> dict[str, float]:
        """What is left of the run time, and of the time that a spot job may take with all its waiting."""
        stopping = self.job["StoppingCondition"]
        left = {name: seconds - self._trained_s for name, seconds in super().limits_s().items()}
        if "MaxWaitTimeInSeconds" in stopping:
            left["MaxWaitTimeInSeconds"] = stopping["MaxWaitTimeInSeconds"] - (now() - self.job["CreationTime"])
        return left

    def _transition(self, status: str) -> None:
        with self.sagemaker.lock:
            transitions = self.job.setdefault("SecondaryStatusTransitions", [])
            at = now()
            if transitions:
                transitions[-1].setdefault("EndTime", at)
            transitions.append({"Status": status, "StartTime": at, "StatusMessage": _MESSAGES[status]})
            self.job["SecondaryStatus"] = status

    def see_line(self, line: str) -> None:
        """Keep the metrics that a line names."""
        if found := self._metrics.read(line):
            ComponentMetrics(self.sagemaker).add(component_name(self.kind, self.name), found)
            with self.sagemaker.lock:
                self.job["FinalMetricDataList"] = self._metrics.last()

    def upload(self, succeeded: bool) -> None:
        """Publish the metrics; upload checkpoints, ``output.tar.gz`` and, of a job that succeeded, the model."""
        self._metrics.publish(self.account, self.name, self.role())
        self._save_checkpoints(last=True)
        where = self.job["OutputDataConfig"]
        output = TrainingOutput(self.files, self.cluster, where, self.output_uri, self.root)
        output.upload_results()
        if not succeeded:
            return
        uri = output.upload_model()
        with self.sagemaker.lock:
            self.job["ModelArtifacts"] = {"S3ModelArtifacts": uri}

    def isolated(self) -> bool:
        """Whether the job asks for no network."""
        return self.job.get("EnableNetworkIsolation", False)

    def failure(self, host: Host, exit_code: int, tail: list[str]) -> str:
        """What the container or the script's toolkit said, with the exit code at its end."""
        details = self.read_output(host, "failure")
        if details is None and self.script and "ContainerEntrypoint" not in self.job["AlgorithmSpecification"]:
            details = self.script.failure(self.cluster, host, exit_code, self.tail_text(tail))
        if details is None:
            details = self.tail_text(tail)
        begin, suffix = f"AlgorithmError: {self.blamed(host)}", f", exit code: {exit_code}"
        return f"{begin}{details[: REASON_CHARACTERS - len(begin) - len(suffix)]}{suffix}"

    def _end(self, status: str, reason: str | None) -> None:
        self._count_time()
        self._transition(_LIMITS.get(self.exceeded, status) if status == "Stopped" else status)
        ended = now()
        with self.sagemaker.lock:
            self.job["SecondaryStatusTransitions"][-1]["EndTime"] = ended
            if reason:
                self.job["SecondaryStatusTransitions"][-1]["StatusMessage"] = reason
            if "TrainingStartTime" in self.job:
                # Nothing is billed here: the discount of spot instances is AWS's to say.
                self.job["TrainingTimeInSeconds"] = max(1, round(self._trained_s))
                self.job["BillableTimeInSeconds"] = self.job["TrainingTimeInSeconds"]
        super()._end(status, reason)


class TrainingJobs(JobActions):
    """The actions on training jobs."""

    run = TrainingRun
    summary: ClassVar[list[str]] = [
        "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime",
        "TrainingJobStatus", "SecondaryStatus",
    ]  # fmt: skip

    @action("CreateTrainingJob")
    def create(self, request: CreateTrainingJobRequestTypeDef) -> Reply:
        """Refuses what the account cannot run, then runs the job."""
        fill_training(request)
        fill_metrics(request, self.sagemaker.account.images)
        check_training(request)
        return self.create_job(request, request.get("Tags"), request.get("ExperimentConfig"))

    @action("DescribeTrainingJob")
    def describe(self, request: DescribeTrainingJobRequestTypeDef) -> Reply:
        """Answers the job as it is now."""
        return {"ProfilingStatus": "Disabled", **self.find_job(request["TrainingJobName"])}

    @action("ListTrainingJobs")
    def list(self, request: ListTrainingJobsRequestTypeDef) -> Reply:
        """Answers a page of jobs, the newest first."""
        return self.list_jobs(request)

    @action("StopTrainingJob")
    def stop(self, request: StopTrainingJobRequestTypeDef) -> None:
        """The job ends within two minutes."""
        self.stop_job(request["TrainingJobName"])
