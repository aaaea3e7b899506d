"""``scones threshold``: the confidence that a prediction needs to pass, and what another one would cost."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from reporting.documents.evaluation import Coverage
from scones import screen
from scones.commands import Json, Stage
from scones.plain_text import brief, time_text
from scones.review import threshold
from scones.review.threshold import Expected, LiveModel, NotAThresholdError, StageThresholds, ThresholdChange
from scones.stage.connection import Connection, connect_deployed

app = typer.Typer(no_args_is_help=True, help="The confidence threshold.")

# Below, the table would be longer than a screen; --json has every row.
_FINE_FROM = 0.9
_STEP = 5


@app.command()
def show(stage: Stage = "local", as_json: Json = False) -> None:
    """Show the threshold, who changed it when and why, and coverage and accuracy of the live model for others."""
    connection = connect_deployed(stage)
    now = threshold.current(connection)
    changes = threshold.history(connection)
    live = threshold.live_model(connection)
    if as_json:
        screen.print_json(_document(now, changes, live))
        return
    screen.out.print(f"threshold: {now}", markup=False)
    rows = [
        (c.version, f"{c.at:%Y-%m-%d %H:%M:%S}", str(c.thresholds), brief(c.by), c.thresholds.reason) for c in changes
    ]
    screen.out.print(screen.table("change", "when", "threshold", "who", "why", rows=rows))
    if live is None:
        screen.say("no model serves, so there is nothing to expect: approve a version with `scones model approve`")
        return
    screen.out.print(f"\nversion {live.version.version}, measured on its test images:", markup=False)
    screen.out.print(screen.table("threshold", "coverage", "accuracy", "95 % interval", "", rows=_rows(now, live)))
    screen.out.print(_expectation("now", live.expected(now)), markup=False)


@app.command(name="set", context_settings={"ignore_unknown_options": True})  # else -0.1 would be an unknown option
def set_threshold(
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the history.")],
    value: Annotated[str | None, typer.Argument(help="Confidence from 0 to 1 for every class without its own.")] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="NAME=THRESHOLD for one class, NAME=default to end that; can be repeated."),
    ] = None,
    stage: Stage = "local",
    as_json: Json = False,
) -> None:
    """Change the threshold without deploying. It counts as soon as the functions read it again."""
    connection = connect_deployed(stage)
    before = _before(connection)
    live = threshold.live_model(connection)
    known = live.version.classes if live else list(connection.settings.pipeline.classes)
    wanted = threshold.changed(before, value, class_ or [], known)
    after = threshold.write(connection, wanted, reason)
    steps: dict[str, StageThresholds | None] = {"before": before, "after": after}
    found = {name: live.expected(step) if live and step else None for name, step in steps.items()}
    if as_json:
        screen.print_json(
            {name: {"threshold": _plain(step), "expected": _plain(found[name])} for name, step in steps.items()}
        )
        return
    screen.out.print(f"threshold: {before} -> {after}", markup=False)
    if live:
        for name, expected in found.items():
            screen.out.print(_expectation(name, expected), markup=False)
    screen.say(f"the functions follow within {connection.settings.workflow.threshold_cache_s:g} s")


def _before(connection: Connection) -> StageThresholds | None:
    """None when the parameter holds anything else than a threshold: then it is time to set one."""
    try:
        return threshold.current(connection)
    except NotAThresholdError:
        return None


def _plain(value: Expected | StageThresholds | None) -> dict[str, object] | None:
    return asdict(value) if value else None


def _document(now: StageThresholds, changes: list[ThresholdChange], live: LiveModel | None) -> dict[str, object]:
    history: list[dict[str, object]] = []
    for change in changes:
        row = {"version": change.version, "at": time_text(change.at), "by": change.by, **asdict(change.thresholds)}
        if math.isnan(change.thresholds.default):  # no number in JSON
            row["default"] = None
        history.append(row)
    document: dict[str, object] = {"threshold": asdict(now), "history": history, "model": None}
    if live:
        document["model"] = {
            "model_package_arn": live.version.arn,
            "classes": live.version.classes,
            "expected": _plain(live.expected(now)),
            "threshold_for_accuracy": msgspec.to_builtins(live.evaluation.threshold_for_accuracy),
            "table": msgspec.to_builtins(live.table),
        }
    return document


def _rows(now: StageThresholds, live: LiveModel) -> list[tuple[str | Text, ...]]:
    """Every fifth row, the finer end, and what is marked: the threshold that counts, and the one for the accuracy."""
    wished = live.evaluation.threshold_for_accuracy
    marks: dict[float, list[str]] = {now.default: ["<- now"]}
    for name, value in now.classes.items():
        marks.setdefault(value, []).append(f"<- now for {name}")
    if wished and wished.threshold is not None:
        marks.setdefault(wished.threshold, []).append(f"<- for accuracy {wished.wished:g}")
    measured = {round(row.threshold, 4): row for row in live.table}
    shown = sorted({t for t in measured if _is_shown(t)} | set(marks))
    return [_row(t, measured.get(round(t, 4)), live, marks.get(t, [])) for t in shown]


def _is_shown(value: float) -> bool:
    return value >= _FINE_FROM or round(value * 100) % _STEP == 0


def _row(value: float, measured: Coverage | None, live: LiveModel, marks: list[str]) -> tuple[str | Text, ...]:
    mark = Text(", ".join(marks), style="bold")
    if measured is None:  # a threshold between two rows of the table
        found = live.expected(StageThresholds(value))
        figures = (_percent(found.coverage), _percent(found.accuracy), "") if found else ("-", "-", "")
        return (f"{value:g}", *figures, mark)
    low, high = measured.accuracy_interval_95 or (None, None)
    interval = f"{_percent(low)} to {_percent(high)}" if low is not None else "-"
    return (f"{value:g}", _percent(measured.coverage), _percent(measured.accuracy), interval, mark)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _expectation(when: str, found: Expected | None) -> str:
    if found is None:
        return f"{when}: the evaluation kept no predictions, so only the table tells"
    of = f"({found.passed} of {found.images} test images)"
    if found.accuracy is None:
        return f"{when}: nothing would pass {of}"
    return f"{when}: {_percent(found.coverage)} would pass {of}, of which {_percent(found.accuracy)} are right"
