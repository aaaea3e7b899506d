"""The functions of the batch workflow: no image is lost, whatever the endpoint, the queue or the time does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdas import classify_batch, summarize_batch
from lambdas.inference import endpoint as endpoints
from lambdas.inference.endpoint import EndpointAnswer, ModelTemporarilyUnavailable
from lambdas.inference.threshold import ConfidenceThresholds
from lambdas.inference.versions import AnsweringModel
from tests.unit.account.test_lambda_properties import Store

MODEL = AnsweringModel("arn:package/1", ("bicycle", "motorcycle"))


class Endpoint(endpoints.Endpoint):
    """Answers with the numbers it is given, one after the other; an exception is raised."""

    def __init__(self, *answers: list[float] | Exception) -> None:
        self.answers = list(answers)

    def classify(self, _image: bytes, _inference_id: str, _subject: str) -> EndpointAnswer:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return EndpointAnswer(MODEL, answer)


class Queue:
    """Takes messages in requests; the ones at ``refused`` are refused one by one."""

    def __init__(self, refused: tuple[int, ...] = (), error: Exception | None = None) -> None:
        self.requests: list[list[dict[str, str]]] = []
        self.refused, self.error = refused, error

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: ARG002, N803  # boto3's names
        if self.error:
            raise self.error
        self.requests.append(Entries)
        failed = [{"Id": e["Id"], "Code": "InternalError"} for e in Entries if int(e["Id"]) in self.refused]
        return {"Failed": failed} if failed else {}


def a_batch(endpoint: Endpoint, remaining_s: float = 200.0, wait: Any = lambda _: None) -> classify_batch.Batch:
    thresholds, s3 = ConfidenceThresholds(0.9), Store(b"image")
    return classify_batch.Batch("nightly", "images", "arn", thresholds, endpoint, s3, lambda: remaining_s, wait)


def rows(count: int, batch: classify_batch.Batch, queue: Queue | None = None) -> list[classify_batch.BatchRow]:
    return classify_batch.classify([{"Key": "a.png", "Size": 5}] * count, batch, queue or Queue(), "url")


def test_what_is_transient_is_tried_again() -> None:
    busy, pauses = ModelTemporarilyUnavailable("busy"), list[float]()
    (row,) = rows(1, a_batch(Endpoint(busy, busy, [0.1, 0.9]), wait=pauses.append))
    assert (row.status, row.predicted_label, row.confidence) == ("passed", "motorcycle", 0.9)
    assert len(pauses) == 2
    assert max(pauses) <= 1.0
    (row,) = rows(1, a_batch(Endpoint(busy)))
    assert (row.status, row.error, row.reason) == ("failed", "ModelTemporarilyUnavailable", "busy")


def test_an_image_whose_turn_never_came_is_told() -> None:
    (row,) = rows(1, a_batch(Endpoint([0.1, 0.9]), remaining_s=3.0))
    assert (row.status, row.error) == ("failed", "OutOfTime")


def test_reviews_are_queued_ten_at_a_time() -> None:
    queue = Queue()
    found = rows(23, a_batch(Endpoint([0.5, 0.5])), queue)
    assert {row.status for row in found} == {"needs_review"}
    assert [len(request) for request in queue.requests] == [10, 10, 3]
    message = json.loads(queue.requests[0][0]["MessageBody"])
    assert message["inference_id"] == found[0].inference_id
    assert len(message["inference_id"]) <= 64
    assert message.keys() == {
        "s3_bucket", "s3_key", "predicted_label", "confidence", "threshold", "inferences", "classes", "inference_id",
        "execution_arn", "model_package_arn", "queued_at",
    }  # fmt: skip


def test_long_messages_share_no_request() -> None:
    long = classify_batch.ReviewRequest(classify_batch.BatchRow("b", "k", "i"), "x" * 200_000)
    assert [len(group) for group in classify_batch._requests([long, long, long])] == [1, 1, 1]


@pytest.mark.parametrize(
    ("queue", "failed"),
    [
        (Queue(refused=(1,)), 1),
        (Queue(error=ClientError({"Error": {"Code": "QueueDoesNotExist", "Message": "gone"}}, "SendMessageBatch")), 3),
    ],
)
def test_an_image_that_could_not_be_queued_has_failed(queue: Queue, failed: int) -> None:
    found = rows(3, a_batch(Endpoint([0.5, 0.5])), queue)
    assert [row.error for row in found].count("ReviewQueueNotWritable") == failed
    assert sum(row.status == "failed" for row in found) == failed


@pytest.mark.parametrize("item", ["a.png", None, 3, {}, {"s3_key": None}, {"s3_key": ["a.png"]}])
def test_a_line_that_names_no_image_is_a_failed_row(item: Any) -> None:
    (row,) = classify_batch.classify([item], a_batch(Endpoint([1.0, 0.0])), Queue(), "url")
    assert (row.status, row.error) == ("failed", "InvalidItem")


def test_children_that_failed_are_rows_as_well() -> None:
    child = {
        "Input": json.dumps({"Items": [{"Key": "a"}, {"s3_bucket": "b", "s3_key": "c"}, "odd"]}),
        "Error": "Broken",
    }
    event = {"s3_bucket": "images"}
    found = list(summarize_batch.lost(child, "FAILED", event))
    assert [(row["s3_bucket"], row["s3_key"], row["error"]) for row in found] == [
        ("images", "a", "Broken"), ("b", "c", "Broken"), ("images", "", "Broken"),
    ]  # fmt: skip
    assert next(summarize_batch.lost({"Input": '{"Items": [1]}'}, "PENDING", event))["error"] == "BatchOfItPending"


def test_a_map_that_ended_early_fails_the_batch_whatever_was_tolerated() -> None:
    summary = {"failed_percentage": 1.0, "tolerated_failure_percentage": 50}
    assert summarize_batch.checked(summary, None) == summary
    with pytest.raises(summarize_batch.BATCH_INCOMPLETE):
        summarize_batch.checked(summary, "States.Timeout")
    with pytest.raises(summarize_batch.TOLERATED_FAILURES_EXCEEDED):
        summarize_batch.checked(summary, "States.ExceedToleratedFailureThreshold")
