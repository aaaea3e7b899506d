"""Two runs side by side: how each ended, what it measured, and what it was started with.

Runs in the console's process.
"""

from __future__ import annotations

from dataclasses import dataclass

from botocore.exceptions import ClientError

from console.pages.runs import views
from console.web.remembered import Remembered
from reporting import wording
from reporting.documents.evaluation import Evaluation
from reporting.documents.json import DocumentError, from_bytes
from scones.errors import SconesError
from scones.runs import pipeline_runs
from scones.runs.pipeline_runs import Run
from scones.stage.connection import Connection, split_uri

_outcomes: Remembered[dict[str, str]] = Remembered()


@dataclass(frozen=True)
class ComparedRow:
    """A line of the table: a value for each run."""

    name: str
    values: list[str]

    @property
    def differs(self) -> bool:
        """Whether the runs do not agree."""
        return len(set(self.values)) > 1


@dataclass(frozen=True)
class ComparedRuns:
    """One run or two; ``others`` may be chosen to compare with."""

    runs: list[str]
    outcomes: list[ComparedRow]
    parameters: list[ComparedRow]
    others: list[str]


def read_compared(connection: Connection, wanted: str, other: str) -> ComparedRuns:
    """Read what became of a run and of the one that it is compared with, and their parameters."""
    identities = [views.newest(connection, wanted), *([other] if other else [])]
    others = [name for summary in views.recent(connection) if (name := views.identity_of(summary)) != identities[0]]
    return ComparedRuns(
        identities,
        _rows([outcome(connection, identity) for identity in identities]),
        _rows([views.parameters(connection, identity) for identity in identities]),
        others,
    )


def _rows(columns: list[dict[str, str]]) -> list[ComparedRow]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [ComparedRow(name, [column.get(name, "-") for column in columns]) for name in names]


def outcome(connection: Connection, identity: str) -> dict[str, str]:
    """How a run stands; one that succeeded or was stopped is read once, one that failed may be retried."""
    arn = views.arn_of(connection, identity)
    run = pipeline_runs.describe(connection, arn)
    if run.status in ("Succeeded", "Stopped"):
        return _outcomes.get(arn, lambda: _outcome(connection, run))
    return _outcome(connection, run)


def _outcome(connection: Connection, run: Run) -> dict[str, str]:
    found = _evaluation(connection, run)
    passing = [row.coverage for row in found.coverage if row.threshold == found.threshold] if found else []
    return {
        "status": run.status,
        "computing": f"{sum(step.seconds for step in run.steps):.0f} s",
        "accuracy on test images": wording.percent(found.accuracy) if found else "-",
        "of them pass": wording.percent(passing[0]) if passing else "-",
    }


def _evaluation(connection: Connection, run: Run) -> Evaluation | None:
    """None where the run did not come so far, or stopped before."""
    try:
        bucket, prefix = split_uri(pipeline_runs.processing_output(connection, run, "evaluation"))
        answer = connection.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/evaluation.json")
        return from_bytes(answer["Body"].read(), Evaluation)
    except (SconesError, ClientError, DocumentError):
        return None
