"""The fleets behind an endpoint: all variants of one deployed configuration, and which fleet answers.

Runs in the server process.
"""

from __future__ import annotations

import random
import threading

from local_account.account import Account
from local_account.sagemaker.endpoints.instance import ANSWER_S
from local_account.sagemaker.endpoints.variants import Variant, make_variant
from local_account.sagemaker.records import EndpointSource, VariantRecord


class Portion:
    """Exactly a share of what is asked, not one drawn at random: at 10 %, the tenth of ten."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._due = 0.0
        self._lock = threading.Lock()

    def next(self) -> bool:
        """Whether the next one belongs to the share."""
        with self._lock:
            self._due += self.share
            if self._due < 1 - 1e-9:
                return False
            self._due -= 1
            return True


class Fleet:
    """All variants of one deployed configuration, with the weights that share traffic among them.

    ``source`` is what the fleet was made from: its ``variants``, its ``shadows``, its ``capture`` configuration.
    ``shadow`` gets a copy of ``copied`` of the requests.
    """

    def __init__(self, account: Account, endpoint: str, config: str, source: EndpointSource, *, empty: bool) -> None:
        """``empty``: no instance is started until a variant is scaled."""
        self.config = config
        self.source = source
        self._variants = {
            spec["VariantName"]: make_variant(account, endpoint, spec, empty=empty) for spec in source["variants"]
        }
        self.shadow: Variant | None = None
        for spec in source.get("shadows", []):  # one at most
            self.shadow = make_variant(account, endpoint, spec, empty=empty)
            production = float(source["variants"][0]["InitialVariantWeight"])
            weight = float(spec["InitialVariantWeight"])
            self.copied = Portion(min(1.0, weight / production) if production else 0.0)
        self._in_flight = 0
        self._idle = threading.Condition()

    @property
    def variants(self) -> list[str]:
        """The names of the production variants."""
        return list(self._variants)

    @property
    def counts(self) -> dict[str, int]:
        """The instances of each variant, shadows included."""
        return {variant.name: variant.count for variant in self._all}

    @property
    def _all(self) -> list[Variant]:
        return [*self._variants.values(), *([self.shadow] if self.shadow else [])]

    def spec(self, variant: str) -> VariantRecord:
        """What a variant was made from."""
        specs = [*self.source["variants"], *self.source.get("shadows", [])]
        return next(v for v in specs if v["VariantName"] == variant)

    def start(self) -> None:
        """Start all variants; on the first failure stop them again and raise its StartError."""
        try:
            for variant in self._all:
                variant.start()
        except BaseException:
            self.stop(drain_s=0)
            raise

    def scale(self, counts: dict[str, int]) -> None:
        """Give variants as many instances as ``counts`` says; raises StartError."""
        for name, count in counts.items():
            self._variants[name].scale(count)

    def choose(self, target: str | None = None) -> Variant | None:
        """The variant ``target``, or one by weight; None when there is no such variant."""
        if target is not None:
            return self._variants.get(target)
        weights = [float(self.spec(name)["InitialVariantWeight"]) for name in self._variants]
        variants = list(self._variants.values())
        return random.choices(variants, weights)[0] if any(weights) else variants[0]  # noqa: S311 (shares traffic only)

    def enter(self) -> None:
        """A request begins; ``stop`` waits for it."""
        with self._idle:
            self._in_flight += 1

    def leave(self) -> None:
        """A request has been answered."""
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    def stop(self, drain_s: float = ANSWER_S) -> None:
        """Let the requests in flight finish, then end the processes."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, drain_s)
        for variant in self._all:
            variant.stop()


class EndpointTraffic:
    """Which fleet answers the next request: ``main``, or ``new`` for its ``share`` of the requests.

    Not thread-safe: whoever asks or changes it holds SageMaker's lock.
    """

    def __init__(self, main: Fleet) -> None:
        self.main = main
        self.new: Fleet | None = None
        self._portion = Portion(0.0)

    @property
    def share(self) -> float:
        """What part of the requests goes to the new fleet, 0 to 1."""
        return self._portion.share

    def shift(self, new: Fleet | None, share: float) -> None:
        """Send ``share`` of the requests, 0 to 1, to a new fleet."""
        self.new, self._portion = new, Portion(share)

    def choose(self) -> Fleet:
        """The fleet for the next request."""
        return self.new if self.new is not None and self._portion.next() else self.main
