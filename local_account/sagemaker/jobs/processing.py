"""Processing jobs: a container between S3 inputs and S3 outputs.

Runs in the server process; writes the log group ``/aws/sagemaker/ProcessingJobs`` and the job's outputs in S3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from local_account.protocol.actions import Reply, action
from local_account.protocol.records import view
from local_account.protocol.service import now
from local_account.sagemaker.job_defaults import fill_processing
from local_account.sagemaker.job_records import ProcessingJobRecord
from local_account.sagemaker.jobs.actions import JobActions
from local_account.sagemaker.jobs.checkpoints import Checkpoints
from local_account.sagemaker.jobs.checks import check_processing
from local_account.sagemaker.jobs.cluster import GROUP, Host, HostGroup, Shard
from local_account.sagemaker.jobs.run import FailedJobError, JobRun
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CheckpointConfigTypeDef,
        CreateProcessingJobRequestTypeDef,
        DescribeProcessingJobRequestTypeDef,
        ListProcessingJobsRequestTypeDef,
        ProcessingS3OutputTypeDef,
        StopProcessingJobRequestTypeDef,
    )


class ProcessingRun(JobRun):
    """One processing job."""

    kind = "Processing"

    def __init__(self, sagemaker: SageMaker, record: dict[str, object]) -> None:
        self.job = view(ProcessingJobRecord, record)
        super().__init__(sagemaker, record)
        self._streams: list[Checkpoints] = []

    def host_groups(self) -> list[HostGroup]:
        """What ProcessingResources asks for."""
        machines = self.job["ProcessingResources"]["ClusterConfig"]
        return [HostGroup(GROUP, machines.get("InstanceType", ""), machines.get("InstanceCount", 1))]

    def prepare(self, host: Host) -> None:
        """Download the inputs and make the folders of the outputs."""
        for given in self.job.get("ProcessingInputs", []):
            if given.get("AppManaged"):
                continue
            source = given["S3Input"]
            shard = Shard.of(host, self.cluster.hosts, source.get("S3DataDistributionType", "FullyReplicated"))
            folder = _local(host, source["LocalPath"])
            self.files.download(source["S3Uri"], folder, source["S3DataType"], shard=shard)
        for folder, _uri in self._outputs(host):
            folder.mkdir(parents=True, exist_ok=True)
        self._streams += [Checkpoints(self.files, host, place, self._kms_key) for place in self._continuous()]
        (host.root / "output").mkdir(exist_ok=True)
        self._write_config(host)

    def _write_config(self, host: Host) -> None:
        config = host.root / "config"
        config.mkdir(exist_ok=True)
        shown = {k: v for k, v in self.record.items() if not k.endswith("Time") and not k.endswith("Status")}
        (config / "processingjobconfig.json").write_text(json.dumps(shown))
        (config / "resourceconfig.json").write_text(json.dumps(self.cluster.resource_config(host)))

    def command(self, host: Host) -> tuple[list[str], dict[str, str], Path | None]:
        """The entry point; the account has no image that could bring one."""
        specification = self.job["AppSpecification"]
        entrypoint = specification.get("ContainerEntrypoint")
        if not entrypoint:
            raise FailedJobError(
                f"ClientError: image {specification['ImageUri']} cannot run here: the stand-in account has no "
                "container images, so the job needs a ContainerEntrypoint (its own code) in AppSpecification."
            )
        return [*entrypoint, *specification.get("ContainerArguments", [])], self.job.get("Environment", {}), None

    def entered(self, phase: str) -> None:
        """Tell when the job was made and when its container started."""
        if phase == "Starting":
            self.change({})
        if phase == "Training":
            self.change({"ProcessingStartTime": now()})

    def upload(self, succeeded: bool) -> None:
        """Keep the container's message; upload the outputs of one that succeeded."""
        messages = [self.read_output(host, "message") for host in self.cluster.hosts]
        if message := next(filter(None, messages), None):
            with self.sagemaker.lock:
                self.job["ExitMessage"] = message
        if succeeded:
            for host in reversed(self.cluster.hosts):  # of files with the same name the first host's stays
                for folder, uri in self._outputs(host):
                    self.files.upload(host.view, folder, uri, self._kms_key)

    def watch(self) -> None:
        """Upload what changed in the outputs whose S3UploadMode is Continuous."""
        for stream in self._streams:
            stream.save()

    def failure(self, host: Host, exit_code: int, tail: list[str]) -> str:
        """What the container wrote to ``/opt/ml/output/failure``, or its last lines."""
        details = self.read_output(host, "failure") or self.tail_text(tail)
        begin = f"AlgorithmError: {self.blamed(host)}"
        return f"{begin}See job logs for more information, exit code: {exit_code}. Last lines:\n{details}"

    def isolated(self) -> bool:
        """Whether the job asks for no network."""
        return bool(self.job.get("NetworkConfig", {}).get("EnableNetworkIsolation"))

    def _outputs(self, host: Host) -> list[tuple[Path, str]]:
        """Where the container writes each output, and the S3 URI that it goes to."""
        return [(_local(host, output["LocalPath"]), output["S3Uri"]) for output in self._s3_outputs()]

    def _s3_outputs(self) -> list[ProcessingS3OutputTypeDef]:
        config = self.job.get("ProcessingOutputConfig")
        outputs = config["Outputs"] if config else []
        return [output["S3Output"] for output in outputs if not output.get("AppManaged")]

    def _continuous(self) -> list[CheckpointConfigTypeDef]:
        continuous = [output for output in self._s3_outputs() if output["S3UploadMode"] == "Continuous"]
        return [{"S3Uri": output["S3Uri"], "LocalPath": output["LocalPath"]} for output in continuous]

    @property
    def _kms_key(self) -> str:
        config = self.job.get("ProcessingOutputConfig")
        return config.get("KmsKeyId", "") if config else ""


def _local(host: Host, container_path: str) -> Path:
    return host.root / Path(container_path).relative_to("/opt/ml")


class ProcessingJobs(JobActions):
    """The actions on processing jobs."""

    run = ProcessingRun
    summary: ClassVar[list[str]] = [
        "ProcessingJobName", "ProcessingJobArn", "CreationTime", "ProcessingEndTime", "LastModifiedTime",
        "ProcessingJobStatus", "FailureReason", "ExitMessage",
    ]  # fmt: skip

    @action("CreateProcessingJob")
    def create(self, request: CreateProcessingJobRequestTypeDef) -> Reply:
        """Refuses what the account cannot run, then runs the job."""
        fill_processing(request)
        check_processing(request)
        return self.create_job(request, request.get("Tags"), request.get("ExperimentConfig"))

    @action("DescribeProcessingJob")
    def describe(self, request: DescribeProcessingJobRequestTypeDef) -> Reply:
        """Answers the job as it is now."""
        return self.find_job(request["ProcessingJobName"])

    @action("ListProcessingJobs")
    def list(self, request: ListProcessingJobsRequestTypeDef) -> Reply:
        """Answers a page of jobs, the newest first."""
        return self.list_jobs(request)

    @action("StopProcessingJob")
    def stop(self, request: StopProcessingJobRequestTypeDef) -> None:
        """The job ends within two minutes."""
        self.stop_job(request["ProcessingJobName"])
