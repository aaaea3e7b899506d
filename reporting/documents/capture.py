"""A line of SageMaker data capture: one request to an endpoint and its answer (``*.jsonl`` below the capture prefix).

SageMaker's hosts write it; the monitoring job and ``scones`` read it. Names are SageMaker's (Amazon SageMaker developer
guide, "Capture data"). The monitoring job takes nothing for granted and has its own reader: `monitoring.captures.line`.
"""

from __future__ import annotations

import msgspec


class Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What went over the wire; ``encoding`` is BASE64, JSON or CSV, and says what ``data`` is."""

    observed_content_type: str = "application/octet-stream"
    mode: str
    data: str
    encoding: str


class CaptureData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The request, where it was captured, and the answer."""

    endpoint_input: Payload | None = None
    endpoint_output: Payload


class CaptureMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which request, and when it was answered, in ISO 8601 and UTC; ``inference_id`` where the caller sent one."""

    event_id: str
    inference_time: str
    inference_id: str | None = None
    custom_attributes: list[str] | None = None


class CaptureLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The whole line."""

    capture_data: CaptureData
    event_metadata: CaptureMetadata
    event_version: str = ""
