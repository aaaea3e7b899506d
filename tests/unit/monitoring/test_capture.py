"""Captured traffic is read as SageMaker writes it, in every encoding, and nothing is lost silently."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitoring.store.window_table import CaptureError, Captures, Window, read_captures
from tests.places import SAMPLES

ENDPOINT, VARIANT = "vehicles", "AllTraffic"
WINDOW = Window(datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC))
PNG = b"\x89PNG\r\n\x1a\n-these-bytes-stand-for-an-image"
SAMPLE = SAMPLES / "capture.jsonl"


def output(data: str = "[0.9,0.1]", encoding: str = "JSON", kind: str = "application/json") -> dict[str, Any]:
    return {"observedContentType": kind, "mode": "OUTPUT", "data": data, "encoding": encoding}


def line(
    event_id: str = "e1",
    time: str = "2026-03-01T10:30:00Z",
    answer: dict[str, Any] | None = None,
    image: bytes | None = PNG,
    inference_id: str | None = None,
) -> str:
    capture: dict[str, Any] = {"endpointOutput": output() if answer is None else answer}
    if image is not None:
        data = base64.b64encode(image).decode()
        capture["endpointInput"] = {
            "observedContentType": "image/png", "mode": "INPUT", "data": data, "encoding": "BASE64",
        }  # fmt: skip
    metadata = {"eventId": event_id, "inferenceTime": time}
    if inference_id is not None:
        metadata["inferenceId"] = inference_id
    return json.dumps({"captureData": capture, "eventMetadata": metadata, "eventVersion": "0"})


def write(root: Path, *lines: str | bytes, hour: str = "2026/03/01/10", name: str = "30-00-000-a.jsonl") -> Path:
    folder = root / ENDPOINT / VARIANT / hour
    folder.mkdir(parents=True, exist_ok=True)
    raw = [text if isinstance(text, bytes) else text.encode() for text in lines]
    (folder / name).write_bytes(b"".join(text + b"\n" for text in raw))
    return folder / name


def read(root: Path, window: Window = WINDOW, endpoint: str | None = None) -> Captures:
    return read_captures(root, window, class_count=2, endpoint=endpoint)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "answer",
    [
        output("[0.25, 0.75]"),
        output("[[0.25, 0.75]]"),
        output(b64(b"[0.25,0.75]"), "BASE64"),
        output(b64(b"[0.25,0.75]"), "BASE64", "application/json; charset=utf-8"),
        output(b64("[0.25,0.75]".encode("utf-16")), "BASE64", "application/json; charset=utf-16"),
        output("0.25,0.75", "CSV", "text/csv"),
        output("0.25,0.75\n", "CSV", "text/csv; charset=utf-8"),
        output("0.25,0.75", "CSV", 'Text/CSV; charset="US-ASCII"; header=absent'),
        output(b64(b"0.25,0.75\r\n"), "BASE64", "text/csv; charset=utf-8"),
        output(b64(b"0.25,0.75"), "BASE64", "text/csv;charset=latin-1"),
    ],
)
def test_every_encoding_of_the_output_gives_the_same_prediction(tmp_path: Path, answer: dict[str, Any]) -> None:
    write(tmp_path, line(answer=answer, inference_id="execution-7"))
    captures = read(tmp_path)
    (row,) = captures.frame.to_dict("records")
    assert captures.quarantined == ()
    assert row["probabilities"] == (0.25, 0.75)
    assert (row["predicted"], row["confidence"]) == (1, 0.75)
    assert (row["event_id"], row["inference_id"]) == ("e1", "execution-7")
    assert (row["endpoint"], row["variant"]) == (ENDPOINT, VARIANT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T10:30:05Z", datetime(2026, 3, 1, 10, 30, 5, tzinfo=UTC)),
        ("2026-03-01T10:30:05.250Z", datetime(2026, 3, 1, 10, 30, 5, 250_000, tzinfo=UTC)),
        ("2026-03-01T10:30:05.123456789Z", datetime(2026, 3, 1, 10, 30, 5, 123_456, tzinfo=UTC)),
        ("2026-03-01T11:30:05+01:00", datetime(2026, 3, 1, 10, 30, 5, tzinfo=UTC)),
        ("2026-03-01T10:30:05", datetime(2026, 3, 1, 10, 30, 5, tzinfo=UTC)),
    ],
)
def test_times_with_and_without_fractions_are_utc(tmp_path: Path, text: str, expected: datetime) -> None:
    write(tmp_path, line(time=text))
    assert read(tmp_path).frame["time"][0] == expected


def test_the_window_is_closed_at_its_start_and_open_at_its_end(tmp_path: Path) -> None:
    times = ["09:59:59.999", "10:00:00", "11:59:59.999", "12:00:00"]
    write(tmp_path, *(line(f"e{i}", f"2026-03-01T{t}Z") for i, t in enumerate(times)))
    captures = read(tmp_path)
    assert list(captures.frame["event_id"]) == ["e1", "e2"]
    assert captures.outside_window == 2


def test_a_late_record_in_a_later_folder_counts_and_far_folders_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, line("early"), hour="2026/03/01/09")
    write(tmp_path, line("late"), hour="2026/03/01/13")
    write(tmp_path, line("much-earlier"), hour="2026/03/01/08")
    write(tmp_path, line("much-later"), hour="2026/03/01/14")
    captures = read(tmp_path)
    assert sorted(captures.frame["event_id"]) == ["early", "late"]
    assert [file.split("/")[-2] for file in captures.files] == ["09", "13"]


def test_an_event_captured_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, line("a"), line("b"), line("a"))
    write(tmp_path, line("b"), name="31-00-000-b.jsonl")
    captures = read(tmp_path)
    assert sorted(captures.frame["event_id"]) == ["a", "b"]
    assert captures.duplicates == 2


MALFORMED = {
    "not JSON": b'{"captureData": ',
    "not JSON: 'utf-8' codec": b'{"captureData": "\xff"}',
    "expected a JSON object, got an array": b"[]",
    "expected the object eventMetadata, got nothing": b"{}",
    "inferenceTime: expected an ISO 8601 time": line(time="yesterday").encode(),
    "expected text in eventMetadata.eventId": line(event_id="").encode(),
    "eventMetadata.eventId is not valid Unicode": line(event_id="\ud800").encode(),
    "expected the object endpointOutput, got nothing": line(answer={}).replace("endpointOutput", "other").encode(),
    "expected text in data": line(answer={"encoding": "JSON"}).encode(),
    "expected the encoding JSON, CSV or BASE64, got 'GZIP'": line(answer=output(encoding="GZIP")).encode(),
    "data is not BASE64": line(answer=output("[0.9,0.1]", "BASE64")).encode(),
    "endpointOutput.data is not JSON": line(answer=output("oops")).encode(),
    "expected an array of probabilities, got an object": line(answer=output('{"a": 1}')).encode(),
    "expected 2 probabilities, got 3": line(answer=output("[0.5,0.3,0.2]")).encode(),
    "expected the answer for one image, got 2": line(answer=output("[[0.5,0.5],[0.1,0.9]]")).encode(),
    "a probability is not a number": line(answer=output('["a","b"]')).encode(),
    "between 0 and 1, got nan": line(answer=output("[NaN, 1.0]")).encode(),
    "between 0 and 1, got 1.5": line(answer=output("[1.5, -0.5]")).encode(),
    "must sum to 1, got 1.4": line(answer=output("[0.7, 0.7]")).encode(),
    "cannot be decoded as utf-9": line(answer=output(b64(b"1,0"), "BASE64", "text/csv; charset=utf-9")).encode(),
    "data cannot be read in the charset": line(answer=output("1,\u20ac", "CSV", "text/csv; charset=ascii")).encode(),
}


def test_every_malformed_line_is_quarantined_with_its_place_and_reason(tmp_path: Path) -> None:
    file = write(tmp_path, line("good"), b"", *MALFORMED.values()).relative_to(tmp_path).as_posix()
    captures = read(tmp_path)
    assert list(captures.frame["event_id"]) == ["good"]
    found = [(bad.file, bad.line, bad.reason) for bad in captures.quarantined]
    assert [(name, number) for name, number, _ in found] == [(file, i) for i in range(3, 3 + len(MALFORMED))]
    for expected, (_, _, reason) in zip(MALFORMED, found, strict=True):
        assert expected in reason

    captures.write_quarantine(tmp_path / "quarantine.jsonl")
    rows = [json.loads(text) for text in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert [(row["file"], row["line"], row["reason"]) for row in rows] == found
    assert rows[0]["text"] == '{"captureData": '
    assert rows[1]["text"] == '{"captureData": "\\xff"}'


def test_deeply_nested_text_is_malformed_rather_than_a_crash(tmp_path: Path) -> None:
    write(tmp_path, b"[" * 200_000, line(answer=output("[" * 200_000)), line("good"))
    captures = read(tmp_path)
    assert len(captures.frame) == 1
    assert len(captures.quarantined) == 2


def test_a_malformed_line_counts_in_the_window_of_its_time_or_else_of_its_folder(tmp_path: Path) -> None:
    late = line("late", "2026-03-01T11:59:00Z", output("oops"))
    write(tmp_path, late, "{", hour="2026/03/01/12")
    first = read(tmp_path)
    second = read(tmp_path, Window(WINDOW.end, datetime(2026, 3, 1, 13, tzinfo=UTC)))
    assert [(bad.line, bad.reason[:8]) for bad in first.quarantined] == [(1, "endpoint")]
    assert [(bad.line, bad.reason[:8]) for bad in second.quarantined] == [(2, "not JSON")]
    assert (first.outside_window, second.outside_window) == (1, 1)


def test_images_are_read_on_demand_from_the_right_line(tmp_path: Path) -> None:
    in_json = {"observedContentType": "application/json", "mode": "INPUT", "encoding": "JSON"}
    document = json.loads(line("json", "2026-03-01T10:30:01Z"))
    document["captureData"]["endpointInput"] = {**in_json, "data": json.dumps({"image": b64(b"in-json")})}
    write(
        tmp_path,
        line("later", "2026-03-01T11:00:00Z", image=b"later"),
        json.dumps(document),
        line("first", "2026-03-01T10:00:00Z", image=b"first"),
        line("none", "2026-03-01T11:30:00Z", image=None),
    )
    captures = read(tmp_path)
    assert list(captures.frame["event_id"]) == ["first", "json", "later", "none"]
    assert [captures.image(row) for row in range(4)] == [b"first", b"in-json", b"later", None]


def test_only_the_named_endpoint_is_read(tmp_path: Path) -> None:
    write(tmp_path, line("mine"))
    other = tmp_path / "other" / VARIANT / "2026/03/01/10"
    other.mkdir(parents=True)
    (other / "a.jsonl").write_text(line("theirs") + "\n")
    assert list(read(tmp_path, endpoint=ENDPOINT).frame["event_id"]) == ["mine"]
    assert sorted(read(tmp_path).frame["event_id"]) == ["mine", "theirs"]
    assert list(read(tmp_path / ENDPOINT, endpoint=ENDPOINT).frame["event_id"]) == ["mine"]


def test_an_empty_folder_gives_an_empty_table_with_all_columns(tmp_path: Path) -> None:
    write(tmp_path, line())
    expected = list(read(tmp_path).frame.columns)
    empty = tmp_path / "empty"
    empty.mkdir()
    frame = read(empty).frame
    assert len(frame) == 0
    assert list(frame.columns) == expected


def test_a_missing_folder_and_a_window_without_extent_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="expected a folder of captured traffic"):
        read(tmp_path / "nowhere")
    with pytest.raises(CaptureError, match="start must lie before its end"):
        Window(WINDOW.start, WINDOW.start)


def test_the_sample_of_the_contract_is_read(tmp_path: Path) -> None:
    write(tmp_path, *SAMPLE.read_text().splitlines())
    captures = read(tmp_path)
    assert captures.quarantined == ()
    assert [tuple(p) for p in captures.frame["probabilities"]] == [(0.98, 0.02), (0.03, 0.97), (0.4, 0.6), (0.75, 0.25)]
    first = captures.image(0)
    assert first is not None
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert captures.image(3) is None
