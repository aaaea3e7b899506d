"""The review's page: one image at a time, its label by a click or a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.routing import Route

from console.account import ConsoleAccount
from console.pages.review.hands import LabelledImage, ReviewHands
from console.web.documents import picture, served
from console.web.form import FormFields
from console.web.page import ConsolePage, PageAction, Panel
from scones.errors import SconesError
from scones.review import records, threshold
from scones.review.queue import ReviewItem, ReviewQueue
from scones.review.records import NO_CLASS, GivenLabel
from scones.stage.connection import Connection


@dataclass(frozen=True)
class ReviewView:
    """The image to look at now, if one is held, and how many wait. ``writes``: whether images may be taken."""

    item: ReviewItem | None
    choices: list[str]
    scores: list[tuple[str, float]]
    waiting: int
    held: int
    elsewhere: int
    writes: bool


@dataclass(frozen=True)
class DoneView:
    """What was labelled here, the newest first."""

    done: list[LabelledImage]
    labelled: int


def review_page(account: ConsoleAccount) -> ConsolePage:
    """Make the page; what it holds is its own."""
    hands = ReviewHands()
    room = _ReviewRoom(account, hands)
    return ConsolePage(
        "review",
        "Review",
        "Images whose confidence was too low: your label becomes ground truth, and an example for training.",
        room.panels,
        {
            "take": PageAction(lambda _form: "Take up to ten images, which nobody else gets meanwhile.", room.take),
            "label": PageAction(lambda form: f"Label the image {form.text('label')!r}.", room.label),
            "skip": PageAction(lambda _form: "Look at another image first.", room.skip),
            "undo": PageAction(lambda _form: "Take the last label back.", room.undo),
            "release": PageAction(lambda _form: "Let others label what this console holds.", room.release),
        },
        [Route("/review/image/{name}", served(account, room.image, picture))],
        scripts=["review.js"],
    )


@dataclass(frozen=True)
class _ReviewRoom:
    """The actions, with the hands that hold the images."""

    account: ConsoleAccount
    hands: ReviewHands

    def panels(self, _query: FormFields) -> Sequence[Panel]:
        """The image, and what was said before."""
        return [
            Panel("image", "What does it show?", self.read, "review_image", wide=True),
            Panel(
                "done",
                "Labelled here",
                lambda _c: DoneView(self.hands.done[::-1][:8], self.hands.labelled),
                "review_done",
                wide=True,
            ),
        ]

    def read(self, connection: Connection) -> ReviewView:
        """Show what is held. Looking takes nothing out of the queue: whoever follows a link hides no image."""
        queue = ReviewQueue(connection)
        item, held = self.hands.first(), self.hands.count
        scores = list(zip(item.classes, item.message["inferences"], strict=False)) if item else []
        choices = [*item.classes, NO_CLASS] if item else []
        elsewhere = max(0, queue.hidden() - held)
        return ReviewView(item, choices, scores, queue.visible(), held, elsewhere, not self.account.read_only)

    def take(self, connection: Connection, _form: FormFields) -> str:
        """Take images, unless some are held."""
        if self.hands.take(connection) is None:
            raise SconesError("nothing waits for a review now: others look at the rest")
        return f"{self.hands.count} images are yours for a quarter of an hour."

    def label(self, connection: Connection, form: FormFields) -> str:
        """Record a label as `scones review label` does."""
        item = self.hands.find(form.needed("image"))
        given = GivenLabel(form.needed("label"), threshold.caller(connection), datetime.now(UTC))
        records.record(connection, ReviewQueue(connection), item, given)
        self.hands.finished(item, given.label)
        self.hands.take(connection)
        return f"{item.key.rsplit('/', 1)[-1] or item.inference_id}: {given.label}"

    def skip(self, _connection: Connection, form: FormFields) -> str:
        """Look at another one first."""
        self.hands.skip(form.needed("image"))
        return "Skipped; it comes again after the others."

    def undo(self, connection: Connection, _form: FormFields) -> str:
        """Take back what was said last."""
        if not self.hands.done:
            raise SconesError("nothing was labelled in this console yet")
        last = self.hands.done[-1]
        records.take_back(connection, ReviewQueue(connection), last.item)
        self.hands.done = self.hands.done[:-1]
        self.hands.labelled -= 1
        self.hands.take_up(ReviewItem(last.item.message))
        return f"Taken back: {last.label}"

    def release(self, connection: Connection, _form: FormFields) -> str:
        """Hand back what is held."""
        return f"{self.hands.give_up(connection)} images are for others again."

    def image(self, connection: Connection, request: Request) -> bytes:
        """Only what this console holds or has labelled."""
        name = str(request.path_params["name"])
        done = [each.item for each in self.hands.done if each.item.inference_id == name]
        content = records.image_bytes(connection, done[0] if done else self.hands.find(name))
        if content is None:
            raise SconesError("the image is gone")
        return content
