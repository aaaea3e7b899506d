"""Many images through the batch workflow: start it, follow it, read its summary, send its failures once more.

Runs on a laptop or in CodeBuild. Uploads local images and manifests to the data bucket; the workflow writes its
results there, below ``batches/<batch id>/``. The batch id is the name of the execution.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.stage.connection import Connection, object_exists, split_uri

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

MANIFESTS = ("csv", "json", "jsonl")
UPLOADS_AT_ONCE = 8
FAILURES_SHOWN = 10

Source = dict[str, str]


class SummaryDocument(TypedDict):
    """What is read of ``summary.json``, which `lambdas.summarize_batch` writes: counts of images, and addresses."""

    batch_id: str
    items: int
    passed: int
    needs_review: int
    failed: int
    classes: dict[str, dict[str, int]]
    errors: dict[str, int]
    failed_percentage: float
    tolerated_failure_percentage: float
    results_uri: str
    left_uri: str | None
    summary_uri: str


class FailedImage(TypedDict):
    """What is read of a line of ``results.jsonl`` whose image failed."""

    s3_bucket: str
    s3_key: str
    status: str
    error: str
    reason: str


@dataclass(frozen=True)
class BatchLimits:
    """How the batch is worked off; the share of failures is in percent."""

    max_concurrency: int
    batch_size: int
    tolerated_failure_percentage: float


@dataclass(frozen=True)
class BatchProgress:
    """Images of a running batch; ``total`` is 0 until they are counted. What became of each is known at the end."""

    total: int
    done: int


@dataclass(frozen=True)
class Ended:
    """A batch that came to its end: its summary, and the error's name when too much of it failed."""

    batch_id: str
    summary: SummaryDocument
    error: str = ""


Show = Callable[[BatchProgress], None]


def new_id() -> str:
    """A name for a batch, which sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def images(connection: Connection, place: str, batch_id: str) -> Source:
    """The images below an S3 prefix, or in a local folder, which is uploaded first."""
    if place.startswith("s3://"):
        return _prefix(connection, place)
    folder = Path(place)
    if not folder.is_dir():
        raise SconesError(
            f"{place} is no folder and no s3:// address: give one, a list of images with --manifest, or single files to"
            " `scones classify`"
        )
    return _upload(connection, folder, batch_id)


def _prefix(connection: Connection, uri: str) -> Source:
    bucket, prefix = _in_data_bucket(connection, uri)
    s3 = connection.client("s3")
    # `photos` means the folder, where there is one, and not photos-of-yesterday/ as well.
    for candidate in dict.fromkeys((f"{prefix.rstrip('/')}/" if prefix else "", prefix)):
        if s3.list_objects_v2(Bucket=bucket, Prefix=candidate, MaxKeys=1)["KeyCount"]:
            return {"source": "prefix", "s3_bucket": bucket, "s3_prefix": candidate}
    raise SconesError(f"there is nothing below {uri}: expected images")


def _in_data_bucket(connection: Connection, uri: str) -> tuple[str, str]:
    bucket, key = split_uri(uri)
    own = connection.names.data_bucket
    if bucket != own:
        raise SconesError(
            f"{uri} lies outside of the stage's bucket, and its functions may read no other: copy the images to"
            f" s3://{own}/{connection.names.incoming_prefix}/ first"
        )
    return bucket, key


def _upload(connection: Connection, folder: Path, batch_id: str) -> Source:
    found = (path for path in folder.rglob("*") if path.is_file())
    files = sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    if not files:
        raise SconesError(f"{folder} holds no files: expected images")
    names, s3 = connection.names, connection.client("s3")
    prefix = f"{names.incoming_prefix}/{batch_id}/"

    def send(path: Path) -> None:
        s3.upload_file(str(path), names.data_bucket, prefix + path.relative_to(folder).as_posix())

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(send, files))
    return {"source": "prefix", "s3_bucket": names.data_bucket, "s3_prefix": prefix}


def manifest(connection: Connection, place: str, batch_id: str) -> Source:
    """The images listed in a CSV, JSON or JSON lines file, local or in S3."""
    kind = place.rpartition(".")[2].lower()
    if kind not in MANIFESTS:
        raise SconesError(f"{place} is no manifest: expected a file that ends in .csv, .json or .jsonl")
    names, s3 = connection.names, connection.client("s3")
    if place.startswith("s3://"):
        bucket, key = _in_data_bucket(connection, place)
        if not object_exists(s3, bucket, key):
            raise SconesError(f"there is no {place}: expected a manifest")
    else:
        if not Path(place).is_file():
            raise SconesError(f"{place} is not a file: expected a manifest")
        bucket, key = names.data_bucket, f"{names.batches_prefix}/{batch_id}/manifest.{kind}"
        s3.upload_file(place, bucket, key)
    return {"source": kind, "s3_bucket": bucket, "s3_key": key}


def failures(connection: Connection, run: str) -> Source:
    """The images that failed in an earlier batch."""
    batch_id = id_of(run)
    left = summary(connection, batch_id)["left_uri"]
    if left is None:
        raise SconesError(f"no image of batch {batch_id} failed: there is nothing to do again")
    bucket, key = split_uri(left)
    return {"source": "jsonl", "s3_bucket": bucket, "s3_key": key}


def summary(connection: Connection, batch_id: str) -> SummaryDocument:
    """What the workflow wrote of a batch that has ended. SconesError when there is none."""
    names, s3 = connection.names, connection.client("s3")
    key = f"{names.batches_prefix}/{batch_id}/summary.json"
    if object_exists(s3, names.data_bucket, key):
        document: SummaryDocument = json.loads(s3.get_object(Bucket=names.data_bucket, Key=key)["Body"].read())
        return document
    status = _describe(connection, batch_id)["status"]
    if status == "RUNNING":
        raise SconesError(f"batch {batch_id} is still running: see `scones batch --follow {batch_id}`")
    raise SconesError(f"batch {batch_id} ended {status} without a summary: start it again with the images it was given")


def id_of(run: str) -> str:
    """A batch's id from itself or from the ARN of its execution."""
    return run.rpartition(":")[2]


def start(connection: Connection, batch_id: str, source: Source, limits: BatchLimits) -> None:
    """Start the workflow under the batch's name."""
    document = {
        **source,
        "max_concurrency": limits.max_concurrency,
        "batch_size": limits.batch_size,
        "tolerated_failure_percentage": limits.tolerated_failure_percentage,
    }
    connection.client("stepfunctions").start_execution(
        stateMachineArn=_arn(connection, "stateMachine"), name=batch_id, input=json.dumps(document)
    )


def _arn(connection: Connection, kind: str, name: str = "") -> str:
    names = connection.names
    arn = f"arn:aws:states:{names.region}:{names.account_id}:{kind}:{names.batch_workflow}"
    return f"{arn}:{name}" if name else arn


def _describe(connection: Connection, batch_id: str) -> DescribeExecutionOutputTypeDef:
    try:
        found = connection.client("stepfunctions").describe_execution(
            executionArn=_arn(connection, "execution", batch_id)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"ExecutionDoesNotExist", "InvalidArn", "ValidationException"}:
            raise
        raise SconesError(f"there is no batch {batch_id!r}") from error
    return found


def follow(connection: Connection, batch_id: str, show: Show) -> Ended:
    """Wait until the batch ends. SconesError when it leaves no summary."""
    states = connection.client("stepfunctions")
    pause = min(0.1, connection.settings.poll_interval_s)
    while (execution := _describe(connection, batch_id))["status"] == "RUNNING":
        if progress := _progress(states, execution["executionArn"]):
            show(progress)
        time.sleep(pause)
        pause = min(1.5 * pause, connection.settings.poll_interval_s)
    return _ended(batch_id, execution)


def _progress(states: SFNClient, arn: str) -> BatchProgress | None:
    runs = states.list_map_runs(executionArn=arn)["mapRuns"]
    if not runs:
        return None
    counts = states.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["itemCounts"]
    done = counts["succeeded"] + counts["failed"] + counts["timedOut"] + counts["aborted"]
    return BatchProgress(counts["total"], done)


def _ended(batch_id: str, execution: DescribeExecutionOutputTypeDef) -> Ended:
    if execution["status"] == "SUCCEEDED":
        return Ended(batch_id, json.loads(execution["output"]))
    error, cause = execution.get("error", ""), execution.get("cause", "")
    try:
        document = json.loads(cause)
        if "summary_uri" in document:
            return Ended(batch_id, document, error)
    except (ValueError, TypeError):
        pass  # the cause of another error is a sentence
    raise SconesError(f"batch {batch_id} ended {execution['status']}: {' '.join(f'{error} {cause}'.split())[:500]}")


def stop(connection: Connection, run: str) -> str:
    """Stop a batch that runs; answers its id."""
    batch_id = id_of(run)
    found = _describe(connection, batch_id)
    if found["status"] != "RUNNING":
        raise SconesError(f"batch {batch_id} is not running: it ended {found['status']}")
    connection.client("stepfunctions").stop_execution(
        executionArn=found["executionArn"], error="Stopped", cause="stopped with `scones batch --stop`"
    )
    return batch_id


def failed_images(connection: Connection, ended: Ended, at_most: int = FAILURES_SHOWN) -> list[FailedImage]:
    """The first failed images, with error and reason, as the results say."""
    if not ended.summary["failed"]:
        return []
    bucket, key = split_uri(ended.summary["results_uri"])
    found: list[FailedImage] = []
    for line in connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].iter_lines():
        row: FailedImage = json.loads(line)
        if row["status"] == "failed":
            found.append(row)
        if len(found) == at_most:
            break
    return found
