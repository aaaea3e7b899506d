"""What the endpoint answered, written down by its own container in the layout of SageMaker's data capture.

Runs in the hosting container, where SageMaker's own capture is not wanted or not to be had. Reads the environment
(`CaptureOptions.of_environment`); writes ``<uri>/<endpoint>/<variant>/yyyy/mm/dd/hh/MM-SS-mmm-<uuid>.jsonl``. A request
waits for nothing: its record goes to a queue in memory, of which a thread makes lines and one object every few seconds.
The queue is bounded; what does not fit is counted and left out. On SIGTERM, which ends an instance that is scaled in,
and at the interpreter's end all that waits is written.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Literal, Protocol, TypedDict, runtime_checkable

from serving.capture_line import AnsweredRequest, line_of

URI, ENDPOINT, VARIANT = "SCONES_CAPTURE_URI", "SCONES_CAPTURE_ENDPOINT", "SCONES_CAPTURE_VARIANT"
PERCENT, KEY, LARGEST = "SCONES_CAPTURE_PERCENT", "SCONES_CAPTURE_KMS_KEY", "SCONES_CAPTURE_MAX_INPUT_BYTES"
# One object for so many seconds or bytes, whichever comes first: fewer objects are cheaper to write and to read.
EVERY_S = 10.0
OBJECT_BYTES = 4_000_000
# Of a queue that S3 does not take; a container has 2 GB and more.
QUEUE_BYTES = 64_000_000
ATTEMPTS, PAUSE_S = 5, 0.5
INFERENCE_ID_HEADER = "X-Amzn-SageMaker-Inference-Id"  # of the request, where the caller sent one
Put = Callable[[str, bytes], None]


@dataclass(frozen=True)
class CaptureOptions:
    """Where to, and how much: ``percent`` of the requests, inputs of at most so many bytes (0: none)."""

    uri: str
    endpoint: str
    variant: str = "AllTraffic"
    percent: float = 100.0
    kms_key: str = ""
    max_input_bytes: int = 1_000_000
    queue_bytes: int = QUEUE_BYTES
    pause_s: float = PAUSE_S
    """Before the second attempt to write an object; twice as long before each further one."""

    @classmethod
    def of_environment(cls, told: Mapping[str, str]) -> CaptureOptions | None:
        """None where nothing is to be captured. Raises ValueError for a number that is none."""
        if not told.get(URI):
            return None
        return cls(
            told[URI].rstrip("/"),
            told.get(ENDPOINT) or "unknown",
            told.get(VARIANT) or "AllTraffic",
            float(told.get(PERCENT) or 100.0),
            told.get(KEY, ""),
            int(told.get(LARGEST) or 1_000_000),
        )


class CaptureWriter:
    """Takes records from many threads and writes them from one."""

    def __init__(self, options: CaptureOptions, put: Put) -> None:
        self.options = options
        self.left_out = 0
        """Records that did not fit, or that could not be written."""
        self._put = put
        self._waiting: list[AnsweredRequest] = []
        self._bytes = 0
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def add(self, record: AnsweredRequest) -> None:
        """Take a record, if it is one of the sample and there is room."""
        if self.options.percent < 100.0 and random.random() * 100.0 >= self.options.percent:  # noqa: S311 - a sample
            return
        with self._changed:
            if self._bytes + len(record) > self.options.queue_bytes:
                self.left_out += 1
                return
            self._waiting.append(record)
            self._bytes += len(record)
            if self._bytes >= OBJECT_BYTES:
                self._changed.notify()
        if self._closed:
            self.flush()

    def flush(self) -> None:
        """Write all that waits."""
        with self._writing:
            with self._changed:
                taken, self._waiting, self._bytes = self._waiting, [], 0
            for _, of_hour in itertools.groupby(taken, lambda record: int(record.time // 3600)):
                for part in _parts(of_hour):
                    self._write(part)

    def close(self) -> None:
        """Write all that waits; whatever comes later is written at once."""
        self._closed = True
        self.flush()

    def _run(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait(EVERY_S)
            self.flush()

    def _write(self, records: list[AnsweredRequest]) -> None:
        lines = "".join(f"{line_of(record, self.options.max_input_bytes)}\n" for record in records)
        key = self._key(records[0].time)
        for attempt in range(ATTEMPTS):
            try:
                self._put(key, lines.encode())
                return
            # Whatever a client raises: the endpoint answers on, and says what is missing.
            except Exception as error:
                if attempt < ATTEMPTS - 1:
                    time.sleep(self.options.pause_s * 2**attempt)
                else:
                    self._put_back(records, error)

    def _put_back(self, records: list[AnsweredRequest], error: Exception) -> None:
        """Try again later, as far as there is room and a later."""
        size = sum(map(len, records))
        with self._changed:
            kept = not self._closed and self._bytes + size <= self.options.queue_bytes
            if kept:
                self._waiting = [*records, *self._waiting]
                self._bytes += size
            else:
                self.left_out += len(records)
        fate = "are tried again" if kept else "are lost"
        print(f"capture: {len(records)} records could not be written and {fate}: {error}", file=sys.stderr)

    def _key(self, at: float) -> str:
        moment = datetime.fromtimestamp(at, UTC)
        name = f"{moment:%M-%S}-{moment.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
        return f"{self.options.endpoint}/{self.options.variant}/{moment:%Y/%m/%d/%H}/{name}"


def _parts(records: Iterable[AnsweredRequest]) -> Iterable[list[AnsweredRequest]]:
    part: list[AnsweredRequest] = []
    size = 0
    for record in records:
        part.append(record)
        size += len(record)
        if size >= OBJECT_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


class Encryption(TypedDict, total=False):
    """The part of PutObject that says with which key."""

    ServerSideEncryption: Literal["aws:kms"]
    SSEKMSKeyId: str


def put_into(options: CaptureOptions) -> Put:
    """Writes objects below the options' place: ``s3://...``, or a folder."""
    if not options.uri.startswith("s3://"):
        return functools.partial(_put_file, Path(options.uri))
    import boto3  # only where something is captured: it takes a third of a second and 30 MB

    bucket, _, prefix = options.uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    encrypted = (
        Encryption(ServerSideEncryption="aws:kms", SSEKMSKeyId=options.kms_key) if options.kms_key else Encryption()
    )

    def put(name: str, data: bytes) -> None:
        client.put_object(Bucket=bucket, Key=f"{prefix}/{name}" if prefix else name, Body=data, **encrypted)

    return put


def _put_file(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)


@runtime_checkable
class RequestHeaders(Protocol):
    """The part of the toolkit's context that knows a request's headers (TorchServe, ts/context.py)."""

    def get_request_header(self, idx: int, key: str) -> str | None:
        """A header of the ``idx``-th request of a batch, if it has one."""


@functools.cache
def writer() -> CaptureWriter | None:
    """The container's writer, as its environment says; None where nothing is to be captured, or can be.

    What is wrong is said once in the log: an endpoint that cannot capture still answers.
    """
    try:
        options = CaptureOptions.of_environment(os.environ)
        if options is None:
            return None
        made = CaptureWriter(options, put_into(options))
    # Whatever is not there, or is no client.
    except Exception as error:
        print(f"capture: nothing is captured, {type(error).__name__}: {error}", file=sys.stderr)
        return None
    atexit.register(made.close)
    # Python dies of SIGTERM without a word, unless the server has set something of its own.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)
    return made


def _end(number: int, _frame: FrameType | None) -> None:
    found = writer()
    if found is not None:
        found.close()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


_request = threading.local()


def note_request(body: bytes | bytearray | str, content_type: str) -> None:
    """Keep what this thread is about to answer."""
    if writer() is not None:
        _request.seen = (bytes(body) if isinstance(body, bytearray) else body, content_type)


def note_answer(answer: str, answer_type: str, context: object, attributes: str) -> None:
    """Write down this thread's request with its answer; the toolkit's context knows the request's headers."""
    found = writer()
    seen: tuple[bytes | str, str] | None = getattr(_request, "seen", None)
    if found is not None and seen is not None:
        _request.seen = None
        header = context.get_request_header(0, INFERENCE_ID_HEADER) if isinstance(context, RequestHeaders) else None
        inference_id = header if isinstance(header, str) else ""
        found.add(AnsweredRequest(seen[0], seen[1], answer, answer_type, inference_id, attributes, time.time()))
