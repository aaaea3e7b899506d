"""The batch workflow's last function: what became of the images, as JSON lines and in figures.

Runs in Lambda. Reads the files that the Distributed Map's ResultWriter left below ``batches/<batch id>/map/``, piece by
piece, so that memory does not grow with the batch; writes ``results.jsonl`` (a line for each image), ``left.jsonl`` (a
manifest of the failed ones, for a restart) and ``summary.json`` below ``batches/<batch id>/``. Fails the execution
when more images failed than are tolerated.
"""

from __future__ import annotations

import codecs
import functools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import boto3

from lambdas.inference.body import WorkflowFault
from lambdas.inference.telemetry import logger, observed

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

CHUNK_BYTES = 1024 * 1024
TOLERANCE_EXCEEDED = "States.ExceedToleratedFailureThreshold"
PREFIX = "batches"


class TOLERATED_FAILURES_EXCEEDED(WorkflowFault):  # noqa: N801  # Step Functions shows the class name as the error
    """More images failed than the input tolerates. The message is the summary as JSON."""


class BATCH_INCOMPLETE(WorkflowFault):  # noqa: N801  # as above
    """The map ended before every image had its turn. The message is the summary as JSON."""


class SummaryEvent(TypedDict):
    """What the state machine tells of a map that ended; ``map_error`` is the error's name, or None."""

    batch_id: str
    source: str
    s3_bucket: str
    results_bucket: str
    started_at: str
    tolerated_failure_percentage: float
    map_error: NotRequired[str | None]


class BatchSummary(TypedDict):
    """``summary.json``: counts of images and the addresses of the rows; times are ISO 8601 in UTC."""

    batch_id: str
    source: str
    items: int
    passed: int
    needs_review: int
    failed: int
    skipped: int
    classes: dict[str, dict[str, int]]
    errors: dict[str, int]
    failed_percentage: float
    tolerated_failure_percentage: float
    results_uri: str
    left_uri: str | None
    summary_uri: str
    started_at: str
    finished_at: str
    status: str


class OutcomeRow(TypedDict):
    """One line of ``results.jsonl``: the members of `lambdas.classify_batch.BatchRow`."""

    s3_bucket: str
    s3_key: str
    inference_id: str | None
    status: str
    predicted_label: str | None
    confidence: float | None
    threshold: float | None
    model_package_arn: str | None
    error: str | None
    reason: str | None


class ResultFile(TypedDict):
    """One file of the ResultWriter's."""

    Key: str


class ResultManifest(TypedDict):
    """The ResultWriter's manifest: files by the status of the children in them."""

    DestinationBucket: str
    ResultFiles: dict[str, list[ResultFile]]


class ChildExecution(TypedDict):
    """A child of the map as the ResultWriter writes it; ``Input`` and ``Output`` are JSON text."""

    Input: str
    Output: NotRequired[str]
    Error: NotRequired[str]
    Cause: NotRequired[str]


@dataclass
class BatchTally:
    """Counts of outcomes."""

    statuses: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, row: OutcomeRow) -> None:
        """Count one image."""
        self.statuses[row["status"]] += 1
        if row["status"] == "failed":
            self.errors[str(row["error"])] += 1
        elif row["predicted_label"] is not None:
            self.classes.setdefault(row["predicted_label"], Counter(passed=0, needs_review=0))[row["status"]] += 1

    @property
    def items(self) -> int:
        """Images, without the folder markers that were skipped."""
        return self.statuses.total() - self.statuses["skipped"]

    @property
    def failed_percentage(self) -> float:
        """Of the images, 0 to 100."""
        return round(100 * self.statuses["failed"] / self.items, 3) if self.items else 0.0


@functools.cache
def s3_client() -> S3Client:
    """Return the function's client, made once."""
    return boto3.client("s3")


@observed
def handler(event: SummaryEvent, _context: object) -> BatchSummary:
    """Write the batch's files; raises TOLERATED_FAILURES_EXCEEDED or BATCH_INCOMPLETE where too little succeeded."""
    summary = summarize(event, s3_client())
    logger.info(
        "batch summarized",
        batch_id=summary["batch_id"],
        items=summary["items"],
        failed=summary["failed"],
        status=summary["status"],
    )
    return checked(summary, event.get("map_error"))


def summarize(event: SummaryEvent, s3: S3Client) -> BatchSummary:
    """Write the three files and return the summary."""
    bucket, batch_id = event["results_bucket"], event["batch_id"]
    base = f"{PREFIX}/{batch_id}"
    manifest = newest_manifest(s3, bucket, f"{base}/map/")
    tally = BatchTally()
    with tempfile.TemporaryDirectory() as folder:
        results, left = Path(folder, "results.jsonl"), Path(folder, "left.jsonl")
        with results.open("w", encoding="utf-8") as all_rows, left.open("w", encoding="utf-8") as failed_rows:
            for row in rows(s3, manifest, event):
                tally.add(row)
                all_rows.write(json.dumps(row) + "\n")
                if row["status"] == "failed":
                    place = {"s3_bucket": row["s3_bucket"], "s3_key": row["s3_key"]}
                    failed_rows.write(json.dumps(place) + "\n")
        s3.upload_file(str(results), bucket, f"{base}/{results.name}")
        if tally.statuses["failed"]:
            s3.upload_file(str(left), bucket, f"{base}/{left.name}")
    summary: BatchSummary = {
        "batch_id": batch_id,
        "source": event["source"],
        "items": tally.items,
        "passed": tally.statuses["passed"],
        "needs_review": tally.statuses["needs_review"],
        "failed": tally.statuses["failed"],
        "skipped": tally.statuses["skipped"],
        "classes": {name: dict(counts) for name, counts in sorted(tally.classes.items())},
        "errors": dict(tally.errors.most_common()),
        "failed_percentage": tally.failed_percentage,
        "tolerated_failure_percentage": event["tolerated_failure_percentage"],
        "results_uri": f"s3://{bucket}/{base}/results.jsonl",
        "left_uri": f"s3://{bucket}/{base}/left.jsonl" if tally.statuses["failed"] else None,
        "summary_uri": f"s3://{bucket}/{base}/summary.json",
        "started_at": event["started_at"],
        "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "status": "incomplete" if event.get("map_error") else "complete",
    }
    document = json.dumps(summary, indent=2) + "\n"
    s3.put_object(Bucket=bucket, Key=f"{base}/summary.json", Body=document.encode(), ContentType="application/json")
    return summary


def checked(summary: BatchSummary, map_error: str | None) -> BatchSummary:
    """The summary, unless too much failed."""
    too_many = summary["failed_percentage"] > summary["tolerated_failure_percentage"]
    if too_many or map_error == TOLERANCE_EXCEEDED:
        raise TOLERATED_FAILURES_EXCEEDED(json.dumps(summary))
    if map_error:
        raise BATCH_INCOMPLETE(json.dumps({**summary, "map_error": map_error}))
    return summary


def newest_manifest(s3: S3Client, bucket: str, prefix: str) -> ResultManifest:
    """The ResultWriter's manifest; an empty one when the map ended before it wrote any."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [o for page in pages for o in page.get("Contents", []) if o["Key"].endswith("/manifest.json")]
    if not found:
        return {"DestinationBucket": bucket, "ResultFiles": {}}
    newest = max(found, key=lambda item: item["LastModified"])
    document: ResultManifest = json.loads(s3.get_object(Bucket=bucket, Key=newest["Key"])["Body"].read())
    return document


def rows(s3: S3Client, manifest: ResultManifest, event: SummaryEvent) -> Iterator[OutcomeRow]:
    """A row for each image: its own outcome, or that of the child that did not get to tell."""
    bucket = manifest["DestinationBucket"]
    for status, files in manifest["ResultFiles"].items():
        for file in files:
            for child in elements(s3.get_object(Bucket=bucket, Key=file["Key"])["Body"]):
                if status == "SUCCEEDED":
                    yield from json.loads(child["Output"])["outcomes"]
                else:
                    yield from lost(child, status, event)


def lost(child: ChildExecution, status: str, event: SummaryEvent) -> Iterator[OutcomeRow]:
    """The rows of a child that failed or was not started."""
    items = json.loads(child["Input"])["Items"]
    for item in (item if isinstance(item, dict) else {} for item in items):
        yield {
            "s3_bucket": item.get("s3_bucket") or event["s3_bucket"],
            "s3_key": item.get("s3_key") or item.get("Key") or "",
            "status": "failed",
            "inference_id": None,
            "predicted_label": None,
            "confidence": None,
            "threshold": None,
            "model_package_arn": None,
            "error": child.get("Error") or f"BatchOfIt{status.capitalize()}",
            "reason": str(child.get("Cause") or "the batch that it was in did not run")[:300],
        }


def elements(stream: StreamingBody) -> Iterator[ChildExecution]:
    """The objects of a JSON array in a stream, or of JSON lines, one at a time."""
    decoder, text = json.JSONDecoder(), ""
    read = codecs.getincrementaldecoder("utf-8")()
    for chunk in stream.iter_chunks(CHUNK_BYTES):
        text += read.decode(chunk)
        while text := text.lstrip(" \r\n\t,[]"):
            try:
                element, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break  # it goes on in the next chunk
            yield element
            text = text[end:]
    if text:
        raise ValueError(f"the file ends within an element: {text[:80]!r}")
