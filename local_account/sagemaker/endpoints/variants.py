"""What answers for one variant: its instances, or the process of a serverless one that comes and goes.

Runs in the server process. An instance is a process; a variant has as many as its instance count says. A request goes
to the instance that answers the fewest; one that is taken away answers what it has before it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.sagemaker.endpoints.archive import StartError
from local_account.sagemaker.endpoints.instance import STARTUP_S, Instance
from local_account.sagemaker.records import VariantRecord

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ProductionVariantServerlessConfigTypeDef

# After so long without a request a serverless variant has no process; AWS does not state its time.
IDLE_S = 300.0


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
        """How many instances there are now."""
        return len(self._instances)

    def start(self) -> None:
        """Start as many instances as the variant was made for; raises StartError."""
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
        """Let the instances answer what they have, then end them."""
        _end(self._instances)


def _end(instances: list[Instance]) -> None:
    """Let the instances answer what they have, then end their processes."""
    with ThreadPoolExecutor(max(1, len(instances))) as pool:
        list(pool.map(Instance.end, instances))


class VariantThrottledError(Exception):
    """A serverless variant answers as many requests as it may."""


class ServerlessVariant:
    """A variant without instances: a process starts with the first request, and ends when there is none for a while.

    One process answers all requests, up to MaxConcurrency at once; the limit of memory is not enforced. With
    ProvisionedConcurrency it starts with the endpoint and stays.
    """

    count = 0

    def __init__(
        self, name: str, make: Callable[[], Instance], config: ProductionVariantServerlessConfigTypeDef, idle_s: float
    ) -> None:
        self.name = name
        self._make = make
        self._limit = config["MaxConcurrency"]
        self._stays = "ProvisionedConcurrency" in config
        self._idle_s = idle_s
        self._warm: Instance | None = None
        self._busy = 0
        self._used_at = time.monotonic()
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        """Try the container once, so that what cannot start never gets a request."""
        instance = self._make()
        try:
            instance.start()
        except StartError:
            instance.stop()
            raise
        if self._stays:
            self._warm = instance
        else:
            instance.end()

    @contextmanager
    def instance(self) -> Iterator[Instance]:
        """The process for one request; raises VariantThrottledError, or the StartError of a cold start."""
        with self._lock:
            if self._busy >= self._limit:
                raise VariantThrottledError(
                    f"Rate exceeded: variant {self.name} has a MaxConcurrency of {self._limit}."
                )
            self._busy += 1
        try:
            yield self._started()
        finally:
            with self._lock:
                self._busy -= 1
                self._used_at = time.monotonic()

    def _started(self) -> Instance:
        with self._starting:
            if self._warm is None:
                instance = self._make()
                try:
                    instance.start()
                except StartError:
                    instance.stop()
                    raise
                self._warm = instance
                threading.Thread(target=self._retire, name=f"serverless-{self.name}", daemon=True).start()
            return self._warm

    def _retire(self) -> None:
        """Scale to zero once nothing was asked for a while."""
        while not self._ended.wait(min(1.0, self._idle_s)):
            with self._lock:
                if self._busy or time.monotonic() - self._used_at < self._idle_s:
                    continue
                instance, self._warm = self._warm, None
            if instance:
                instance.end()
            return

    def scale(self, count: int) -> None:
        """Raises NotImplementedError: there are no instances."""
        raise NotImplementedError(f"serverless variant {self.name} has no instances to scale to {count}")

    def stop(self) -> None:
        """Let the process answer what it has, then end it."""
        self._ended.set()
        with self._starting:
            if self._warm:
                self._warm.end()


Variant = InstanceVariant | ServerlessVariant


def make_variant(account: Account, endpoint: str, spec: VariantRecord, *, empty: bool) -> Variant:
    """What answers for a variant; nothing is started yet. ``empty``: it has no instance until it is scaled."""

    def make() -> Instance:
        return Instance(
            account,
            endpoint,
            spec["VariantName"],
            spec["container"],
            spec.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_S),
        )

    if "ServerlessConfig" in spec:
        return ServerlessVariant(spec["VariantName"], make, spec["ServerlessConfig"], IDLE_S / account.time_scale)
    return InstanceVariant(spec["VariantName"], make, 0 if empty else spec["InitialInstanceCount"])
