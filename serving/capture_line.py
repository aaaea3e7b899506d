"""One request and its answer as a line of SageMaker's data capture.

Runs in the hosting container. Values in, text out.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """One request and its answer; times are seconds since 1970."""

    body: bytes | str
    content_type: str
    answer: str
    answer_type: str
    inference_id: str = ""
    attributes: str = ""
    time: float = 0.0

    def __len__(self) -> int:
        return len(self.body) + len(self.answer) + 500


def line_of(record: AnsweredRequest, max_input_bytes: int) -> str:
    """The record as a line of data capture, without its end; an input that is larger is left out."""
    data: dict[str, object] = {}
    if len(record.body) <= max_input_bytes:
        data["endpointInput"] = _input(record)
    data["endpointOutput"] = {
        "observedContentType": record.answer_type, "mode": "OUTPUT", "data": record.answer, "encoding": "JSON",
    }  # fmt: skip
    moment = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    metadata: dict[str, object] = {"eventId": str(uuid.UUID(int=random.getrandbits(128), version=4))}
    metadata |= {"customAttributes": [record.attributes]} if record.attributes else {}
    metadata |= {"inferenceId": record.inference_id} if record.inference_id else {}
    metadata["inferenceTime"] = moment
    document = {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(document, separators=(",", ":"))


def _input(record: AnsweredRequest) -> dict[str, str]:
    body = record.body.encode() if isinstance(record.body, str) else record.body
    encoding, text = "BASE64", ""
    if record.content_type.partition(";")[0].strip().lower() == "application/json":
        with contextlib.suppress(UnicodeDecodeError):  # not the text that its content type promises
            encoding, text = "JSON", body.decode()
    if encoding == "BASE64":
        text = base64.b64encode(body).decode()
    return {"observedContentType": record.content_type, "mode": "INPUT", "data": text, "encoding": encoding}
