"""What is kept of a map run and of its child executions: plain data, which survives a restart of the account.

Runs in the server process.
"""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field, replace

from local_account.base.arns import last_part, parse_arn
from local_account.base.stored import stored
from local_account.stepfunctions.past import PastWorker

THRESHOLD = "The specified tolerated failure threshold was exceeded"
FAILED = {"FAILED", "TIMED_OUT"}
ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
STATUSES = {"PENDING": "pending", "RUNNING": "running", "SUCCEEDED": "succeeded", "FAILED": "failed"}
STATUSES |= {"TIMED_OUT": "timedOut", "ABORTED": "aborted"}


@stored
@dataclass(slots=True, eq=False)
class Child:
    """One child execution. ``data`` and ``output`` are JSON's text; ``worker`` has the history of a Standard one."""

    name: str
    data: str
    items: int
    status: str = "PENDING"
    start_date: datetime.datetime | None = None
    stop_date: datetime.datetime | None = None
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    redrive_count: int = 0
    redrive_date: datetime.datetime | None = None
    worker: PastWorker | None = None
    resume: tuple[str, str, dict[str, object]] | None = None


@stored
@dataclass(eq=False)
class MapRun:
    """One run of a Distributed Map state."""

    arn: str
    execution_arn: str
    machine_arn: str  # of the children: the machine's, with the run's label
    state: str
    kind: str
    max_concurrency: int
    tolerated_count: int | None
    tolerated_percentage: float | None
    start_date: datetime.datetime
    stop_date: datetime.datetime | None = None
    status: str = "RUNNING"
    children: list[Child] = field(default_factory=list)
    redrive_count: int = 0
    redrive_date: datetime.datetime | None = None
    results_written: int = 0

    def ended_with_its_process(self, cause: str) -> None:
        """What was running when the account stopped is ABORTED."""
        if self.status != "RUNNING":
            return
        self.status, self.stop_date = "ABORTED", datetime.datetime.now(tz=datetime.UTC)
        for child in self.children:
            if child.status == "RUNNING":
                child.status, child.cause, child.stop_date = "ABORTED", cause, self.stop_date

    @property
    def prefix(self) -> str:
        """What the name of a child follows in its ARN."""
        machine = parse_arn(self.machine_arn)
        kind = "execution" if self.kind == "STANDARD" else "express"
        suffix = f":{last_part(self.arn)}" if self.kind == "EXPRESS" else ""
        return str(replace(machine, resource=f"{kind}:{machine.parts[1]}{suffix}"))

    def arn_of(self, child: Child) -> str:
        """The ARN of a child execution."""
        return f"{self.prefix}:{child.name}"

    @property
    def exceeded(self) -> bool:
        """Whether more items failed than are tolerated; without thresholds none is."""
        failed = sum(child.items for child in self.children if child.status in FAILED)
        return self.exceeds(failed, sum(child.items for child in self.children))

    def exceeds(self, failed: int, total: int) -> bool:
        """Whether so many failed items of so many are more than is tolerated."""
        return not tolerates(failed, total, self.tolerated_count, self.tolerated_percentage)

    def counts(self, of_items: bool) -> dict[str, int]:
        """DescribeMapRun's counts, of items or of executions."""
        found: Counter[str] = Counter()
        for child in self.children:
            found[child.status] += child.items if of_items else 1
        answer = {name: found[status] for status, name in STATUSES.items()}
        answer["total"] = sum(found.values())
        answer["resultsWritten"] = min(self.results_written, answer["total"]) if not of_items else self._items_written()
        answer["failuresNotRedrivable"] = 0
        answer["pendingRedrive"] = 0
        return answer

    def _items_written(self) -> int:
        return sum(child.items for child in self.children) if self.results_written else 0


def tolerates(failed: int, total: int, count: int | None, percentage: float | None) -> bool:
    """Whether so many failed items of so many are tolerated; without thresholds none is."""
    if count is None and percentage is None:
        return failed == 0
    within_count = count is None or failed <= count
    return within_count and (percentage is None or failed * 100 <= percentage * total)
