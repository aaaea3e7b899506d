"""What a person sees in the terminal: tables, the live view of a pipeline, one-line messages.

Runs on a laptop or in CodeBuild. Results go to standard output, progress and errors to standard error, so that
``--json`` output can be piped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from scones.plain_text import PlainConsole, one_form_of_times, plain

if TYPE_CHECKING:
    from scones.runs.executions import ImageOutcome
    from scones.runs.pipeline_runs import Run, RunStep

# Without a terminal, tables take the width they need: nothing that a program reads is cut.
out = PlainConsole(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 400)
err = PlainConsole(stderr=True, highlight=False, soft_wrap=True)

_STATUS_STYLE = {
    "Succeeded": "green",
    "SUCCEEDED": "green",
    "Failed": "red",
    "FAILED": "red",
    "LOW_CONFIDENCE": "yellow",
    "Executing": "cyan",
    "Starting": "cyan",
}


def say(message: str) -> None:
    """A line of progress."""
    err.print(message, markup=False)


def print_json(document: object) -> None:
    """Print a document as JSON, every time in one form; what else JSON does not know, as its text."""
    out.print(json.dumps(one_form_of_times(document), indent=2, default=str), markup=False)


def print_line(text: str) -> None:
    """Print somebody else's line, such as one of a log, without what a terminal would obey."""
    out.print(text, markup=False)


def styled(status: str) -> Text:
    """Return a status in the colour that goes with it."""
    return Text(status, style=_STATUS_STYLE.get(status, ""))


def table(*columns: str, rows: Sequence[Sequence[object]]) -> Table:
    """A plain table; columns of numbers are aligned to the right."""
    result = Table(show_header=any(columns), box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        result.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        # As text: names and reasons may hold brackets, which are markup otherwise.
        result.add_row(*[cell if isinstance(cell, Text) else Text(plain(str(cell))) for cell in row])
    return result


def steps_table(steps: Sequence[RunStep]) -> Table:
    """The steps of a run: status, seconds, and why one failed."""
    rows = [
        (
            step.name,
            styled(step.status),
            f"{step.seconds:.1f} s",
            "from cache" if step.cached else step.progress or " ".join(step.failure.split()),
        )
        for step in steps
    ]
    return table("step", "status", "time", "", rows=rows)


@contextmanager
def pipeline_view(title: str) -> Iterator[Callable[[Run], None]]:
    """A live view of a run; where standard error is no terminal, one line for each change of a step's status."""
    if not err.is_terminal:
        yield _line_view()
        return
    from rich.console import Group
    from rich.live import Live
    from rich.spinner import Spinner

    spinner = Spinner("dots", text=title)
    with Live(spinner, console=err, refresh_per_second=8, transient=True) as live:

        def show(run: Run) -> None:
            live.update(Group(spinner, steps_table(run.steps)))

        yield show


def _line_view() -> Callable[[Run], None]:
    """Members of one training tell of the same epoch, each for itself: it is said once."""
    seen: set[tuple[str, str, str]] = set()

    def show(run: Run) -> None:
        for step in run.steps:
            news = (step.name, step.status, step.progress.partition(",")[0])
            if news not in seen:
                seen.add(news)
                say(f"  {step.name}: {step.status}{f' ({step.progress})' if step.progress else ''}")

    return show


def outcomes_table(outcomes: Sequence[ImageOutcome]) -> Table:
    """Executions of the workflow: which passed, which were too uncertain, which failed."""
    rows = [
        (
            outcome.image.key.rsplit("/", 1)[-1],
            outcome.image.true_label or "-",
            outcome.predicted_label or "-",
            "-" if outcome.confidence is None else f"{outcome.confidence:.3f}",
            styled(outcome.status),
            outcome.error,
        )
        for outcome in outcomes
    ]
    return table("image", "true label", "predicted", "confidence", "execution", "", rows=rows)


def outcomes_summary(outcomes: Sequence[ImageOutcome]) -> str:
    """One line of counts; accuracy is over those that passed and whose label is known."""
    passed = [o for o in outcomes if o.status == "SUCCEEDED"]
    low = sum(o.status == "LOW_CONFIDENCE" for o in outcomes)
    failed = sum(o.status == "FAILED" for o in outcomes)
    line = f"{len(passed)} passed, {low} below the confidence threshold, {failed} failed"
    labelled = [o for o in passed if o.image.true_label]
    if labelled:
        right = sum(o.predicted_label == o.image.true_label for o in labelled)
        line += f"; {right} of {len(labelled)} passed images are labelled right"
    return line
