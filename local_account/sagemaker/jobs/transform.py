"""Batch transform jobs: every object of an S3 prefix through a model's container, each answer as ``<key>.out``.

Runs in the server process; writes the log group ``/aws/sagemaker/TransformJobs`` (the container's stream, and
``data-log`` with what went wrong for which object) and the outputs in S3.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from local_account.sagemaker.endpoints.archive import Container, StartError, container_of
from local_account.sagemaker.endpoints.instance import STARTUP_S, Instance, NoAnswerError
from local_account.sagemaker.jobs import run as job_runs
from local_account.sagemaker.jobs.files import S3Object
from local_account.sagemaker.jobs.run import JobError, JobRun
from local_account.sagemaker.service import Resource, SageMaker, SageMakerError, listing, now

LOG_GROUP = "/aws/sagemaker/TransformJobs"
DEFAULT_PAYLOAD_MB = 6
MAX_PAYLOAD_MB = 100  # also of all concurrent requests together (CreateTransformJob, MaxPayloadInMB)
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Refusal:
    """An object that has no output: whose fault it is, and what the data log says of it."""

    object: S3Object
    kind: str
    status: str
    message: str


class TransformRun(JobRun):
    """One batch transform job."""

    kind = "Transform"
    table = "transform-jobs"
    runs: ClassVar[dict[str, JobRun]] = {}

    def __init__(self, sagemaker: SageMaker, record: Resource) -> None:
        super().__init__(sagemaker, record)
        self._payload_bytes = record.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB) * _MEGABYTE
        # 0 and nothing given leave it to the container; without an opinion of its own it is one.
        self._concurrent = record.get("MaxConcurrentTransforms") or 1

    def role(self) -> str:
        return str(self.sagemaker.table("models").get(self.record["ModelName"], {}).get("ExecutionRoleArn", ""))

    def entered(self, phase: str) -> None:
        changes: Resource = {"TransformStartTime": now()} if phase == "Training" else {}
        self.change(**changes)

    def _execute(self) -> str:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, mode=0o700)
        source = self.record["TransformInput"]["DataSource"]["S3DataSource"]
        objects = self.files.objects(source["S3Uri"], source["S3DataType"])
        server = self._server()
        try:
            server.start()
        except StartError as error:
            server.stop()
            raise JobError(f"AlgorithmError: See job logs for more information. {error}") from error
        try:
            self.entered("Training")
            refusals = self._transform(server, objects)
        finally:
            server.stop()
        if self.stop_requested.is_set():  # StopTransformJob: then nothing is stored
            return "Stopped"
        output = self.record["TransformOutput"]
        self.files.upload(self.root, output["S3OutputPath"], output.get("KmsKeyId", ""))
        if refusals:
            first = refusals[0]
            raise JobError(
                f"{first.kind}: See job logs for more information. {len(refusals)} of {len(objects)} objects have no "
                f"output, the first is {first.object.key}: {first.status} {first.message}"[: job_runs.REASON_CHARACTERS]
            )
        return "Completed"

    def _server(self) -> Instance:
        container = container_of(self.sagemaker, self.record["ModelName"])
        environment = {**container["environment"], **self.record.get("Environment", {}), "SAGEMAKER_BATCH": "true"}
        container = Container(**{**container, "environment": environment})
        server = Instance(self.account, "transform-jobs", self.name, container, STARTUP_S)
        server.log_group = LOG_GROUP
        return server

    def _transform(self, server: Instance, objects: list[S3Object]) -> list[Refusal]:
        """Post every object, in as many threads as asked for; what failed, in the order of the objects."""
        stream = f"{server.log_stream}/data-log"
        settings = f"MaxConcurrentTransforms={self._concurrent}, MaxPayloadInMB={self._payload_bytes // _MEGABYTE}"
        self._log(stream, f"{settings}, BatchStrategy=MULTI_RECORD")
        refusals = []
        with ThreadPoolExecutor(self._concurrent) as pool:
            for refusal in pool.map(lambda one: self._post(server, one), objects):
                if refusal:
                    refusals.append(refusal)
                    where = f"{refusal.object.bucket}/{refusal.object.key}"
                    self._log(stream, *(f"{where}: {t}" for t in (refusal.status, "", "Message:", refusal.message)))
        return refusals

    def _post(self, server: Instance, one: S3Object) -> Refusal | None:
        """One object; its answer lands in the job's folder."""
        if self.stop_requested.is_set():
            return None
        body = self.files.read(one, self._payload_bytes)
        if body is None:
            return Refusal(one, "ClientError", "ClientError: 413", "Too much data for max payload size")
        headers = {}
        if content_type := self.record["TransformInput"].get("ContentType"):
            headers["Content-Type"] = content_type
        if accept := self.record["TransformOutput"].get("Accept"):
            headers["Accept"] = accept
        try:
            answer = server.invoke(body, headers)
        except NoAnswerError as error:
            return Refusal(one, "AlgorithmError", "Unable to get response from algorithm", str(error))
        message = answer.body.decode(errors="replace")[:500]
        if 400 <= answer.status < 500:
            return Refusal(one, "ClientError", f"ClientError: {answer.status}", message)
        if answer.status != 200:
            status = f"Bad HTTP status received from algorithm: {answer.status}"
            return Refusal(one, "AlgorithmError", status, message)
        target = self.files.inside(self.root, f"{one.relative}.out")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(answer.body)
        return None

    def _log(self, stream: str, *lines: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        self.account.put_log_lines(LOG_GROUP, stream, [f"{at}:[sagemaker logs]: {line}" for line in lines])


def _check(request: dict[str, Any]) -> None:
    """Refuse at once what this account cannot do, and what AWS refuses."""
    count = request["TransformResources"]["InstanceCount"]
    if count != 1:
        raise SageMakerError(f"The stand-in account runs a job on one instance: expected InstanceCount 1, got {count}.")
    for member in ("DataProcessing", "DataCaptureConfig", "ModelClientConfig"):
        if request.get(member):
            raise SageMakerError(f"The stand-in account does not implement {member} of transform jobs; leave it out.")
    given = request["TransformInput"]
    for member in ("SplitType", "CompressionType"):
        if given.get(member, "None") != "None":
            raise SageMakerError(
                f"The stand-in account sends whole objects: expected {member} None, got {given[member]}."
            )
    if request["TransformOutput"].get("AssembleWith", "None") != "None":
        raise SageMakerError("The stand-in account writes whole answers: expected AssembleWith None.")
    data_type = given["DataSource"]["S3DataSource"]["S3DataType"]
    if data_type not in ("S3Prefix", "ManifestFile"):
        raise SageMakerError(f"Expected S3DataType S3Prefix or ManifestFile, got {data_type}.")
    megabytes = request.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB)
    together = megabytes * max(1, request.get("MaxConcurrentTransforms", 1))
    if megabytes == 0:
        raise SageMakerError("The stand-in account sends no chunked requests: expected a MaxPayloadInMB above 0.")
    if together > MAX_PAYLOAD_MB:
        raise SageMakerError(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MAX_PAYLOAD_MB} MB, got {together}."
        )


def install(sagemaker: SageMaker) -> None:
    def create(request: dict[str, Any]) -> dict[str, Any]:
        container_of(sagemaker, request["ModelName"])
        return job_runs.create(sagemaker, TransformRun, request, _check)

    def describe(request: dict[str, Any]) -> dict[str, Any]:
        record = job_runs.find(sagemaker, TransformRun, request["TransformJobName"])
        return {name: value for name, value in record.items() if name != "LastModifiedTime"}  # only lists tell it

    def stop(request: dict[str, Any]) -> None:
        job_runs.stop(sagemaker, TransformRun, request["TransformJobName"])

    def list_jobs(request: dict[str, Any]) -> dict[str, Any]:
        status = request.get("StatusEquals")
        records = sagemaker.table(TransformRun.table).values()
        return listing(
            [r for r in records if status in (None, r["TransformJobStatus"])],
            request,
            key="TransformJobSummaries",
            fields=[
                "TransformJobName", "TransformJobArn", "CreationTime", "TransformEndTime", "LastModifiedTime",
                "TransformJobStatus", "FailureReason",
            ],
            name_field="TransformJobName",
        )  # fmt: skip

    job_runs.fail_interrupted(sagemaker, TransformRun)
    sagemaker.implement(
        {
            "CreateTransformJob": create,
            "DescribeTransformJob": describe,
            "ListTransformJobs": list_jobs,
            "StopTransformJob": stop,
        }
    )
