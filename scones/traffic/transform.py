"""What a batch transform job captured, as captures of its own for the monitoring job.

Runs on a laptop or in CodeBuild. Reads the manifests that the job left (`DataCaptureConfig`): which objects it read,
and where its answers to them are. Writes these as lines of data capture into
``<captures>/<job>/Transform/yyyy/mm/dd/hh/``. Names and event ids follow from the objects, so that a job that is taken
twice is counted once.
"""

from __future__ import annotations

import base64
import functools
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reporting.documents.json import DocumentError, from_bytes
from scones.errors import SconesError
from scones.serving_versions import live_version
from scones.stage.connection import Connection, list_keys, split_uri
from scones.traffic.captures import TimeRange

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker.type_defs import DescribeTransformJobResponseTypeDef

VARIANT = "Transform"
_LINES = 500  # in an object
_LARGEST = 1_000_000  # bytes of an image that is kept, as of a request to the endpoint
_CONNECTIONS = 16
_EVENTS = uuid.UUID("2c1a7d0e-6d0c-4f9b-9a39-3f1f5f0f6f10")


@dataclass(frozen=True)
class TransformCaptures:
    """How many predictions of a transform job were taken over, and what the monitoring pipeline is told of them."""

    predictions: int
    chosen: TimeRange
    parameters: dict[str, str]


@dataclass(frozen=True)
class AnsweredObject:
    """An object that the job read, and where its answer is."""

    source: str
    answer: str


def take(connection: Connection, name: str) -> TransformCaptures:
    """Take over what a job captured. Raises SconesError where it is unknown, is running, or captured nothing."""
    job = _described(connection, name)
    pairs = answered_objects(connection.client("s3"), job)
    if not pairs:
        raise SconesError(
            f"transform job {name} left no manifests of what it answered below "
            f"{job['DataCaptureConfig']['DestinationS3Uri']}: they may have been removed"
        )
    package = _package(connection, job["ModelName"])
    at = job["TransformEndTime"].astimezone(UTC)
    for number in range(0, len(pairs), _LINES):
        _write(connection, job, package, number, pairs[number : number + _LINES])
    told = {
        "EndpointName": name,
        "ModelPackageArn": package,
        "DeployedAt": "",
        "ContextUri": "",
        "MetricsNamespace": "",
    }
    if package and live_version.parameters(connection, at).get("ModelPackageArn") != package:
        told["BaselineUri"] = ""  # which is that of the version that serves
    chosen = TimeRange(at.replace(microsecond=0) - timedelta(seconds=1), at + timedelta(seconds=1))
    return TransformCaptures(len(pairs), chosen, told)


def _described(connection: Connection, name: str) -> DescribeTransformJobResponseTypeDef:
    try:
        job = connection.client("sagemaker").describe_transform_job(TransformJobName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        raise SconesError(f"there is no transform job {name}") from error
    if job["TransformJobStatus"] not in ("Completed", "Failed"):
        raise SconesError(f"transform job {name} is {job['TransformJobStatus']}: expected one that has ended")
    if not job.get("DataCaptureConfig"):
        raise SconesError(f"transform job {name} captured nothing: start it with a DataCaptureConfig")
    if job["TransformInput"].get("SplitType", "None") != "None":
        raise SconesError(f"transform job {name} splits its objects: expected one image in each, SplitType None")
    return job


def answered_objects(s3: S3Client, job: DescribeTransformJobResponseTypeDef) -> list[AnsweredObject]:
    """What the job's manifests name both as read and as answered, by the name of the object."""
    place = job["DataCaptureConfig"]["DestinationS3Uri"].rstrip("/")
    read = _named(s3, f"{place}/input/", _parent(job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]))
    written = _named(s3, f"{place}/output/", job["TransformOutput"]["S3OutputPath"])
    both = [name for name in sorted(read) if f"{name}.out" in written]
    return [AnsweredObject(read[name], written[f"{name}.out"]) for name in both]


def _parent(uri: str) -> str:
    """The folder of a prefix, or of a manifest's bucket."""
    return uri[: uri.rfind("/") + 1] if uri.count("/") > 3 else uri


def _named(s3: S3Client, place: str, below: str) -> dict[str, str]:
    """By name the objects below a prefix that the manifests of a folder list; several jobs may share the folder."""
    found: dict[str, str] = {}
    bucket = split_uri(place)[0]
    for key in list_keys(s3, place):
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        try:
            first, *names = from_bytes(data, list[dict[str, str] | str])
            prefix = first["prefix"] if isinstance(first, dict) else ""
        except (DocumentError, ValueError, KeyError) as error:
            raise SconesError(f"s3://{bucket}/{key} is no manifest of a transform job ({error})") from error
        if prefix.startswith(below.rstrip("/")):
            found |= {name: f"{prefix}{name}" for name in names if isinstance(name, str)}
    return found


def _package(connection: Connection, model: str) -> str:
    """The model package of a job's model; empty where it was made without one, or is gone."""
    try:
        found = connection.client("sagemaker").describe_model(ModelName=model)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        return ""
    return found.get("PrimaryContainer", {}).get("ModelPackageName", "")


def _write(
    connection: Connection,
    job: DescribeTransformJobResponseTypeDef,
    package: str,
    number: int,
    part: list[AnsweredObject],
) -> None:
    s3, at = connection.client("s3"), job["TransformEndTime"].astimezone(UTC)
    line = functools.partial(_line, s3, job, package, at)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        text = "".join(pool.map(line, part))
    bucket, prefix = split_uri(connection.names.capture_uri)
    name = f"{at:%Y/%m/%d/%H/%M-%S}-000-{number:06d}.jsonl"
    s3.put_object(Bucket=bucket, Key=f"{prefix}/{job['TransformJobName']}/{VARIANT}/{name}", Body=text.encode())


def _line(
    s3: S3Client, job: DescribeTransformJobResponseTypeDef, package: str, at: datetime, one: AnsweredObject
) -> str:
    image, answer = (_body(s3, uri) for uri in (one.source, one.answer))
    kind = job["TransformInput"].get("ContentType", "application/octet-stream")
    read = {
        "observedContentType": kind,
        "mode": "INPUT",
        "data": base64.b64encode(image).decode(),
        "encoding": "BASE64",
    }
    said = {
        "observedContentType": job["TransformOutput"].get("Accept", "application/json"), "mode": "OUTPUT",
        "data": answer.decode("utf-8", "replace").strip(), "encoding": "JSON",
    }  # fmt: skip
    data = ({"endpointInput": read} if len(image) <= _LARGEST else {}) | {"endpointOutput": said}
    metadata: dict[str, str | list[str]] = {
        "eventId": str(uuid.uuid5(_EVENTS, f"{job['TransformJobArn']} {one.source}"))
    }
    metadata |= {"customAttributes": [f"model_package_arn={package}"]} if package else {}
    metadata |= {"inferenceId": one.source, "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    document = {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(document, separators=(",", ":")) + "\n"


def _body(s3: S3Client, uri: str) -> bytes:
    bucket, key = split_uri(uri)
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
