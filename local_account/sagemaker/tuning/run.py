"""One tuning job: starts training jobs as long as there is something to try, and keeps what they came to.

Runs in the server process, in a thread of its own. A training job is made through SageMaker's own API, with the tuned
hyperparameters beside the fixed ones; its objective is the last value of the metric that the job's log named.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from local_account.protocol.actions import ServiceError
from local_account.protocol.records import change
from local_account.protocol.service import now
from local_account.sagemaker.experiments.components import ComponentMetrics
from local_account.sagemaker.experiments.of_jobs import component_name
from local_account.sagemaker.job_records import TriedJob, TuningJobRecord
from local_account.sagemaker.service import SageMaker
from local_account.sagemaker.tuning.definition import definitions_of, training_request
from local_account.sagemaker.tuning.search import at_random, grid_of, most_promising, ranges_of
from local_account.sagemaker.tuning.stopping import Hyperband, MedianRule, StoppingRule, not_improving

if TYPE_CHECKING:
    from local_account.sagemaker.tuning.search import Range, Tried

log = logging.getLogger(__name__)

POLL_S = 0.1
RUNNING = ("InProgress", "Stopping")
ENDED_WELL = ("Completed", "Stopped")


class TuningRun:
    """Runs a tuning job to its end."""

    def __init__(self, sagemaker: SageMaker, record: TuningJobRecord, parents: Sequence[TriedJob] = ()) -> None:
        """``parents``: what the tuning jobs of a warm start tried."""
        self.sagemaker, self.record, self.parents = sagemaker, record, parents
        self._metrics = ComponentMetrics(sagemaker)
        self.stop = threading.Event()
        config = record["HyperParameterTuningJobConfig"]
        self._config = config
        self._limits = config["ResourceLimits"]
        name = record["HyperParameterTuningJobName"]
        self._chance = random.Random(config.get("RandomSeed", name))  # noqa: S311  # a search, no secret
        self._definitions = {each.name: each for each in definitions_of(record)}
        self._ranges = {name: ranges_of(each.ranges) for name, each in self._definitions.items()}
        self._combinations = {name: self._all_of_the_grid(ranges) for name, ranges in self._ranges.items()}
        self._exhausted: set[str] = set()

    def start(self) -> None:
        """Run in a thread."""
        name = f"tuning-{self.record['HyperParameterTuningJobName']}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _all_of_the_grid(self, ranges: Sequence[Range]) -> Iterator[dict[str, str]]:
        return grid_of(ranges) if self._config["Strategy"] == "Grid" else iter(())

    def _metric(self, one: TriedJob) -> str:
        """The name of the metric that a training job is tried for."""
        return self._definitions[one.get("definition", "")].objective["MetricName"]

    def _run(self) -> None:
        status, reason = "Completed", None
        try:
            self._search()
        except ServiceError as error:
            status, reason = "Failed", f"ClientError: {error}"
        except Exception as error:
            log.exception("tuning job %s", self.record["HyperParameterTuningJobName"])
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        if self.stop.is_set():
            status, reason = "Stopped", None
        elif status == "Completed" and not any("value" in one for one in self.record["_tried"]):
            status, reason = "Failed", self._nothing_succeeded()
        ended = {"HyperParameterTuningJobStatus": status, "HyperParameterTuningEndTime": now(), "FailureReason": reason}
        with self.sagemaker.lock:
            change(self.record, {**ended, "LastModifiedTime": now()})
        self.sagemaker.changed()

    def _nothing_succeeded(self) -> str:
        name = " or ".join(dict.fromkeys(each.objective["MetricName"] for each in self._definitions.values()))
        reasons = [str(self._job(one).get("FailureReason", "")) for one in self.record["_tried"]]
        return f"No training job succeeded and emitted the metric {name}. {next(filter(None, reasons), '')}"[:1024]

    def _search(self) -> None:
        """Start jobs while there are some to start, and wait for those that run."""
        most = self._limits.get("MaxNumberOfTrainingJobs", 1_000_000)
        deadline = time.monotonic() + self._limits.get("MaxRuntimeInSeconds", 10**9)
        exhausted = False
        while True:
            running = self._collect()
            over = self.stop.is_set() or time.monotonic() > deadline or self._good_enough() or self._stands_still()
            self._end_early(running)
            exhausted = exhausted or len(self.record["_tried"]) >= most
            if over:
                self._stop_all(running)
            if not running and (over or exhausted):
                return
            if not over and not exhausted and len(running) < self._limits["MaxParallelTrainingJobs"]:
                exhausted = not self._start_another()
                continue
            time.sleep(POLL_S)

    def _end_early(self, running: list[TriedJob]) -> None:
        """Stop the training jobs of which nothing better is to be expected."""
        rule = self._rule
        if rule is None:
            return
        for one in running:
            peers = [
                self._values(other)
                for other in self.record["_tried"]
                if other is not one and other.get("definition") == one.get("definition")
            ]
            if rule.ends(self._values(one), peers):
                self._stop_all([one])

    def _values(self, one: TriedJob) -> list[float]:
        """The objective of a training job, each time that its log told it."""
        component = component_name("Training", one["name"])
        return [point["value"] for point in self._metrics.of(component, self._metric(one))]

    @property
    def _rule(self) -> StoppingRule | None:
        if "StrategyConfig" in self._config and "HyperbandStrategyConfig" in self._config["StrategyConfig"]:
            resource = self._config["StrategyConfig"]["HyperbandStrategyConfig"]
            return Hyperband(resource.get("MinResource", 1), resource.get("MaxResource", 10**6), self._maximizes)
        return MedianRule(self._maximizes) if self._config.get("TrainingJobEarlyStoppingType") == "Auto" else None

    def _stands_still(self) -> bool:
        criterion = self._config.get("TuningJobCompletionCriteria", {}).get("BestObjectiveNotImproving", {})
        most = criterion.get("MaxNumberOfTrainingJobsNotImproving")
        values = [one["value"] for one in self.record["_tried"] if "value" in one]
        return most is not None and not_improving(values, most, maximize=self._maximizes)

    def _good_enough(self) -> bool:
        target = self._config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue")
        values = [one["value"] for one in self.record["_tried"] if "value" in one]
        if target is None or not values:
            return False
        return max(values) >= target if self._maximizes else min(values) <= target

    @property
    def _maximizes(self) -> bool:
        return all(each.objective["Type"] == "Maximize" for each in self._definitions.values())

    def _collect(self) -> list[TriedJob]:
        """Keep the objective of jobs that have ended; answers those that run."""
        running = []
        for one in self.record["_tried"]:
            job = self._job(one)
            if job.get("TrainingJobStatus") in RUNNING:
                running.append(one)
            elif "value" not in one and job.get("TrainingJobStatus") in ENDED_WELL:
                found = objective_of(job, self._metric(one))
                if found is not None:
                    with self.sagemaker.lock:
                        one["value"] = found
                    self.sagemaker.changed()
        return running

    def _job(self, one: TriedJob) -> dict[str, object]:
        return self.sagemaker.jobs("Training").get(one["name"], {})

    def _stop_all(self, running: list[TriedJob]) -> None:
        for one in running:
            if self._job(one).get("TrainingJobStatus") == "InProgress":
                try:
                    self.sagemaker.perform("StopTrainingJob", {"TrainingJobName": one["name"]})
                except ServiceError:  # it ended in the meantime
                    continue

    def _next(self, definition: str) -> Tried | None:
        """What to try next of a definition; None when there is nothing left."""
        ranges = self._ranges[definition]
        if self._config["Strategy"] == "Grid":
            return next(self._combinations[definition], None)
        if self._config["Strategy"] in {"Random", "Hyperband"}:
            return at_random(ranges, self._chance)
        names = {one.name for one in ranges}
        tried = [one for one in (*self.parents, *self.record["_tried"]) if one.get("definition", "") == definition]
        known = [(one["hyperparameters"], one["value"]) for one in tried if "value" in one]
        known = [(values, value) for values, value in known if names <= values.keys()]
        return most_promising(ranges, known, self._chance, maximize=self._maximizes)

    def _start_another(self) -> bool:
        """Start one more training job; False when there is nothing left to try. Raises ServiceError."""
        while left := [name for name in self._definitions if name not in self._exhausted]:
            counts = Counter(one.get("definition", "") for one in self.record["_tried"])
            definition = min(left, key=lambda name: counts[name])  # the one that was tried least, in their order
            tuned = self._next(definition)
            if tuned is not None:
                self._start(definition, tuned)
                return True
            self._exhausted.add(definition)
        return False

    def _start(self, definition: str, tuned: Tried) -> None:
        number = len(self.record["_tried"]) + 1
        mark = hashlib.sha256(f"{self.record['HyperParameterTuningJobArn']} {number}".encode()).hexdigest()[:8]
        name = f"{self.record['HyperParameterTuningJobName']}-{number:03}-{mark}"
        request = training_request(self._definitions[definition].definition, name, tuned)
        self.sagemaker.perform("CreateTrainingJob", request)
        tried: TriedJob = {"name": name, "hyperparameters": dict(tuned)}
        if definition:
            tried["definition"] = definition
        with self.sagemaker.lock:
            change(self.sagemaker.jobs("Training")[name], {"TuningJobArn": self.record["HyperParameterTuningJobArn"]})
            self.record["_tried"].append(tried)
        self.sagemaker.changed()


def objective_of(job: dict[str, object], metric: str) -> float | None:
    """The last value of a metric in a training job's log."""
    found = job.get("FinalMetricDataList")
    listed = found if isinstance(found, list) else []
    return next((float(one["Value"]) for one in listed if one["MetricName"] == metric), None)
