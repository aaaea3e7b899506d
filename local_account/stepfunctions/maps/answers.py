"""What Step Functions answers about map runs and their child executions.

Runs in the server process, for ``stepfunctions.answers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moto.core.exceptions import AWSError

from local_account.base.arns import last_part, without_last
from local_account.stepfunctions.maps.records import Child, MapRun

if TYPE_CHECKING:
    from moto.stepfunctions.parser.api import HistoryEvent


@dataclass(frozen=True)
class FoundChild:
    """A child execution and its map run."""

    run: MapRun
    child: Child

    @property
    def status(self) -> str:
        """How it stands."""
        return self.child.status

    @property
    def redrive_count(self) -> int:
        """How often it was redriven."""
        return self.child.redrive_count

    def history(self) -> list[HistoryEvent]:
        """Its events, once it has ended; of an Express one none are kept."""
        return self.child.worker.history if self.child.worker else []


def children_of(run: MapRun) -> list[FoundChild]:
    """Those that have begun, newest first."""
    return [FoundChild(run, child) for child in reversed(run.children) if child.start_date is not None]


def find_run(runs: Mapping[str, MapRun], arn: str) -> MapRun:
    """The map run; ResourceNotFound."""
    found = runs.get(arn)
    if found is None:
        raise AWSError(f"Resource not found: '{arn}'", "ResourceNotFound")
    return found


def find_child(runs: Mapping[str, MapRun], arn: str) -> FoundChild | None:
    """A child execution by its ARN, whose machine's name has the label of its map run in it."""
    prefix, name = without_last(arn), last_part(arn)
    if "/" not in prefix:
        return None
    for run in runs.values():
        if run.prefix == prefix:
            for child in run.children:
                if child.name == name and child.start_date is not None:
                    return FoundChild(run, child)
    return None


def listed(found: FoundChild) -> dict[str, object]:
    """A child execution as ListExecutions has it."""
    run, child = found.run, found.child
    item: dict[str, object] = {
        "executionArn": run.arn_of(child),
        "itemCount": child.items,
        "mapRunArn": run.arn,
        "name": child.name,
        "redriveCount": child.redrive_count,
        "startDate": child.start_date,
        "stateMachineArn": run.machine_arn,
        "status": child.status,
    }
    return item if child.stop_date is None else {**item, "stopDate": child.stop_date}


def described(found: FoundChild) -> dict[str, object]:
    """A child execution as DescribeExecution has it."""
    child, answer = found.child, listed(found)
    del answer["itemCount"]
    answer |= {"input": child.data, "inputDetails": {"included": True}}
    if child.status == "SUCCEEDED":
        answer |= {"output": child.output, "outputDetails": {"included": True}}
    answer["redriveStatus"] = "NOT_REDRIVABLE" if child.status in {"RUNNING", "SUCCEEDED"} else "REDRIVABLE_BY_MAP_RUN"
    members = {"error": child.error, "cause": child.cause, "redriveDate": child.redrive_date}
    return answer | {name: value for name, value in members.items() if value is not None}


def listed_run(run: MapRun) -> dict[str, object]:
    """A map run as ListMapRuns has it."""
    members = {
        "executionArn": run.execution_arn,
        "mapRunArn": run.arn,
        "stateMachineArn": run.machine_arn,
        "startDate": run.start_date,
        "stopDate": run.stop_date,
    }
    return {name: value for name, value in members.items() if value is not None}


def described_run(run: MapRun) -> dict[str, object]:
    """A map run as DescribeMapRun has it."""
    answer: dict[str, object] = {
        "mapRunArn": run.arn,
        "executionArn": run.execution_arn,
        "status": run.status,
        "startDate": run.start_date,
        "stopDate": run.stop_date,
        "maxConcurrency": run.max_concurrency,
        "toleratedFailureCount": run.tolerated_count or 0,
        "toleratedFailurePercentage": run.tolerated_percentage or 0.0,
        "itemCounts": run.counts(of_items=True),
        "executionCounts": run.counts(of_items=False),
        "redriveCount": run.redrive_count,
        "redriveDate": run.redrive_date,
    }
    return {name: value for name, value in answer.items() if value is not None}
