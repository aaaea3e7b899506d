"""Data capture: what went into an endpoint and came out of it, as JSON lines in S3.

Runs in the server process. Answers are handed over in the request path, a thread writes them: every two seconds, or
every hundred lines, one object a variant, as
``{DestinationS3Uri}/{endpoint}/{variant}/yyyy/mm/dd/hh/MM-SS-mmm-{uuid}.jsonl``. AWS writes minutes later. What is not
in S3 when the account stops is kept in its snapshot ``data-capture`` and uploaded at the next start.

Only answers of status 200 are captured: AWS documents that capture records what an endpoint answers and says nothing
of failed invocations; Model Monitor's analyser expects every line to hold a prediction.
"""

from __future__ import annotations

import base64
import json
import logging
import queue
import random
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.base import clock
from local_account.protocol.actions import Json

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import PutObjectRequestTypeDef
    from types_boto3_sagemaker.type_defs import CaptureContentTypeHeaderOutputTypeDef, DataCaptureConfigOutputTypeDef

log = logging.getLogger(__name__)

FLUSH_S = 2.0
POLL_S = 0.25
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
    role: str = ""
    kms_key: str = ""


def encode(content_type: str, data: bytes, mode: str, headers: CaptureContentTypeHeaderOutputTypeDef) -> dict[str, str]:
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


def capture_line(config: DataCaptureConfigOutputTypeDef, exchange: Exchange) -> str:
    """The JSON line of one exchange, in SageMaker's layout."""
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    headers = config.get("CaptureContentTypeHeader", {})
    data = {}
    if modes & {"Input", "InputAndOutput"}:
        data["endpointInput"] = encode(exchange.request_type, exchange.request, "INPUT", headers)
    if modes & {"Output", "InputAndOutput"}:
        data["endpointOutput"] = encode(exchange.answer_type, exchange.answer, "OUTPUT", headers)
    metadata: dict[str, Json] = {"eventId": str(uuid.uuid4())}
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
        self._recorded: queue.SimpleQueue[tuple[DataCaptureConfigOutputTypeDef, Exchange, str]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._open: dict[tuple[str, str, str, str], list[str]] = {}
        self._unsent: list[_Object] = []
        account.before_clock_moves.append(self._flush)
        account.snapshots.register("data-capture", self._dump, self._load)
        threading.Thread(target=self._run, name="data-capture", daemon=True).start()

    def record(self, config: DataCaptureConfigOutputTypeDef | None, exchange: Exchange, role: str) -> None:
        """Capture an exchange if the endpoint's DataCaptureConfig says so; the model's role writes it."""
        if not config or not config.get("EnableCapture", False):
            return
        if random.random() * 100 >= config["InitialSamplingPercentage"]:  # noqa: S311 (a sample of the traffic)
            return
        self._recorded.put((config, exchange, role))
        self._account.snapshots.mark_dirty("data-capture")

    def _run(self) -> None:
        written = time.monotonic()
        while not self._account.stopping.wait(POLL_S):
            if time.monotonic() - written < FLUSH_S and self._recorded.qsize() < FLUSH_LINES:
                continue
            written = time.monotonic()
            self._flush()

    def _flush(self) -> None:
        with self._flushing:
            self._write()

    def _write(self) -> None:
        with self._lock:
            self._gather()
            self._unsent += [item for key, lines in self._open.items() for item in _objects(key, lines)]
            self._open = {}
            unsent = list(self._unsent)
        for item in unsent:
            try:
                self._account.client("s3", item.role).put_object(**_request(item))
            except ClientError as error:  # no such bucket, no permission: trying again would not help
                log.warning("captured data could not be written to s3://%s/%s: %s", item.bucket, item.key, error)
            except BotoCoreError:  # the account is starting or stopping: try again
                return
            with self._lock:
                self._unsent.remove(item)
            self._account.snapshots.mark_dirty("data-capture")

    def _gather(self) -> None:
        while not self._recorded.empty():
            config, exchange, role = self._recorded.get()
            hour = datetime.fromtimestamp(exchange.at, UTC).strftime("%Y/%m/%d/%H")
            address = urlsplit(config["DestinationS3Uri"])
            prefix = "/".join(filter(None, (address.path.strip("/"), exchange.endpoint, exchange.variant, hour)))
            self._open.setdefault((address.netloc, prefix, role, config.get("KmsKeyId", "")), []).append(
                capture_line(config, exchange)
            )

    def _dump(self) -> bytes:
        with self._lock:
            self._gather()
            return json.dumps(
                {"open": [[*key, lines] for key, lines in self._open.items()], "unsent": self._unsent}
            ).encode()

    def _load(self, content: bytes) -> None:
        state = json.loads(content)
        # State of an older version has no role, or no key.
        self._open = {(bucket, prefix, *[*more, "", ""][:2]): lines for bucket, prefix, *more, lines in state["open"]}
        self._unsent = [_Object(*item) for item in state["unsent"]]


def _request(item: _Object) -> PutObjectRequestTypeDef:
    request: PutObjectRequestTypeDef = {
        "Bucket": item.bucket,
        "Key": item.key,
        "Body": item.body.encode(),
        "ContentType": "application/json",
    }
    if item.kms_key:
        request |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": item.kms_key}
    return request


def _objects(key: tuple[str, str, str, str], lines: list[str]) -> list[_Object]:
    bucket, prefix, role, kms_key = key
    objects = []
    for start in range(0, len(lines), FLUSH_LINES):
        name = f"{clock.now().strftime('%M-%S-%f')[:-3]}-{uuid.uuid4()}.jsonl"
        objects.append(
            _Object(
                bucket, f"{prefix}/{name}", "".join(f"{x}\n" for x in lines[start : start + FLUSH_LINES]), role, kms_key
            )
        )
    return objects
