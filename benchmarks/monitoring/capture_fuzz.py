"""Whether captured lines are read right: ``python -m benchmarks.monitoring.capture_fuzz --lines 200000``.

Runs on a laptop. Makes lines as SageMaker writes them in all their forms, breaks most of them in some way (bytes
replaced, dropped, doubled; pieces of other lines; quotes, backslashes, control characters and look-alikes of field
names where they hurt), writes them to files, and reads these with the fast reader through buffers of many sizes. What
it says of each line must be what reading the line with json says (`monitoring.captures.line`), and for lines that were
left whole, what they were made from. Prints how many lines were of which kind; a difference is printed and ends with 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import uuid
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from monitoring.captures.files import Reader
from monitoring.captures.line import Classes, MalformedLineError, parse_line
from monitoring.captures.times import microseconds
from monitoring.store import hours as store_hours

CLASSES = Classes.of(["bicycle", "motorcycle"])
LINES_PER_FILE = 400
PIECES = [
    b'"', b'\\"', b"\\", b"\\u0041", b"\\ud800", b"\x00", b"\x1f", b"\x7f", b"\xff", "é".encode(), b"\t", b"\r", b" ",
    b'"data":"', b'"endpointOutput":', b'"eventMetadata":{', b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN",
    b"1e999", b"-0", b"0.5", b"true", b'","', b'"}', b'"eventId":"x"', b'"data":""', b'"inferenceId":""', b"[0.1,0.9]",
    b"\xef\xbb\xbf",
]  # fmt: skip

Truth = tuple[str, str | None, int, tuple[float, ...], str | None]
PACKAGE = "arn:aws:sagemaker:eu-west-1:1:model-package/a/1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=20_000, help="lines to read (default: 20,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311 (a test's content)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="scones-fuzz-") as folder:
        while sum(counts.values()) < arguments.lines:
            counts += check_file(Path(folder), chance)
    print(
        f"{sum(counts.values()):,} lines read alike: " + ", ".join(f"{n:,} {kind}" for kind, n in counts.most_common())
    )


def check_file(folder: Path, chance: random.Random) -> Counter[str]:
    """Read one file of lines both ways; SystemExit where they differ."""
    lines: list[bytes] = []
    truths: dict[int, Truth] = {}
    usual = layout(chance)
    for number in range(LINES_PER_FILE):
        line, truth = usual_line(usual if chance.random() < 0.7 else layout(chance), chance)
        if chance.random() < 0.3:
            truths[number] = truth
        else:
            line = broken(line, lines, chance).replace(b"\n", b"")
        lines.append(line)
    content = b"\n".join(lines) + chance.choice([b"\n", b"", b"\r\n"])
    (folder / "a.jsonl").write_bytes(content)
    reader = Reader(folder, CLASSES, buffer_bytes=chance.choice([3_000, 20_000, 100_000, 1 << 20]))
    reader.read("a.jsonl")
    reader.flush()
    return compare(content, reader, truths)


def compare(content: bytes, reader: Reader, truths: dict[int, Truth]) -> Counter[str]:
    rows = store_hours.table(reader.columns, ["a.jsonl"], CLASSES.count).to_pylist()
    good = {row["offset"]: row for row in rows}
    bad = {row.offset: row for row in reader.columns.malformed}
    kinds: Counter[str] = Counter()
    offset = 0
    for number, line in enumerate(content.split(b"\n")):
        if line.strip():
            expected, got = reference(line), fast(offset, number, good, bad)
            if got == ("malformed", "truncated") and expected[0] == "malformed":
                got = expected
            if expected != got or (number in truths and got != ("read", *truths[number])):
                raise SystemExit(f"expected {truths.get(number, expected)}, got {got} for the line {line!r}")
            kinds["read" if expected[0] == "read" else f"malformed ({expected[1]})"] += 1
        elif offset in good or offset in bad:
            raise SystemExit(f"expected nothing of a blank line, got {good.get(offset) or bad.get(offset)}")
        offset += len(line) + 1
    if (
        len(good) + len(bad) != sum(kinds.values())
        or len(rows) != len(good)
        or reader.columns.lines != sum(kinds.values())
    ):
        raise SystemExit(f"expected {sum(kinds.values())} lines, got {len(rows)} read and {len(bad)} malformed")
    return kinds


def fast(offset: int, number: int, good: dict[int, Any], bad: dict[int, Any]) -> tuple[Any, ...]:
    """What the reader says of the line at an offset."""
    if offset in bad:
        return ("malformed", bad[offset].kind) if bad[offset].line == number + 1 else ("wrong line", bad[offset].line)
    row = good.get(offset)
    if row is None:
        return ("missing",)
    return (
        "read",
        row["event_id"],
        row["inference_id"],
        microseconds(row["time"]),
        tuple(row["probabilities"]),
        row["model_version"],
    )


def reference(line: bytes) -> tuple[Any, ...]:
    """What json says of the line."""
    try:
        time, prediction = parse_line(line, CLASSES)
    except MalformedLineError as error:
        return "malformed", error.kind
    return (
        "read",
        prediction.event_id,
        prediction.inference_id,
        microseconds(time),
        prediction.probabilities,
        prediction.model_version,
    )


def layout(chance: random.Random) -> dict[str, Any]:
    """What the lines of one endpoint have in common."""
    return {
        "answer": chance.choice(
            ["json", "json", "json", "spaced", "nested", "base64", "csv", "csv64", "verbose", "utf-16"]
        ),
        "inference_id": chance.random() < 0.6,
        "input": chance.random() < 0.8,
        "image_bytes": chance.choice([300, 700, 2_000]),
        "attributes": chance.random() < 0.3,
        "fraction": chance.choice(["", "", "", ".250", ".123456", ".123456789"]),
        "hour": chance.choice([None, chance.randrange(1, 4_000_000_000)]),  # of all lines, as in an hour's file
        "separators": chance.choice([(",", ":"), (",", ":"), (",", ":"), (", ", ": ")]),
        "order": chance.random() < 0.1,
    }


def usual_line(form: dict[str, Any], chance: random.Random) -> tuple[bytes, Truth]:
    """A line, and what it says."""
    first = round(chance.random(), chance.choice([2, 6, 16]))
    values = (first, round(1 - first, 6) if chance.random() < 0.9 else 1 - first)
    capture = {"endpointOutput": output(form["answer"], values)}
    if form["input"]:
        image = base64.b64encode(chance.randbytes(form["image_bytes"])).decode()
        capture = {
            "endpointInput": {"observedContentType": "image/png", "mode": "INPUT", "data": image, "encoding": "BASE64"},
            **capture,
        }
    second = chance.randrange(4_000_000_000)
    hour = form["hour"] or second
    text = f"{hour // 86_400 % 28 + 1:02d}T{hour // 3_600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    time = f"20{hour % 90 + 10}-{hour % 12 + 1:02d}-{text}{form['fraction']}Z"
    metadata: dict[str, Any] = {"eventId": str(uuid.UUID(int=chance.getrandbits(128)))}
    if form["attributes"]:
        metadata["customAttributes"] = [f"model_package_arn={PACKAGE}"]
    if form["inference_id"]:
        metadata["inferenceId"] = f"execution-{chance.randrange(10, 99)}"
    metadata["inferenceTime"] = time
    document: dict[str, Any] = {"captureData": capture, "eventMetadata": metadata, "eventVersion": "0"}
    if form["order"]:
        document = dict(reversed(document.items()))
    version = "3" if form["answer"] == "verbose" else PACKAGE if form["attributes"] else None
    at = microseconds(datetime.fromisoformat(time))
    truth = (metadata["eventId"], metadata.get("inferenceId"), at, values, version)
    return json.dumps(document, separators=form["separators"]).encode(), truth


def output(kind: str, values: tuple[float, ...]) -> dict[str, str]:
    array = json.dumps(list(values), separators=(",", ":"))
    csv = ",".join(map(repr, values))
    verbose = {"probabilities": list(values), "labels": list(CLASSES.labels), "model_version": "3"}
    content_type, encoding, data = {
        "json": ("application/json", "JSON", array),
        "spaced": ("application/json; charset=utf-8", "JSON", json.dumps(list(values))),
        "nested": ("application/json", "JSON", f"[{array}]"),
        "base64": ("application/json", "BASE64", base64.b64encode(array.encode()).decode()),
        "csv": ("text/csv; charset=utf-8", "CSV", csv),
        "csv64": ("text/csv", "BASE64", base64.b64encode(f"{csv}\r\n".encode()).decode()),
        "verbose": ("application/json;verbose", "JSON", json.dumps(verbose)),
        "utf-16": ("application/json; charset=utf-16", "BASE64", base64.b64encode(array.encode("utf-16")).decode()),
    }[kind]
    return {"observedContentType": content_type, "mode": "OUTPUT", "data": data, "encoding": encoding}


def broken(line: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """The line with one to three things done to it, mostly outside the image."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at, until = spot(line, chance), spot(line, chance)
        piece = chance.choice(PIECES)
        action = chance.randrange(8)
        if action == 0:
            line = line[:at] + piece + line[at:]
        elif action == 1:
            line = line[:at] + piece + line[at + len(piece) :]  # of the same length, so of the same layout
        elif action == 2:
            line = line[:at] + bytes([chance.randrange(256)]) + line[at + 1 :]
        elif action == 3:
            line = line[:at] + line[at + chance.randrange(1, 4) :]
        elif action == 4:
            line = line[: chance.choice([at, len(line) - 1, len(line) - 2])]
        elif action == 5:
            line = line[:at] + line[until:]
        elif action == 6 and others:
            other = chance.choice(others)
            line = line[:at] + other[min(at, len(other)) :]
        else:
            digits = [place for place, byte in enumerate(line[-330:]) if chr(byte).isdigit()]
            if digits:
                place = max(0, len(line) - 330) + chance.choice(digits)
                line = line[:place] + str(chance.randrange(10)).encode() + line[place + 1 :]
    return line


def spot(line: bytes, chance: random.Random) -> int:
    """A place in the line: at its start, near its end, or anywhere."""
    end = len(line)
    return chance.choice(
        [chance.randrange(min(end, 110) + 1), end - chance.randrange(min(end, 360) + 1), chance.randrange(end + 1)]
    )


if __name__ == "__main__":
    main()
