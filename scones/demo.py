"""``scones demo``: the whole loop on a fresh stand-in account, and where the time went.

Runs on a laptop. Each part calls what the single commands call; nothing here is special to the demonstration but the
order, the clock and the summary.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TypedDict

import msgspec

from infrastructure import stack
from local_account.server import control
from scones import outputs, screen
from scones.errors import SconesError
from scones.find_images import locate
from scones.runs import executions, pipeline_runs
from scones.runs.executions import ImageOutcome
from scones.runs.pipeline_runs import Run
from scones.runs.start_training import start_training
from scones.serving_versions import endpoint, registry
from scones.serving_versions.registry import ModelVersion
from scones.source_data.data import FoundImages
from scones.stage.connection import Connection, connect
from scones.stage.settings import Settings, home
from scones.stand_in import begin, port, state_dir
from scones.traffic import captures
from scones.traffic.captures import TimeRange

STAGE = "local"
# Said only where there is an aws CLI: the loop's own environment has none.
AWS_HINT = 'eval "$(scones account env)"; aws sagemaker list-endpoints'
_ENDPOINT_TIMEOUT_S = 1800  # as `scones model approve` waits; a deployment ends by itself before
_CAPTURE_TIMEOUT_S = 600
_RESOURCES_A_LINE = 20


@dataclass
class Stopwatch:
    """Wall seconds of each part, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Say that a part begins, and note how long it takes."""
        screen.err.print(f"[bold]{name}[/bold]")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


class DemoSummary(TypedDict):
    """What ``--json`` writes; ``dataset`` is its dataset.json with where it came from, ``seconds`` are by part."""

    dataset: dict[str, object]
    accuracy: float
    model_package_arn: str
    endpoint: str
    executions: list[dict[str, object]]
    capture_count: int
    report: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class DemoPlan:
    """What the demonstration was asked for."""

    data: Path | None
    sample: bool
    images: int
    seed: int
    parameters: dict[str, str]
    report_dir: Path
    keep: bool


def main(plan: DemoPlan, json_file: Path | None, *, stop: bool) -> None:
    """Run the loop, print where to look, write the summary.

    Ctrl-C and its relatives stop the account. After an error it goes on running, for its logs, unless ``stop``.
    """
    outputs.check_folder(plan.report_dir)
    if json_file:
        outputs.check_file(json_file)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    settings = Settings.load(STAGE)
    port(settings)  # a stage on AWS is refused before anything is drawn or downloaded
    source = locate(plan.data, plan.sample)
    with _only_one():
        try:
            summary = run(plan, settings, source)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave half of it running
            screen.say("interrupted: stopping the stand-in account and everything it runs...")
            control.stop(state_dir())
            raise
        except Exception:
            if stop:
                control.stop(state_dir())
            raise
        if json_file:
            _write_summary(summary, json_file)
        _closing_words(summary, stopped=stop)
        if stop:
            control.stop(state_dir())


@contextmanager
def _only_one() -> Iterator[None]:
    """A second demonstration in the same home would empty the account under the first one's feet."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SconesError(
                f"another `scones demo` runs in {home()}: wait for it, or give this one a home and a port of its own"
                " with SCONES_HOME and AWS_ENDPOINT_URL"
            ) from error
        yield


def _write_summary(summary: DemoSummary, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    partial.replace(target)


def _closing_words(summary: DemoSummary, *, stopped: bool) -> None:
    parts = [(name, f"{seconds:.1f} s") for name, seconds in summary["seconds"].items()]
    screen.out.print(screen.table("where the time went", "", rows=parts))
    if summary["dataset"]["drawn"]:
        screen.out.print(
            "These were drawn vehicles (--sample), not photographs: the figures say nothing about real ones."
        )
    screen.out.print(f"report: {summary['report']}", markup=False)
    if stopped:
        return
    screen.out.print("The stand-in account goes on running. Try next:")
    if shutil.which("scones") is None:
        screen.out.print(f'  export PATH="{Path(sys.executable).parent}:$PATH"', markup=False)
    beside = str(Path(sys.executable).with_name("aws"))
    aws = [AWS_HINT] if shutil.which("aws") or shutil.which(beside) else []
    for command in (
        "scones model list",
        "scones test-cases -n 10",
        "scones pipeline logs TrainModel",
        *aws,
        "scones account stop",
    ):
        screen.out.print(f"  {command}", markup=False)


def run(plan: DemoPlan, settings: Settings, source: FoundImages) -> DemoSummary:
    """The loop, from images to report; answers the summary. The account is left running."""
    clock = Stopwatch()
    # The SDK takes two seconds to import: they pass while the account starts.
    Thread(target=import_module, args=("pipelines.training_pipeline",), daemon=True).start()
    with clock.part("start a stand-in account"):
        _start_account(settings, keep=plan.keep)
    connection = connect(STAGE)
    with clock.part("deploy the stack"):
        _deploy(connection)
    with clock.part("run the training pipeline"):
        trained = _train(connection, source, plan.parameters)
        version = _version_of(connection, trained)
        evaluation = registry.evaluation(connection, version)
        screen.say(f"  test accuracy {evaluation.accuracy:.3f}, registered as version {version.version}")
    with clock.part("approve, and wait for the endpoint"):
        registry.set_approval(connection, version, "Approved", "approved by scones demo")
        live = endpoint.wait_for(connection, version.arn, _ENDPOINT_TIMEOUT_S)
    with clock.part(f"classify {plan.images} test images"):
        # Captured lines are stamped with whole seconds, the one that has begun included.
        began, before = datetime.now(UTC).replace(microsecond=0), captures.count(connection)
        outcomes = _classify(connection, version, plan)
    with clock.part("write the report"):
        captured = _wait_for_captures(connection, before + len(outcomes)) - before
        captures.write_report(connection, TimeRange(began, datetime.now(UTC)), plan.report_dir)
    return {
        "dataset": _dataset_summary(connection, version, source),
        "accuracy": evaluation.accuracy,
        "model_package_arn": version.arn,
        "endpoint": live.name,
        "executions": [outcome.as_json() for outcome in outcomes],
        "capture_count": captured,
        "report": str((plan.report_dir / "report.html").resolve()),
        "seconds": {**clock.seconds, "total": round(sum(clock.seconds.values()), 2)},
    }


def _start_account(settings: Settings, *, keep: bool) -> None:
    if not keep:
        control.reset(state_dir())
    begin(settings)


def _deploy(connection: Connection) -> None:
    created = set()
    with screen.err.status("deploying") as status:

        def show(line: str) -> None:
            done, _, name = line.partition(" ")
            if done == "CREATE_COMPLETE":
                created.add(name)
                _say_progress(len(created))
            status.update(line)

        stack.deploy(connection, show)
    created.discard(connection.names.stack)  # the stack reports itself beside its resources
    screen.say(f"  {len(created)} resources created")


def _say_progress(created: int) -> None:
    """Where there is no terminal to show each line on, a line for so many resources."""
    if not screen.err.is_terminal and created % _RESOURCES_A_LINE == 0:
        screen.say(f"  {created} resources")


def _train(connection: Connection, source: FoundImages, parameters: dict[str, str]) -> Run:
    arn = start_training(connection, source, parameters)
    try:
        with screen.pipeline_view("training pipeline") as show:
            ended = pipeline_runs.wait(connection, arn, show)
    except KeyboardInterrupt:
        pipeline_runs.stop(connection, arn)
        raise
    if screen.err.is_terminal:
        screen.err.print(screen.steps_table(ended.steps))
    if not ended.succeeded:
        raise SconesError(ended.explain())
    return ended


def _version_of(connection: Connection, run: Run) -> ModelVersion:
    arn = next((s.job for s in run.steps if s.kind == "RegisterModel"), None)
    if arn is None:
        raise SconesError(f"run {run.arn} registered no model")
    return registry.describe(connection, arn)


def _classify(connection: Connection, version: ModelVersion, plan: DemoPlan) -> list[ImageOutcome]:
    images = executions.pick_test_images(connection, version.metadata["dataset_s3_uri"], plan.images, plan.seed)
    outcomes = executions.run(connection, images)
    screen.out.print(screen.outcomes_table(outcomes))
    screen.out.print(screen.outcomes_summary(outcomes), markup=False)
    return outcomes


def _wait_for_captures(connection: Connection, expected: int) -> int:
    """Data capture is written in the background; the report should not miss the last lines of it."""
    deadline = time.monotonic() + _CAPTURE_TIMEOUT_S
    found = captures.count(connection)
    while found < expected and time.monotonic() < deadline:
        time.sleep(connection.settings.poll_interval_s)
        found = captures.count(connection)
    return found


def _dataset_summary(connection: Connection, version: ModelVersion, source: FoundImages) -> dict[str, object]:
    uri = version.metadata["dataset_s3_uri"]
    manifest = executions.read_manifest(connection, uri)
    return {"uri": uri, "source": str(source.path), "drawn": source.drawn, **msgspec.to_builtins(manifest)}
