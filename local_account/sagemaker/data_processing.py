"""What a batch transform does around the container: filters its input, joins it with the predictions, filters again.

Pure, over the records of one object. Authority: SageMaker developer guide, "Associate Prediction Results with Input
Records": JSONPath over CSV (columns) and JSON, one record each line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from local_account.protocol.actions import Json

WHOLE = "$"
_PART = re.compile(
    r"\.(?P<name>[A-Za-z_]\w*)|\[(?P<quote>['\"])(?P<key>.+?)(?P=quote)\]"
    r"|\[(?P<from>-?\d*):(?P<to>-?\d*)\]|\[(?P<places>-?\d+(?:\s*,\s*-?\d+)*)\]"
)


class RecordError(Exception):
    """A record that cannot be filtered or joined, or a path that is none."""


@dataclass(frozen=True)
class RecordPath:
    """A path such as ``$[1:]``, ``$[0,-1]``, ``$.features`` or ``$['id']``."""

    text: str

    def check(self) -> None:
        """Raises RecordError for what is no path that is read here."""
        rest = self.text.removeprefix(WHOLE)
        if not self.text.startswith(WHOLE) or _PART.sub("", rest):
            raise RecordError(f"expected a JSONPath such as $[1:], $[0,-1] or $.name, got {self.text!r}")

    def of(self, record: Json) -> Json:
        """What lies there. Raises RecordError."""
        for part in _PART.finditer(self.text.removeprefix(WHOLE)):
            record = self._step(record, part)
        return record

    def _step(self, record: Json, part: re.Match[str]) -> Json:
        try:
            if isinstance(record, list) and part["places"]:
                found = [record[int(place)] for place in part["places"].split(",")]
                return found if "," in part["places"] else found[0]
            if isinstance(record, list) and part["from"] is not None:
                return record[_place(part["from"]) : _place(part["to"])]
            if isinstance(record, dict) and (name := part["name"] or part["key"]):
                return record[name]
        except (IndexError, KeyError):
            pass
        raise RecordError(f"{self.text} finds nothing in {json.dumps(record)[:100]}")


def _place(text: str) -> int | None:
    return int(text) if text else None


@dataclass(frozen=True)
class DataProcessing:
    """What a job asks for; ``kind`` is the content type of its records."""

    before: RecordPath
    after: RecordPath
    join: bool
    kind: str

    @classmethod
    def of(cls, asked: Mapping[str, object], content_type: str) -> DataProcessing:
        """Of ``DataProcessing`` of a request."""
        paths = [RecordPath(str(asked.get(name, WHOLE))) for name in ("InputFilter", "OutputFilter")]
        kind = content_type.partition(";")[0].strip().lower()
        return cls(paths[0], paths[1], asked.get("JoinSource", "None") == "Input", kind)

    @property
    def does_nothing(self) -> bool:
        """Whether objects and answers go through as they are."""
        return not self.join and self.before.text == self.after.text == WHOLE

    def filtered(self, body: bytes) -> bytes:
        """What the container gets of an object. Raises RecordError."""
        if self.before.text == WHOLE:
            return body
        return self._written([self.before.of(record) for record in self._read(body)], body)

    def joined(self, body: bytes, answer: bytes) -> bytes:
        """What is stored of an object and what the container answered. Raises RecordError."""
        if not self.join and self.after.text == WHOLE:
            return answer
        predictions = self._read(answer)
        records = self._pairs(self._read(body), predictions) if self.join else predictions
        return self._written([self.after.of(record) for record in records], answer)

    def _pairs(self, given: list[Json], predictions: list[Json]) -> list[Json]:
        if len(given) != len(predictions):
            raise RecordError(f"{len(given)} records have {len(predictions)} predictions, which cannot be joined")
        return [self._pair(one, prediction) for one, prediction in zip(given, predictions, strict=True)]

    def _pair(self, given: Json, prediction: Json) -> Json:
        if self.kind == "text/csv":
            return [
                *(given if isinstance(given, list) else [given]),
                *(prediction if isinstance(prediction, list) else []),
            ]
        if isinstance(given, dict):
            return {**given, "SageMakerOutput": prediction}
        return {"SageMakerInput": given, "SageMakerOutput": prediction}

    def _read(self, body: bytes) -> list[Json]:
        text = body.decode("utf-8", "replace")
        if self.kind == "text/csv":
            return [list(row) for row in csv.reader(io.StringIO(text)) if row]
        try:
            if self.kind == "application/json":
                return [json.loads(text)]
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise RecordError(f"a record is no JSON: {error}") from error

    def _written(self, records: list[Json], like: bytes) -> bytes:
        if self.kind == "text/csv":
            stream = io.StringIO()
            rows = [record if isinstance(record, list) else [record] for record in records]
            csv.writer(stream, lineterminator="\n").writerows(rows)
            text = stream.getvalue()
        else:
            text = "".join(f"{json.dumps(record)}\n" for record in records)
        return text.encode() if like.endswith(b"\n") else text.encode().removesuffix(b"\n")
