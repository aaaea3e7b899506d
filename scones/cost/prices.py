"""AWS's prices, from ``scones/cost/prices.toml``: dated, for one region, each with its source.

Runs on a laptop or in CodeBuild. Reads that file and nothing else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scones.errors import SconesError

PRICES = Path(__file__).with_name("prices.toml")


class CostError(SconesError):
    """Something has no price, or an assumption is none."""


@dataclass(frozen=True)
class Price:
    """``usd`` for ``per`` units."""

    usd: float
    unit: str
    source: str
    note: str
    per: int = 1


@dataclass(frozen=True)
class Prices:
    """The table. All amounts are US dollars, without taxes, free tiers and discounts."""

    date: str
    region: str
    instances: Mapping[str, float]
    """Instance type -> price of an hour."""
    instance_cores: Mapping[str, int]
    """Instance type -> virtual cores."""
    instances_note: str
    prices: Mapping[str, Price]
    priced: Mapping[str, list[str]]
    """Type of resource -> the prices it is charged by."""
    free: Mapping[str, str]
    """Type of resource -> why it costs nothing."""

    @classmethod
    def load(cls, path: Path = PRICES) -> Prices:
        """Read the table of prices."""
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        instances = document["instances"]
        return cls(
            date=document["date"],
            region=document["region"],
            instances=instances["usd_per_hour"],
            instance_cores=instances["cores"],
            instances_note=instances["note"],
            prices={name: Price(**row) for name, row in document["prices"].items()},
            priced=document["priced"],
            free=document["free"],
        )

    def of(self, name: str, amount: float = 1.0) -> float:
        """What ``amount`` units cost."""
        price = self.prices[name]
        return price.usd / price.per * amount

    def hour(self, instance_type: str) -> float:
        """What an instance costs in an hour; raises CostError for a type that the table lacks."""
        try:
            return self.instances[instance_type]
        except KeyError:
            known = ", ".join(sorted(self.instances))
            raise CostError(
                f"no price is known for the instance type {instance_type!r}: add it to {PRICES} (it has {known})"
            ) from None

    def cores(self, instance_type: str) -> int:
        """How many virtual cores an instance has; raises CostError for a type that the table lacks."""
        self.hour(instance_type)
        return self.instance_cores[instance_type]

    def check(self, types: set[str]) -> None:
        """Raises CostError for a type of resource of which nobody has said what it costs."""
        if unknown := sorted(types - self.priced.keys() - self.free.keys()):
            raise CostError(f"nothing is known of the cost of {', '.join(unknown)}: add it to {PRICES}, priced or free")
