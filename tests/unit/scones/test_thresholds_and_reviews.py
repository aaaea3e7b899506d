"""The pure parts behind `scones threshold`, `scones batch` and `scones review`; the verbs run in tests/local."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from infrastructure.template import stage_template
from scones.errors import SconesError
from scones.review import threshold
from scones.review.export import digest_of
from scones.review.queue import ReviewItem, ReviewQueue
from scones.review.records import check_label, ground_truth
from scones.review.threshold import NotAThresholdError, NotedPrediction, StageThresholds
from scones.runs import batch

CLASSES = ["bicycle", "motorcycle"]
PREDICTIONS = [
    NotedPrediction("bicycle", "bicycle", 0.95),
    NotedPrediction("motorcycle", "bicycle", 0.9),
    NotedPrediction("motorcycle", "motorcycle", 0.9),
    NotedPrediction("bicycle", "motorcycle", 0.6),
]
MESSAGE = {
    "s3_bucket": "data",
    "s3_key": "incoming/photo 1.png",
    "predicted_label": "bicycle",
    "confidence": 0.6,
    "threshold": 0.9,
    "inferences": [0.6, 0.4],
    "classes": CLASSES,
    "inference_id": "photo-1",
    "queued_at": "2026-01-31T12:00:00.000Z",
}


def test_a_prediction_at_the_threshold_passes() -> None:
    found = threshold.expected(PREDICTIONS, StageThresholds(0.9))
    assert (found.passed, found.images, found.coverage) == (3, 4, 0.75)
    assert found.accuracy == pytest.approx(2 / 3)


def test_a_class_may_have_a_threshold_of_its_own() -> None:
    found = threshold.expected(PREDICTIONS, StageThresholds(0.5, {"bicycle": 0.95}))
    assert (found.passed, found.accuracy) == (3, pytest.approx(2 / 3))
    assert threshold.expected(PREDICTIONS, StageThresholds(1.0)).accuracy is None


@pytest.mark.parametrize("text", ["", "0.9", "[]", "{}", '{"default": 2}', '{"default": 0.9, "classes": {"a": "b"}}'])
def test_what_is_no_threshold_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(NotAThresholdError, match="/scones/local/confidence-threshold must hold a document"):
        threshold.parse(text, "/scones/local/confidence-threshold")


@pytest.mark.parametrize("value", ["1.01", "-0.01", "nan", "inf", "much", ""])
def test_a_share_lies_between_0_and_1(value: str) -> None:
    with pytest.raises(SconesError, match="must be a number from 0 to 1"):
        threshold.changed(StageThresholds(0.9), value, [], CLASSES)


def test_classes_that_are_not_named_keep_their_own() -> None:
    now = StageThresholds(0.9, {"bicycle": 0.8, "motorcycle": 0.7})
    assert threshold.changed(now, "0.95", [], CLASSES).of_all() == (0.95, now.classes)
    assert threshold.changed(now, None, ["bicycle=default"], CLASSES).of_all() == (0.9, {"motorcycle": 0.7})
    assert threshold.changed(None, "0.5", ["bicycle=1"], CLASSES).of_all() == (0.5, {"bicycle": 1.0})


@pytest.mark.parametrize(("now", "classes"), [(StageThresholds(0.9), []), (None, ["bicycle=0.9"]), (None, [])])
def test_something_has_to_be_set(now: StageThresholds | None, classes: list[str]) -> None:
    with pytest.raises(SconesError):
        threshold.changed(now, None, classes, CLASSES)


def test_the_stack_signs_what_it_sets() -> None:
    """By this a threshold that a person set is told from the stack's."""
    template = stage_template()
    (value,) = [line for line in template.splitlines() if '"changed_by"' in line]
    assert f'"changed_by": "{threshold.STACK}"' in value


def test_a_batch_is_named_by_its_id_or_its_arn() -> None:
    name = batch.new_id()
    assert len(name) <= 31, "inference ids begin with it, which hold 64 characters"
    assert batch.id_of(f"arn:aws:states:us-east-1:123456789012:execution:scones-local-batch-workflow:{name}") == name
    assert batch.id_of(name) == name


@pytest.mark.parametrize("name", ["incoming/photo 1.png", "photo 1.png", "s3://data/incoming/photo 1.png", "photo-1"])
def test_an_image_goes_by_several_names(name: str) -> None:
    assert ReviewItem(MESSAGE).is_called(name)
    assert not ReviewItem(MESSAGE).is_called(name[1:])


def test_ground_truth_is_the_number_of_the_class() -> None:
    line = ground_truth(ReviewItem(MESSAGE), "motorcycle")
    assert line["groundTruthData"] == {"data": "1", "encoding": "CSV"}
    assert line["eventMetadata"] == {"eventId": "photo-1"}
    with pytest.raises(SconesError, match="bicycle, motorcycle, and none"):
        check_label(ReviewItem(MESSAGE), "bus")


def test_the_same_pixels_are_the_same_image_in_any_kind_of_file(tmp_path: Path) -> None:
    image = Image.effect_noise((32, 32), 50).convert("RGB")
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.bmp")
    image.resize((64, 64)).save(tmp_path / "c.png")
    digests = [digest_of((tmp_path / name).read_bytes()) for name in ("a.png", "b.bmp", "c.png")]
    assert digests[0] == digests[1] != digests[2]
    assert digest_of(b"no image") != digest_of(b"none either")


class Messages:
    """An SQS queue that hands out what it holds at most once, and says what was handed back or deleted."""

    def __init__(self, *bodies: str) -> None:
        self.waiting = [
            {"MessageId": str(number), "ReceiptHandle": f"receipt-{number}", "Body": body}
            for number, body in enumerate(bodies)
        ]
        self.back: list[str] = []
        self.deleted: list[str] = []

    def client(self, service: str) -> Messages:
        assert service == "sqs"
        return self

    @property
    def names(self) -> Any:
        return type("Names", (), {"review_queue": "review"})

    def get_queue_url(self, **_: Any) -> dict[str, str]:
        return {"QueueUrl": "review"}

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        assert asked["WaitTimeSeconds"] >= 1, "else SQS asks some of its servers only"
        found, self.waiting = self.waiting[: asked["MaxNumberOfMessages"]], self.waiting[asked["MaxNumberOfMessages"] :]
        return {"Messages": found} if found else {}

    def delete_message(self, **asked: Any) -> None:
        self.deleted.append(asked["ReceiptHandle"])

    def change_message_visibility_batch(self, **asked: Any) -> None:
        assert all(entry["VisibilityTimeout"] == 0 for entry in asked["Entries"])
        assert 1 <= len(asked["Entries"]) <= 10
        self.back += [entry["ReceiptHandle"] for entry in asked["Entries"]]


def queued(number: int) -> str:
    return json.dumps({**MESSAGE, "inference_id": f"photo-{number}", "s3_key": f"incoming/{number}.png"})


def test_whatever_was_received_and_not_deleted_is_handed_back() -> None:
    messages = Messages(*[queued(number) for number in range(25)], "not ours")
    queue = ReviewQueue(messages)  # type: ignore[arg-type]  # what of a connection it needs
    for _, receipt in queue.receive(900):
        queue.delete([receipt])
        break
    queue.hand_back()
    assert messages.deleted == ["receipt-0"]
    assert messages.back == [f"receipt-{number}" for number in range(1, 10)]
    items = queue.items(60)
    queue.hand_back()
    assert len(items) == 15
    assert len(messages.back) == 9 + 16, "what is not ours is left to whose it is"


def test_an_image_that_came_twice_is_one_item_with_both_receipts() -> None:
    queue = ReviewQueue(Messages(queued(1), queued(2), queued(1)))  # type: ignore[arg-type]  # as above
    items = {item.inference_id: item.receipts for item in queue.items(60)}
    assert items == {"photo-1": ["receipt-0", "receipt-2"], "photo-2": ["receipt-1"]}


def test_the_history_shows_also_what_was_no_threshold() -> None:
    change = threshold._change({"Name": "p", "Value": "broken", "Version": 3, "LastModifiedDate": None})
    assert math.isnan(change.thresholds.default)
    assert "broken" in change.thresholds.reason
