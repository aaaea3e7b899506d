"""Jobs as the API sees them: create, describe, list and stop, the same for every kind.

Runs in the server process; state: a table a kind. What a kind of job does is its ``JobRun``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from local_account.containers.run import prepare
from local_account.protocol.actions import Reply, ServiceError
from local_account.protocol.records import without
from local_account.protocol.service import now
from local_account.sagemaker.experiments.of_jobs import check_experiment, keep_component
from local_account.sagemaker.jobs.run import ACCOUNT_STOPPED, UNFINISHED, JobRun
from local_account.sagemaker.network import check_volume_keys
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ExperimentConfigTypeDef, TagTypeDef


def prepare_jobs(sagemaker: SageMaker) -> None:
    """Make what containers need, and forget what a server that was killed left of its jobs."""
    prepare(sagemaker.account)
    shutil.rmtree(sagemaker.account.state_dir / "jobs", ignore_errors=True)


class JobActions:
    """The actions on jobs of one kind, for the class that marks them as actions."""

    run: ClassVar[type[JobRun]]
    summary: ClassVar[list[str]]
    """What ``List*Jobs`` shows of a job."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self.sagemaker = sagemaker
        self.kind = self.run.kind
        self.records = sagemaker.jobs(self.kind)
        self._running: dict[str, JobRun] = {}
        self._fail_interrupted()

    def create_job(
        self,
        request: Mapping[str, object],
        tags: Sequence[TagTypeDef] | None,
        experiment: ExperimentConfigTypeDef | None,
    ) -> Reply:
        """Keep the record of a checked request and start the job's thread.

        Raises ServiceError for a name that is taken, keys of disks that cannot be used, and unknown experiments.
        """
        name = str(request[f"{self.kind}JobName"])
        check_volume_keys(self.sagemaker.account, request)
        check_experiment(self.sagemaker, experiment)
        arn = self.sagemaker.arn(f"{self.kind.lower()}-job/{name}")
        with self.sagemaker.lock:
            if name in self.records:
                raise ServiceError(
                    f"{self.kind} job names must be unique within an AWS account and region, and a "
                    f"{self.kind.lower()} job with this name already exists ({arn})",
                    "ResourceInUse",
                )
            record = without(request, "Tags")
            record |= {f"{self.kind}JobArn": arn, f"{self.kind}JobStatus": "InProgress", "CreationTime": now()}
            self.records[name] = record
            set_tags(self.sagemaker, arn, tags)
            keep_component(self.sagemaker, self.kind, name, arn, experiment)
        job = self.run(self.sagemaker, record)
        job.entered("Starting")
        job.start(self._running)
        return {f"{self.kind}JobArn": arn}

    def find_job(self, name: str) -> dict[str, object]:
        """The record of a job.

        Raises ServiceError for an unknown name, in SageMaker's words, which are not those of its model.
        """
        record = self.records.get(name)
        if record is None:
            raise ServiceError(f"Requested resource not found: there is no {self.kind.lower()} job named {name}.")
        return record

    def list_jobs(self, request: Mapping[str, object]) -> Reply:
        """A page of jobs, the newest first."""
        status = request.get("StatusEquals")
        return listing(
            [record for record in self.records.values() if status in (None, record[f"{self.kind}JobStatus"])],
            request,
            key=f"{self.kind}JobSummaries",
            fields=self.summary,
            name_field=f"{self.kind}JobName",
        )

    def stop_job(self, name: str) -> None:
        """Have the job's thread end the container.

        Raises ServiceError for a job that does not run.
        """
        status = self.find_job(name)[f"{self.kind}JobStatus"]
        job = self._running.get(name)
        if status != "InProgress" or job is None:
            raise ServiceError(f"The request was rejected because the {self.kind.lower()} job is in status {status}.")
        job.stopping()
        job.stop_requested.set()

    def _fail_interrupted(self) -> None:
        """Jobs that ran when the account was stopped (or killed) can never end by themselves."""
        for record in self.records.values():
            if record[f"{self.kind}JobStatus"] in UNFINISHED:
                record[f"{self.kind}JobStatus"] = "Failed"
                record["FailureReason"] = ACCOUNT_STOPPED
                record["LastModifiedTime"] = record[f"{self.kind}EndTime"] = now()
                if self.kind == "Training":
                    record["SecondaryStatus"] = "Failed"
        self.sagemaker.changed()
