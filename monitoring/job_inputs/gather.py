"""Everything a report is about, from the places the job was told of: captures, state, baseline, labels, context.

Runs in the monitoring container, as the first half of `monitoring.report`. Brings the state up to date with the
captures; a state that cannot be read is built again from them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from imaging.decode import IMAGE_SIZE
from monitoring.captures.folders import UNKNOWN, Folder
from monitoring.captures.line import Classes
from monitoring.drift import baseline as baselines
from monitoring.drift.baseline import Baseline
from monitoring.drift.detector import Floats
from monitoring.drift.traffic import TrafficSource
from monitoring.drift.watch import WatchedTraffic, spans, watch
from monitoring.job_inputs import places
from monitoring.job_inputs.clocks import clock_notes
from monitoring.job_inputs.context import EndpointContext, read_context
from monitoring.job_inputs.inputs import CaptureFiles, StateFiles, labels_folder
from monitoring.job_inputs.mending import DAMAGED, replace_damaged
from monitoring.job_inputs.options import Options
from monitoring.quality.ground_truth import GroundTruth, read_ground_truth
from monitoring.quality.unusual import statistics_of
from monitoring.store.aggregates import Thresholds
from monitoring.store.novelty import NOVELTY, NOVELTY_FILE, NoveltyModel
from monitoring.store.store import Store
from monitoring.store.update import update
from monitoring.store.window_table import SHADOW, Captures, Live, Window, stored_captures
from reporting.documents.baseline import BASELINE_FILE
from reporting.job import JobError
from reporting.wording import count
from serving.inference import ModelError

PROCESSES = 2


@dataclass(frozen=True)
class Collected:
    """What captures and state say."""

    captures: Captures
    source: TrafficSource
    watched: WatchedTraffic | None
    image_statistics: dict[str, Floats]
    """Of the window's predictions, NaN where the image was not sampled."""
    capture_gap: float | None
    """The share of requests in the whole hours of the window that were not captured; None where nobody counted."""


@dataclass
class Gathered:
    """What the report is made of."""

    classes: tuple[str, ...]
    thresholds: Thresholds
    collected: Collected
    files: CaptureFiles
    state: StateFiles
    baseline: Baseline | None
    novelty: NoveltyModel | None
    truth: GroundTruth
    context: EndpointContext
    notes: list[str] = field(default_factory=list)
    """What the reader has to know of the report itself."""

    def bring_images(self, rows: list[int]) -> None:
        """Copy the files that hold the requests of predictions."""
        captures = self.collected.captures
        self.files.ensure(captures.files[int(file)] for file in captures.frame["file"].iloc[rows].unique())


def gather(options: Options, scratch: Path) -> Gathered:
    """Read it all. Raises JobError, BaselineError and StoreError, whose messages are one line each."""
    baseline = _baseline(options, scratch)
    classes = options.classes or (baseline.classes if baseline else ())
    # One of both is there, see `read_options`.
    thresholds = options.thresholds or Thresholds(baseline.document.threshold if baseline else 0.0)
    notes: list[str] = []
    novelty = _novelty(options, baseline, scratch, notes)
    known = _Known(options, thresholds, baseline, novelty, read_context(options.context))
    state = StateFiles(places.place(options.state or str(scratch / "state")), scratch)
    state.load(known.looked_at)
    if earlier := state.of_earlier_versions():
        notes.append(
            f"What an earlier version kept ({', '.join(earlier)}) is not read: hours whose captures have expired are "
            f"missing, and the rest was read again"
        )
    files = CaptureFiles(places.place(options.captures), scratch)
    store = Store(state.folder, Classes.of(classes))

    try:
        collected = _collect(known, store, files)
    except DAMAGED:
        damaged = replace_damaged(store, thresholds.by_index(store.classes.labels, store.classes.count))
        notes.append(
            f"What was kept of earlier captures was damaged ({count(len(damaged), 'file')}, the first "
            f"{damaged[0] if damaged else UNKNOWN}) and was built again from the captures that are still there"
        )
        collected = _collect(known, store, files)
    notes += clock_notes(store, options.endpoint, options.window)
    truth = GroundTruth()
    if options.ground_truth:
        # Of all that is looked at: labels tell of earlier reports, too, whether they were right.
        span = Window(min(each.start for each in known.looked_at), options.window.end)
        folder = labels_folder(places.place(options.ground_truth), scratch, span)
        truth = read_ground_truth(folder, classes)
    return Gathered(classes, thresholds, collected, files, state, baseline, novelty, truth, known.context, notes)


@dataclass(frozen=True)
class _Known:
    """What is known before the captures are read."""

    options: Options
    thresholds: Thresholds
    baseline: Baseline | None
    novelty: NoveltyModel | None
    context: EndpointContext

    @property
    def looked_at(self) -> list[Window]:
        """The report's window, and what drift is looked for in and learned from."""
        watched = spans(self.options.window, self.options.deployed_at) if self.baseline else ()
        return [self.options.window, *(span for span in watched if span)]

    def wanted(self, folder: Folder) -> bool:
        ours = self.options.endpoint is None or folder.endpoint in (self.options.endpoint, UNKNOWN)
        return ours and any(span.may_be_in(folder) for span in self.looked_at)


def _collect(known: _Known, store: Store, files: CaptureFiles) -> Collected:
    options, thresholds, baseline, requests = known.options, known.thresholds, known.baseline, known.context.requests
    for span in known.looked_at:
        files.bring(store, options.endpoint, span)
    done = update(store, files.folder, thresholds, min(PROCESSES, os.cpu_count() or 1), known.wanted)
    live = Live(options.model_package, options.deployed_at)
    captures = stored_captures(store, files.folder, options.window, options.endpoint, done=done, live=live)
    ours = {options.endpoint, UNKNOWN} if options.endpoint else None
    variants = [v for v in store.variants() if v.name != SHADOW and (ours is None or v.endpoint in ours)]
    size = baseline.document.image_size if baseline else IMAGE_SIZE
    source = TrafficSource(store, tuple(variants), thresholds, files.folder, live, size, known.novelty, files.ensure)
    watched = watch(source, options.window, options.deployed_at, baseline, requests) if baseline else None
    images = statistics_of(captures.frame, source, options.window.hours)
    return Collected(captures, source, watched, images, _capture_gap(source, options.window, requests))


def _capture_gap(source: TrafficSource, window: Window, requests: dict[int, int] | None) -> float | None:
    traffic = source.traffic(window, requests)
    if traffic.requests is None or not traffic.requests.sum():
        return None
    return float((traffic.requests - traffic.lines).clip(0).sum() / traffic.requests.sum())


def _novelty(options: Options, baseline: Baseline | None, scratch: Path, notes: list[str]) -> NoveltyModel | None:
    """The model beside a baseline that knows how far its images are; a note where it should be there and is not."""
    if baseline is None or NOVELTY not in baseline.statistics:
        return None
    data = places.read(f"{options.baseline.rpartition('/')[0]}/{NOVELTY_FILE}")
    copy = scratch / NOVELTY_FILE
    copy.write_bytes(data or b"")
    try:
        found = NoveltyModel.of(copy) if data else None
    except ModelError:
        found = None
    if found is None:
        notes.append(
            f"How far images are from the training images is not judged: no {NOVELTY_FILE} beside the baseline"
        )
    return found


def _baseline(options: Options, scratch: Path) -> Baseline | None:
    """BaselineError when it is none, or one of other classes."""
    if not options.baseline:
        return None
    data = places.read(options.baseline)
    if data is None:
        raise JobError(f"there is no baseline at {options.baseline}: run the training pipeline, which builds one")
    copy = scratch / BASELINE_FILE
    copy.write_bytes(data)
    try:
        return baselines.read_baseline(copy, options.classes)
    except baselines.BaselineError as error:
        raise JobError(str(error).replace(str(copy), options.baseline)) from error
