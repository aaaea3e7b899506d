"""Deletions, rejections, approvals, rollbacks, the endpoint's end: in every order, at every moment of a deployment.

Whatever the order, it ends quietly: what the rules say serves, or the history says why it does not.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from lambdas.deployment.desired_state import DELETE, ROLLBACK, Order
from tests.unit.deployment_account import ARN, GROUP, quick_account

BEFORE, DURING, AFTER = "before", "during", "after"
MOMENTS = (BEFORE, DURING, AFTER)
OLD, NEW, NEXT = 2, 3, 4
MOST_LOOKS, WRITES_OF_THE_LEASE = 12, 2


def package(version: int) -> str:
    return f"{ARN}:model-package/{GROUP}/{version}"


class Story:
    """A stage on which version 2 serves and 3 was approved, and the words that are said of it."""

    def __init__(self) -> None:
        self.shop = quick_account()
        self.words: dict[int | str, str] = {}
        """When each version was approved, and when each kind of order was given, last."""
        for _ in range(NEXT):
            self.shop.sagemaker.register()
        for version in (1, OLD):
            self.approve(version)
            self.shop.run()
        self.answering = True

    def now(self) -> str:
        return self.shop.context().now()

    def approve(self, version: int) -> None:
        """With a reason of its own: the same approval once more would be no new word."""
        if package(version) in self.shop.sagemaker.packages:
            self.words[version] = self.now()
            self.shop.sagemaker.decide(package(version), reason=f"good at {self.words[version]} [by ann]")

    def reject(self, version: int) -> None:
        if package(version) in self.shop.sagemaker.packages:
            self.shop.sagemaker.decide(package(version), "Rejected", "worse [by bob]")

    def remove(self, version: int) -> None:
        if package(version) in self.shop.sagemaker.packages:
            self.shop.sagemaker.remove(package(version))

    def order(self, action: str, version: int = 0) -> None:
        self.words[action] = self.now()
        live = self.shop.ledger.live()
        left = live.version if live and action == ROLLBACK else 0
        self.shop.ledger.put_order(Order(action, version, left, self.words[action], "bob", "because", pending=True))
        if action == DELETE:
            self.answering = False

    def look(self) -> None:
        """One invocation; an endpoint that nobody ordered away is there before and after."""
        self.shop.look()
        status = (self.shop.sagemaker.endpoint or {}).get("EndpointStatus")
        assert not self.answering or status in ("InService", "Updating"), status

    def settle(self) -> None:
        """Looks with what SageMaker does in between, until one changes nothing but the lease."""
        for _ in range(MOST_LOOKS):
            before = self.shop.calls
            self.look()
            quiet = self.shop.calls == before + WRITES_OF_THE_LEASE and not self.shop.ledger.in_progress()
            self.shop.sagemaker.settle()
            if quiet:
                return
        raise AssertionError(f"no rest after {MOST_LOOKS} looks: {self.shop.records()}")

    def approved(self) -> list[int]:
        """Versions that the registry has as approved, the newest approval last."""
        packages = self.shop.sagemaker.packages.values()
        found = [p["ModelPackageVersion"] for p in packages if p["ModelApprovalStatus"] == "Approved"]
        return sorted(found, key=self.words.__getitem__)


Action = Callable[[Story], None]
ACTIONS: dict[str, Action] = {
    "delete the new version": lambda s: s.remove(NEW),
    "delete the old version": lambda s: s.remove(OLD),
    "reject the new version": lambda s: s.reject(NEW),
    "reject the old version": lambda s: s.reject(OLD),
    "approve the next version": lambda s: s.approve(NEXT),
    "roll back": lambda s: s.order(ROLLBACK, OLD),
    "delete the endpoint": lambda s: s.order(DELETE),
}


def play(actions: tuple[str, ...], moments: tuple[str, ...]) -> Story:
    """The deployment of version 3, with the actions at their moments."""
    story = Story()
    story.approve(NEW)
    for moment in MOMENTS:
        if moment == DURING:
            story.look()
        elif moment == AFTER:
            story.settle()
        for action, when in zip(actions, moments, strict=True):
            if when == moment:
                ACTIONS[action](story)
    story.settle()
    return story


def stories(length: int) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    for actions in itertools.permutations(ACTIONS, length):
        for moments in itertools.combinations_with_replacement(MOMENTS, length):
            yield actions, moments


def check(story: Story) -> str:
    """What holds at the end of every story; answers in a word how it ended."""
    shop = story.shop
    quiet = shop.table.scan()["Items"]
    story.settle()
    assert shop.table.scan()["Items"] == quiet, "it has come to rest"
    ledger, live = shop.ledger, shop.sagemaker.live
    assert ledger.in_progress() is None
    order, approved = ledger.order(), story.approved()
    assert order is None or not order.pending or order.action == DELETE or story.words[order.action] < newest(story)
    if shop.sagemaker.endpoint is None:
        assert story.words[DELETE] > newest(story)
        assert shop.records()[-1][2] == "deleted"
        return "deleted"
    assert shop.sagemaker.endpoint["EndpointStatus"] == "InService"
    known = ledger.version(live)
    assert known is not None
    assert (known.package_arn, known.classes) == (package(live), "bicycle,motorcycle")
    if order and order.version == live and not order.refused and story.words[order.action] > newest(story):
        return "ordered"
    if order and order.refused:
        assert (order.action, "failed") in [(action, outcome) for _, action, outcome in shop.records()]
        return "order refused"
    if approved and live == approved[-1]:
        return "newest approved"
    last = [(version, outcome) for version, _, outcome in shop.records()][-1]
    assert last == (live, "kept"), (live, approved, shop.records())
    assert not approved or story.words[live] > story.words[approved[-1]]
    return "kept"


def newest(story: Story) -> str:
    return max((story.words[version] for version in story.approved()), default="")


@pytest.mark.parametrize("length", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_order_of_words_ends_in_what_the_rules_say(length: int) -> None:
    ends = Counter[str]()
    for actions, moments in stories(length):
        try:
            ends[check(play(actions, moments))] += 1
        except BaseException as error:
            error.add_note(f"{list(zip(actions, moments, strict=True))}")
            raise
    assert ends["newest approved"]
    assert ends["kept"]
    assert ends["deleted"]


@pytest.mark.parametrize("seed", range(25))
def test_forty_words_in_random_order_end_in_what_the_rules_say(seed: int) -> None:
    """What `benchmarks/approvals.py` does with threads, one after the other: looks and updates come in between."""
    chance, story = random.Random(seed), Story()
    between: list[Action] = [Story.look, lambda s: s.shop.sagemaker.settle(), lambda _: None]
    for _ in range(8):
        story.shop.sagemaker.register()
    for _ in range(40):
        version = chance.randint(1, story.shop.sagemaker.registered)
        chance.choice([Story.approve, Story.approve, Story.reject, Story.remove])(story, version)
        for _ in range(3):
            chance.choice(between)(story)
    story.settle()
    assert check(story) in ("newest approved", "kept")
