"""Filters and joins of batch transforms, over the records of one object."""

from __future__ import annotations

import pytest

from local_account.sagemaker.data_processing import DataProcessing, RecordError, RecordPath


@pytest.mark.parametrize(
    ("path", "kind", "body", "expected"),
    [
        ("$[1:]", "text/csv", b"id,1,2\nno,3,4\n", b"1,2\n3,4\n"),
        ("$[:-1]", "text/csv", b"1,2,label", b"1,2"),
        ("$[0,-1]", "text/csv", b"a,b,c\n", b"a,c\n"),
        ("$.features", "application/jsonlines", b'{"features": [1], "id": 2}\n', b"[1]\n"),
        ("$['a b'][0]", "application/json", b'{"a b": [5, 6]}', b"5"),
        ("$", "text/csv", b"as it is", b"as it is"),
    ],
)
def test_a_path_takes_a_part_of_each_record(path: str, kind: str, body: bytes, expected: bytes) -> None:
    assert DataProcessing.of({"InputFilter": path}, kind).filtered(body) == expected


@pytest.mark.parametrize(
    ("kind", "body", "answer", "expected"),
    [
        ("text/csv", b"a,1\nb,2\n", b"0.5\n0.7\n", b"a,1,0.5\nb,2,0.7\n"),
        ("application/jsonlines", b'{"id": 1}\n', b"0.5\n", b'{"id": 1, "SageMakerOutput": 0.5}\n'),
        ("application/json", b"[1]", b"0.5", b'{"SageMakerInput": [1], "SageMakerOutput": 0.5}'),
    ],
)
def test_predictions_are_joined_with_their_input(kind: str, body: bytes, answer: bytes, expected: bytes) -> None:
    assert DataProcessing.of({"JoinSource": "Input"}, f"{kind}; charset=utf-8").joined(body, answer) == expected


def test_what_does_not_fit_is_named() -> None:
    processing = DataProcessing.of({"JoinSource": "Input", "OutputFilter": "$[7]"}, "text/csv")
    with pytest.raises(RecordError, match="2 records have 1 predictions"):
        processing.joined(b"1\n2\n", b"1\n")
    with pytest.raises(RecordError, match=r"finds nothing in"):
        processing.joined(b"1\n", b"1\n")
    for path in ("features", "$..a", "$[?(@.a)]", "$[1:2:3]"):
        with pytest.raises(RecordError, match="expected a JSONPath"):
            RecordPath(path).check()
