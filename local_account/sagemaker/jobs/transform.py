"""Batch transform jobs: every object of an S3 prefix through a model's container, each answer as ``<key>.out``.

Runs in the server process; writes the log group ``/aws/sagemaker/TransformJobs`` (the container's stream, and
``data-log`` with what went wrong for which object) and the outputs in S3.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING, ClassVar

from local_account.base import clock
from local_account.containers.container_view import ContainerView
from local_account.protocol.actions import Reply, action
from local_account.protocol.records import view
from local_account.protocol.service import now
from local_account.sagemaker.data_processing import DataProcessing, RecordError
from local_account.sagemaker.endpoints.archive import StartError, container_of
from local_account.sagemaker.endpoints.instance import STARTUP_S, Instance, NoAnswerError
from local_account.sagemaker.job_defaults import shown_transform
from local_account.sagemaker.job_records import TransformJobRecord
from local_account.sagemaker.jobs.actions import JobActions
from local_account.sagemaker.jobs.checks import DEFAULT_PAYLOAD_MB, check_transform
from local_account.sagemaker.jobs.files import S3Object
from local_account.sagemaker.jobs.records_of_objects import TooLargeError, assembled, payloads
from local_account.sagemaker.jobs.run import REASON_CHARACTERS, FailedJobError, JobRun
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateTransformJobRequestTypeDef,
        DescribeTransformJobRequestTypeDef,
        ListTransformJobsRequestTypeDef,
        StopTransformJobRequestTypeDef,
    )

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_MEGABYTE = 1024 * 1024
MAX_OBJECT_BYTES = 2**31  # of an object that is split into lines, which is read whole


@dataclass(frozen=True)
class Refusal:
    """An object that has no output: whose fault it is, and what the data log says of it."""

    object: S3Object
    kind: str
    status: str
    message: str


class RefusedError(Exception):
    """A request that the container did not answer well."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class TransformRun(JobRun):
    """One batch transform job."""

    kind = "Transform"

    def __init__(self, sagemaker: SageMaker, record: dict[str, object]) -> None:
        self.job = view(TransformJobRecord, record)
        super().__init__(sagemaker, record)
        self._payload_bytes = self.job.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB) * _MEGABYTE
        # 0 and nothing given leave it to the container; without an opinion of its own it is one.
        content_type = self.job["TransformInput"].get("ContentType", "")
        self._processing = DataProcessing.of(self.job.get("DataProcessing", {}), content_type)
        self._concurrent = self.job.get("MaxConcurrentTransforms") or 1

    def role(self) -> str:
        """The model's, which reads and writes for the job; without one, the owner's."""
        model = self.sagemaker.models.get(self.job["ModelName"])
        return model.get("ExecutionRoleArn", "") if model else ""

    def entered(self, phase: str) -> None:
        """Tell when the job was made and when its container started."""
        self.change({"TransformStartTime": now()} if phase == "Training" else {})

    def _execute(self) -> str:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, mode=0o700)
        source = self.job["TransformInput"]["DataSource"]["S3DataSource"]
        objects = self.files.objects(source["S3Uri"], source["S3DataType"])
        with self._servers() as servers:
            self.entered("Training")
            refusals = self._transform(servers, objects)
        if self.stop_requested.is_set():  # StopTransformJob: then nothing is stored
            return "Stopped"
        output = self.job["TransformOutput"]
        self.files.upload(ContainerView(self.root), self.root, output["S3OutputPath"], output.get("KmsKeyId", ""))
        refused = {refusal.object for refusal in refusals}
        self._capture([one for one in objects if one not in refused])
        if refusals:
            first = refusals[0]
            raise FailedJobError(
                f"{first.kind}: See job logs for more information. {len(refusals)} of {len(objects)} objects have no "
                f"output, the first is {first.object.key}: {first.status} {first.message}"[:REASON_CHARACTERS]
            )
        return "Completed"

    def _capture(self, answered: list[S3Object]) -> None:
        """Say below the destination of the captures what was read and written."""
        config = self.job.get("DataCaptureConfig")
        if config is None:
            return
        found = capture_manifests(answered, self.job["TransformOutput"]["S3OutputPath"], clock.now())
        shutil.rmtree(self.root, ignore_errors=True)  # the outputs, which are in S3 and may have any name
        self.root.mkdir(parents=True, mode=0o700)
        path = self.root / "manifest"
        for name, content in found.items():
            path.write_bytes(content)
            self.files.upload_object(
                path, f"{config['DestinationS3Uri'].rstrip('/')}/{name}", config.get("KmsKeyId", "")
            )

    @contextmanager
    def _servers(self) -> Iterator[list[Instance]]:
        """The model on each instance of the job, answering its ping."""
        servers = [self._server() for _ in range(self.job["TransformResources"]["InstanceCount"])]
        try:
            with ThreadPoolExecutor(len(servers)) as pool:
                list(pool.map(Instance.start, servers))
            yield servers
        except StartError as error:
            raise FailedJobError(f"AlgorithmError: See job logs for more information. {error}") from error
        finally:
            for server in servers:
                server.stop()

    def _server(self) -> Instance:
        container = container_of(self.sagemaker, self.job["ModelName"])
        environment = {**container["environment"], **self.job.get("Environment", {}), "SAGEMAKER_BATCH": "true"}
        container = {**container, "environment": environment}
        server = Instance(self.account, "transform-jobs", self.name, container, STARTUP_S)
        server.log_group = LOG_GROUP
        return server

    def _transform(self, servers: list[Instance], objects: list[S3Object]) -> list[Refusal]:
        """Post every object to an instance in turn, as many at once as asked for; what failed, in their order."""
        streams = [f"{server.log_stream}/data-log" for server in servers]
        settings = f"MaxConcurrentTransforms={self._concurrent}, MaxPayloadInMB={self._payload_bytes // _MEGABYTE}"
        strategy = "SINGLE_RECORD" if self.job.get("BatchStrategy") == "SingleRecord" else "MULTI_RECORD"
        for stream in streams:
            self._log(stream, f"{settings}, BatchStrategy={strategy}")
        refusals = []
        with ExitStack() as stack:
            pools = [stack.enter_context(ThreadPoolExecutor(self._concurrent)) for _ in servers]
            posted = [
                (stream, pool.submit(self._post, server, one))
                for one, (server, stream, pool) in zip(
                    objects, cycle(zip(servers, streams, pools, strict=True)), strict=False
                )
            ]
            for stream, ended in posted:
                if refusal := ended.result():
                    refusals.append(refusal)
                    where = f"{refusal.object.bucket}/{refusal.object.key}"
                    self._log(stream, *(f"{where}: {t}" for t in (refusal.status, "", "Message:", refusal.message)))
        return refusals

    def _post(self, server: Instance, one: S3Object) -> Refusal | None:
        """One object; its answer lands in the job's folder."""
        if self.stop_requested.is_set():
            return None
        given, output = self.job["TransformInput"], self.job["TransformOutput"]
        split = given.get("SplitType", "None")
        body = self.files.read(one, self._payload_bytes if split == "None" else MAX_OBJECT_BYTES)
        answers = []
        try:
            if body is None:
                raise TooLargeError("Too much data for max payload size")
            strategy = self.job.get("BatchStrategy", "MultiRecord")
            for part in payloads(
                self._processing.filtered(body), split=split, strategy=strategy, limit_bytes=self._payload_bytes
            ):
                answers.append(self._answer(server, part, one))
            content = self._processing.joined(body, assembled(answers, output.get("AssembleWith", "None")))
        except TooLargeError as error:
            return Refusal(one, "ClientError", "ClientError: 413", str(error))
        except RecordError as error:
            return Refusal(one, "ClientError", "ClientError: DataProcessing", str(error))
        except RefusedError as refused:
            return refused.refusal
        target = self.files.inside(self.root, f"{one.relative}.out")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return None

    def _answer(self, server: Instance, body: bytes, one: S3Object) -> bytes:
        """What the container answers to one request; raises RefusedError."""
        headers = {}
        if content_type := self.job["TransformInput"].get("ContentType"):
            headers["Content-Type"] = content_type
        if accept := self.job["TransformOutput"].get("Accept"):
            headers["Accept"] = accept
        try:
            answer = server.invoke(body, headers)
        except NoAnswerError as error:
            raise RefusedError(
                Refusal(one, "AlgorithmError", "Unable to get response from algorithm", str(error))
            ) from error
        message = answer.body.decode(errors="replace")[:500]
        if 400 <= answer.status < 500:
            raise RefusedError(Refusal(one, "ClientError", f"ClientError: {answer.status}", message))
        if answer.status != 200:
            status = f"Bad HTTP status received from algorithm: {answer.status}"
            raise RefusedError(Refusal(one, "AlgorithmError", status, message))
        return answer.body

    def _log(self, stream: str, *lines: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        self.account.put_log_lines(LOG_GROUP, stream, [f"{at}:[sagemaker logs]: {line}" for line in lines])


def capture_manifests(answered: Sequence[S3Object], output_uri: str, at: datetime) -> dict[str, bytes]:
    """The manifests by their place below the destination; none where no object has an output.

    Authority: SageMaker Developer Guide, "Capture data from batch transform job": ``input`` and ``output`` hold, by
    ``yyyy/mm/dd/hh``, JSON lists of ``{"prefix": ...}`` and the names below it. A manifest's name is not documented.
    """
    if not answered:
        return {}
    first = answered[0]
    source = f"s3://{first.bucket}/{first.key.removesuffix(first.relative)}"
    name = f"{at:%Y/%m/%d/%H}/{uuid.uuid4()}.jsonl"
    read = [source, *(one.relative for one in answered)]
    written = [f"{output_uri.rstrip('/')}/", *(f"{one.relative}.out" for one in answered)]
    return {f"input/{name}": _manifest(*read), f"output/{name}": _manifest(*written)}


def _manifest(prefix: str, *names: str) -> bytes:
    return json.dumps([{"prefix": prefix}, *names]).encode()


class TransformJobs(JobActions):
    """The actions on batch transform jobs."""

    run = TransformRun
    summary: ClassVar[list[str]] = [
        "TransformJobName", "TransformJobArn", "CreationTime", "TransformEndTime", "LastModifiedTime",
        "TransformJobStatus", "FailureReason",
    ]  # fmt: skip

    @action("CreateTransformJob")
    def create(self, request: CreateTransformJobRequestTypeDef) -> Reply:
        """Refuses what the account cannot run, then runs the job."""
        container_of(self.sagemaker, request["ModelName"])
        check_transform(request)
        return self.create_job(request, request.get("Tags"), request.get("ExperimentConfig"))

    @action("DescribeTransformJob")
    def describe(self, request: DescribeTransformJobRequestTypeDef) -> Reply:
        """Answers the job as it is now."""
        return shown_transform(self.find_job(request["TransformJobName"]))

    @action("ListTransformJobs")
    def list(self, request: ListTransformJobsRequestTypeDef) -> Reply:
        """Answers a page of jobs, the newest first."""
        return self.list_jobs(request)

    @action("StopTransformJob")
    def stop(self, request: StopTransformJobRequestTypeDef) -> None:
        """The job ends within two minutes."""
        self.stop_job(request["TransformJobName"])
