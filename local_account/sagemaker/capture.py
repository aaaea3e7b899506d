"""Data capture: what went into an endpoint and came out of it, as JSON lines in S3.

Runs in the server process. Answers are handed over in the request path, a thread writes them: every two seconds, or
every hundred lines, one object a variant, as
``{DestinationS3Uri}/{endpoint}/{variant}/yyyy/mm/dd/hh/MM-SS-mmm-{uuid}.jsonl``. AWS writes minutes later. What could
not be uploaded when the account stops lies in ``<state>/capture-unsent.jsonl`` and is uploaded at the next start.

Only answers of status 200 are captured: AWS documents that capture records what an endpoint answers and says nothing
of failed invocations; Model Monitor's analyser expects every line to hold a prediction.
"""

from __future__ import annotations

import atexit
import base64
import json
import logging
import queue
import random
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account

log = logging.getLogger(__name__)

FLUSH_S = 2.0
FLUSH_LINES = 100


class Exchange(NamedTuple):
    """One answered invocation."""

    endpoint: str
    variant: str
    at: float
    inference_id: str | None
    custom_attributes: str | None
    request_type: str
    request: bytes
    answer_type: str
    answer: bytes


class _Object(NamedTuple):
    bucket: str
    key: str
    body: str


def encode(content_type: str, data: bytes, mode: str, headers: dict[str, list[str]]) -> dict[str, str]:
    """One side of a captured exchange; ``headers`` is the configuration's CaptureContentTypeHeader."""
    kind = content_type.partition(";")[0].strip().lower()
    encoding = "BASE64"
    if kind in (t.lower() for t in headers.get("JsonContentTypes", [])):
        encoding = "JSON"
    elif kind in (t.lower() for t in headers.get("CsvContentTypes", [])):
        encoding = "CSV"
    try:
        text = base64.b64encode(data).decode() if encoding == "BASE64" else data.decode()
    except UnicodeDecodeError:  # not the text its content type promises: keep every byte
        encoding, text = "BASE64", base64.b64encode(data).decode()
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}


def capture_line(config: dict[str, Any], exchange: Exchange) -> str:
    """The JSON line of one exchange, in SageMaker's layout."""
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    headers = config.get("CaptureContentTypeHeader", {})
    data = {}
    if modes & {"Input", "InputAndOutput"}:
        data["endpointInput"] = encode(exchange.request_type, exchange.request, "INPUT", headers)
    if modes & {"Output", "InputAndOutput"}:
        data["endpointOutput"] = encode(exchange.answer_type, exchange.answer, "OUTPUT", headers)
    metadata: dict[str, Any] = {"eventId": str(uuid.uuid4())}
    if exchange.custom_attributes:
        metadata["customAttributes"] = [exchange.custom_attributes]
    if exchange.inference_id:
        metadata["inferenceId"] = exchange.inference_id
    metadata["inferenceTime"] = datetime.fromtimestamp(exchange.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(
        {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}, separators=(",", ":"), ensure_ascii=False
    )


class Capture:
    """Takes exchanges without blocking and writes them from its own thread."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._waiting: queue.SimpleQueue[tuple[dict[str, Any], Exchange]] = queue.SimpleQueue()
        self._unsent: list[_Object] = []
        self._unsent_file = account.state_dir / "capture-unsent.jsonl"
        self._writing = threading.Lock()
        self._wake = threading.Event()
        if self._unsent_file.is_file():
            self._unsent = [_Object(*json.loads(line)) for line in self._unsent_file.read_text().splitlines()]
        atexit.register(self.close)
        threading.Thread(target=self._run, name="data-capture", daemon=True).start()

    def record(self, config: dict[str, Any] | None, exchange: Exchange) -> None:
        """Capture an exchange if the endpoint's DataCaptureConfig says so."""
        if not config or not config.get("EnableCapture", False):
            return
        if random.random() * 100 >= config["InitialSamplingPercentage"]:  # noqa: S311 (a sample of the traffic)
            return
        self._waiting.put((config, exchange))
        if self._waiting.qsize() >= FLUSH_LINES:
            self._wake.set()

    def _run(self) -> None:
        while not self._account.stopping.is_set():
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            self.flush()

    def flush(self) -> None:
        """Write everything that was recorded so far; what S3 does not take is kept for the next time."""
        with self._writing:
            self._unsent += self._objects()
            left = []
            for item in self._unsent:
                try:
                    self._account.client("s3").put_object(
                        Bucket=item.bucket, Key=item.key, Body=item.body.encode(), ContentType="application/json"
                    )
                except ClientError as error:  # no such bucket: trying again would not help
                    log.warning("captured data could not be written to s3://%s/%s: %s", item.bucket, item.key, error)
                except BotoCoreError:  # the account is starting or stopping
                    left.append(item)
            self._unsent = left
            if not left:
                self._unsent_file.unlink(missing_ok=True)

    def _objects(self) -> list[_Object]:
        batches: dict[tuple[str, str], list[str]] = {}
        while not self._waiting.empty():
            config, exchange = self._waiting.get()
            hour = datetime.fromtimestamp(exchange.at, UTC).strftime("%Y/%m/%d/%H")
            address = urlsplit(config["DestinationS3Uri"])
            prefix = "/".join(filter(None, (address.path.strip("/"), exchange.endpoint, exchange.variant, hour)))
            batches.setdefault((address.netloc, prefix), []).append(capture_line(config, exchange))
        objects = []
        for (bucket, prefix), lines in batches.items():
            for start in range(0, len(lines), FLUSH_LINES):
                name = f"{datetime.now(UTC).strftime('%M-%S-%f')[:-3]}-{uuid.uuid4()}.jsonl"
                body = "".join(f"{line}\n" for line in lines[start : start + FLUSH_LINES])
                objects.append(_Object(bucket, f"{prefix}/{name}", body))
        return objects

    def close(self) -> None:
        """At the end of the process: keep on disk what is not in S3."""
        deadline = time.monotonic() + FLUSH_S
        if not self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return
        try:
            self._unsent += self._objects()
            if self._unsent:
                self._unsent_file.write_text("".join(json.dumps(item) + "\n" for item in self._unsent))
        finally:
            self._writing.release()
