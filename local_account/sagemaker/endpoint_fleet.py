"""The instances behind an endpoint: those of a variant, and all variants of one deployed configuration.

Runs in the server process. An instance is a process; a variant has as many as its instance count says. A request goes
to the instance that answers the fewest; one that is taken away answers what it has before it ends.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from local_account.account import Account
from local_account.sagemaker.endpoint_archive import StartError
from local_account.sagemaker.endpoint_instance import ANSWER_S, STARTUP_S, Instance
from local_account.sagemaker.service import Resource


class InstanceVariant:
    """The instances of one variant."""

    def __init__(self, name: str, make: Callable[[], Instance], count: int) -> None:
        self.name = name
        self._make = make
        self._wanted = count
        self._instances: list[Instance] = []
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        return len(self._instances)

    def start(self) -> None:
        self.scale(self._wanted)

    def scale(self, count: int) -> None:
        """Start or drain instances until there are ``count``; raises the StartError of one that does not come up."""
        missing = count - self.count
        if missing > 0:
            self._add(missing)
        with self._lock:
            surplus, self._instances = self._instances[count:], self._instances[:count]
        _end(surplus)

    def _add(self, number: int) -> None:
        made = [self._make() for _ in range(number)]
        with ThreadPoolExecutor(number) as pool:
            failures = [future.exception() for future in [pool.submit(instance.start) for instance in made]]
        failure = next((f for f in failures if f is not None), None)
        if failure is not None:
            _end(made)
            raise failure
        with self._lock:
            self._instances = [*self._instances, *made]

    @contextmanager
    def instance(self) -> Iterator[Instance]:
        """The instance for one request."""
        with self._lock:
            # min() takes the first of equals: the next request meets it behind the others
            able = [i for i in self._instances if i.healthy] or self._instances
            if not able:
                raise StartError(f"Variant {self.name} has no instance.")
            chosen = min(able, key=lambda i: i.in_flight)
            chosen.enter()
            self._instances.remove(chosen)
            self._instances.append(chosen)
        try:
            yield chosen
        finally:
            chosen.leave()

    def stop(self) -> None:
        _end(self._instances)


def _end(instances: list[Instance]) -> None:
    """Let the instances answer what they have, then end their processes."""
    with ThreadPoolExecutor(max(1, len(instances))) as pool:
        list(pool.map(Instance.end, instances))


class Fleet:
    """All variants of one deployed configuration, with the weights that share traffic among them.

    ``source`` is what the fleet was made from: its ``variants``, its ``capture`` configuration.
    """

    def __init__(self, account: Account, endpoint: str, config: str, source: dict[str, Any], *, empty: bool) -> None:
        """``empty``: no instance is started until a variant is scaled."""
        self.config = config
        self.source = source
        self._variants = {
            spec["VariantName"]: _variant(account, endpoint, spec, empty=empty) for spec in source["variants"]
        }
        self._in_flight = 0
        self._idle = threading.Condition()

    @property
    def variants(self) -> list[str]:
        return list(self._variants)

    @property
    def counts(self) -> dict[str, int]:
        return {name: variant.count for name, variant in self._variants.items()}

    def spec(self, variant: str) -> Resource:
        found: Resource = next(v for v in self.source["variants"] if v["VariantName"] == variant)
        return found

    def start(self) -> None:
        """Start all variants; on the first failure stop them again and raise its StartError."""
        try:
            for variant in self._variants.values():
                variant.start()
        except BaseException:
            self.stop(drain_s=0)
            raise

    def scale(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self._variants[name].scale(count)

    def choose(self, target: str | None = None) -> InstanceVariant | None:
        """The variant ``target``, or one by weight; None when there is no such variant."""
        if target is not None:
            return self._variants.get(target)
        weights = [float(self.spec(name)["InitialVariantWeight"]) for name in self._variants]
        variants = list(self._variants.values())
        return random.choices(variants, weights)[0] if any(weights) else variants[0]  # noqa: S311 (shares traffic only)

    def enter(self) -> None:
        with self._idle:
            self._in_flight += 1

    def leave(self) -> None:
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    def stop(self, drain_s: float = ANSWER_S) -> None:
        """Let the requests in flight finish, then end the processes."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, drain_s)
        for variant in self._variants.values():
            variant.stop()


class Traffic:
    """Which fleet answers the next request: ``main``, or ``new`` for its ``share`` of the requests.

    Not thread-safe: whoever asks or changes it holds SageMaker's lock.
    """

    def __init__(self, main: Fleet) -> None:
        self.main = main
        self.new: Fleet | None = None
        self.share = 0.0
        self._due = 0.0

    def shift(self, new: Fleet | None, share: float) -> None:
        self.new, self.share, self._due = new, share, 0.0

    def choose(self) -> Fleet:
        """Exactly the share, not one drawn at random: of ten requests at 10 % the tenth goes to the new fleet."""
        if self.new is None:
            return self.main
        self._due += self.share
        if self._due < 1 - 1e-9:
            return self.main
        self._due -= 1
        return self.new


def _variant(account: Account, endpoint: str, spec: Resource, *, empty: bool) -> InstanceVariant:
    def make() -> Instance:
        return Instance(
            account,
            endpoint,
            spec["VariantName"],
            spec["container"],
            spec.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_S),
        )

    return InstanceVariant(spec["VariantName"], make, 0 if empty else spec["InitialInstanceCount"])
