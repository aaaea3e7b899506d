"""One execution of a pipeline: starts every step whose needs are met, in parallel, and keeps the record.

Runs in the server process: a thread for the execution, one for each running step. The record (table
``pipeline-executions``) holds what ``DescribePipelineExecution`` answers, and ``Steps``, ``Definition``, ``Values``.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable

from botocore.exceptions import ClientError

from local_account.base.arns import last_part
from local_account.protocol.actions import Json
from local_account.protocol.service import now
from local_account.sagemaker.experiments.of_jobs import keep_trial
from local_account.sagemaker.jobs.files import TransferError, split_uri
from local_account.sagemaker.pipelines import cache as pipeline_cache
from local_account.sagemaker.pipelines import steps as pipeline_steps
from local_account.sagemaker.pipelines.callbacks import Callbacks
from local_account.sagemaker.pipelines.definition import Definition
from local_account.sagemaker.pipelines.documents import PipelineStep
from local_account.sagemaker.pipelines.events import emit_execution, emit_step, iso
from local_account.sagemaker.pipelines.expressions import ExpressionScope, PipelineExpressionError, resolve, walk
from local_account.sagemaker.pipelines.running import Running, StepError, StepResult, StepStoppedError, retry_pause_s
from local_account.sagemaker.records import ExecutionRecord, StepRecord
from local_account.sagemaker.service import SageMaker

log = logging.getLogger(__name__)

ACCOUNT_STOPPED = "InternalServerError: the account was stopped while the pipeline ran."
REASON_CHARACTERS = 1024
DEFAULT_PARALLEL_STEPS = 50


class PipelineRun:
    """Runs an execution to its end; ``start`` again after a failure keeps the steps that succeeded."""

    def __init__(
        self, sagemaker: SageMaker, record: ExecutionRecord, definition: Definition, callbacks: Callbacks
    ) -> None:
        self.sagemaker, self._callbacks = sagemaker, callbacks
        self.record = record
        self.definition = definition
        self.arn: str = record["PipelineExecutionArn"]
        self.stop = threading.Event()
        pipelines = sagemaker.pipelines.values()
        own = next((p["RoleArn"] for p in pipelines if p["PipelineArn"] == record["PipelineArn"]), "")
        self._role = record.get("RoleArn", own)
        self._properties: dict[str, dict[str, Json]] = {}
        self._skipped = self._not_selected()
        self._changed = threading.Condition()

    def start(self, ended: Callable[[], None]) -> None:
        """Run in a thread of its own; ``ended`` is called at the end."""
        for name, step in self.record["Steps"].items():  # of an execution that is retried: all of them succeeded
            found = pipeline_steps.describe(self.sagemaker, self.definition.steps[name].type, step["Metadata"])
            self._properties[name] = found or {}
        threading.Thread(target=self._run, args=(ended,), name=f"pipeline-{self.arn}", daemon=True).start()

    def _not_selected(self) -> set[str]:
        """The steps that a selective execution leaves out."""
        config = self.record.get("SelectiveExecutionConfig")
        chosen = {one["StepName"] for one in config["SelectedSteps"]} if config else self.definition.steps.keys()
        return {name for name in self.definition.steps if name not in chosen and name not in self.record["Steps"]}

    def request_stop(self) -> None:
        """Start no further step and end those that run; returns at once."""
        self._set_status("Stopping")
        with self._changed:
            self.stop.set()
            self._changed.notify_all()

    def _run(self, ended: Callable[[], None]) -> None:
        try:
            self._enter_experiment()
            self._schedule()
            failed = [s for s in self.record["Steps"].values() if s["StepStatus"] == "Failed"]
            if self.sagemaker.account.stopping.is_set():
                self._set_status("Failed", ACCOUNT_STOPPED)
            elif self.stop.is_set():
                self._set_status("Stopped")
            elif failed:
                self._set_status("Failed", _execution_reason(failed))
            else:
                self._set_status("Succeeded")
        except Exception as error:
            log.exception("pipeline execution %s", self.arn)
            self._set_status("Failed", f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            ended()

    def _enter_experiment(self) -> None:
        """Keep the experiment and the trial that the definition names (developer guide, experiments integration)."""
        config = resolve(self.definition.experiment, self._scope(None))
        if isinstance(config, dict) and "ExperimentName" in config:
            named = {name: str(config[name]) for name in ("ExperimentName", "TrialName") if config.get(name)}
            keep_trial(self.sagemaker, *named.values())
            with self.sagemaker.lock:
                self.record["PipelineExperimentConfig"] = named

    def _schedule(self) -> None:
        """Start what is ready until nothing runs and nothing may start."""
        limit = self.record.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps", DEFAULT_PARALLEL_STEPS)
        running: set[str] = set()

        def run_step(step: PipelineStep) -> None:
            try:
                self._run_step(step)
            finally:
                with self._changed:
                    running.discard(step.name)
                    self._changed.notify_all()

        with self._changed:
            while True:
                for step in self._ready(running)[: limit - len(running)]:
                    running.add(step.name)
                    threading.Thread(target=run_step, args=(step,), name=f"step-{step.name}", daemon=True).start()
                if not running:
                    return
                self._changed.wait()

    def _ready(self, running: set[str]) -> list[PipelineStep]:
        """Steps that may start now; after a failure or a stop there are none."""
        steps = self.record["Steps"]
        halted = any(name not in running and s["StepStatus"] in ("Failed", "Stopped") for name, s in steps.items())
        if self.stop.is_set() or halted:
            return []
        ready = []
        for step in self.definition.steps.values():  # in order, so that what a skipped step leads to is skipped too
            if step.name in running or step.name in steps or step.name in self._skipped:
                continue
            if step.needs & self._skipped or self._in_other_branch(step):
                self._skipped.add(step.name)
            elif all(need not in running and need in self._properties for need in step.needs):
                ready.append(step)
        return ready

    def _in_other_branch(self, step: PipelineStep) -> bool:
        if step.branch is None or step.branch[0] not in self._properties:
            return False
        return bool(self._properties[step.branch[0]]["Outcome"] != step.branch[1])

    def _run_step(self, step: PipelineStep) -> None:
        self._step(step, {**_described(step), "StepStatus": "Starting", "StartTime": now(), "AttemptCount": 1})
        try:
            result = self._attempt(step)
        except StepStoppedError:
            self._step(step, {"StepStatus": "Stopped", "EndTime": now()})
        except (StepError, PipelineExpressionError) as error:
            reason = str(error) if isinstance(error, StepError) else f"ClientError: {error}"
            changes: StepRecord = {"FailureReason": reason[:REASON_CHARACTERS]} if reason else {}
            if isinstance(error, StepError) and error.metadata:
                changes["Metadata"] = error.metadata
            self._step(step, {**changes, "StepStatus": "Failed", "EndTime": now()})
        except Exception as error:
            log.exception("step %s of %s", step.name, self.arn)
            reason = f"InternalServerError: {type(error).__name__}: {error}"
            self._step(step, {"StepStatus": "Failed", "EndTime": now(), "FailureReason": reason[:REASON_CHARACTERS]})
        else:
            self._properties[step.name] = result.properties
            self._step(step, {"StepStatus": "Succeeded", "EndTime": now(), "Metadata": result.metadata})

    def _attempt(self, step: PipelineStep) -> StepResult:
        """Run a step, from the cache or by itself, as often as its retry policies say."""
        started = time.monotonic()
        attempts: dict[int, int] = {}
        while True:
            arguments = {} if step.type == "Condition" else self._arguments(step)
            hit = self._from_cache(step, arguments)
            if hit:
                return hit
            self._step(step, {"StepStatus": "Executing"})
            running = Running(
                self.sagemaker,
                step,
                self.arn,
                self._scope(step),
                self.stop,
                lambda metadata: self._step(step, {"Metadata": metadata}),
                self._role,
                self._callbacks,
                self.record.get("PipelineExperimentConfig", {}),
            )
            try:
                return pipeline_steps.run(running, arguments)
            except StepError as error:
                pause_s = retry_pause_s(step, error.exception_type, attempts, time.monotonic() - started)
                if pause_s is None or self.sagemaker.account.stopping.is_set():
                    raise
                log.info("step %s of %s is retried in %s s: %s", step.name, self.arn, pause_s, error)
                if self.stop.wait(pause_s):
                    raise StepStoppedError from error
                self._step(step, {"AttemptCount": 1 + sum(attempts.values())})

    def _arguments(self, step: PipelineStep) -> dict[str, Json]:
        return {name: resolve(value, self._scope(step)) for name, value in step.arguments.items()}

    def _from_cache(self, step: PipelineStep, arguments: dict[str, Json]) -> StepResult | None:
        config = step.document.get("CacheConfig") or {}
        key = pipeline_cache.cache_key(step.type, arguments)
        if key is None:
            return None
        self._step(step, {"CacheKey": key})
        if not config.get("Enabled"):
            return None
        not_before = now() - pipeline_cache.duration_s(config["ExpireAfter"])
        with self.sagemaker.lock:
            same = [
                e for e in self.sagemaker.pipeline_executions.values() if e["PipelineArn"] == self.record["PipelineArn"]
            ]
            hit = pipeline_cache.earlier_success(same, step.name, key, not_before)
        if hit is None:
            return None
        execution, earlier = hit
        properties = pipeline_steps.describe(self.sagemaker, step.type, earlier["Metadata"])
        if properties is None:
            return None
        self._step(step, {"CacheHitResult": {"SourcePipelineExecutionArn": execution["PipelineExecutionArn"]}})
        return StepResult(earlier["Metadata"], properties)

    def _scope(self, step: PipelineStep | None) -> ExpressionScope:
        record, name = self.record, step.name if step else ""
        execution = {
            "CurrentDateTime": iso(now()),
            "PipelineArn": record["PipelineArn"],
            "PipelineExecutionArn": self.arn,
            "PipelineExecutionId": last_part(self.arn),
            "PipelineName": last_part(record["PipelineArn"]),
            "StartDateTime": iso(record["CreationTime"]),
            "ProcessingJobName": name,
            "TrainingJobName": name,
        }
        return ExpressionScope(
            record["Values"], execution, self._properties.__getitem__, self._property_file, self._json_object
        )

    def _property_file(self, step_name: str, file_name: str) -> Json:
        files = self.definition.steps[step_name].document["PropertyFiles"]
        file = next(f for f in files if f["PropertyFileName"] == file_name)
        place = ("ProcessingOutputConfig", "Outputs", file["OutputName"], "S3Output", "S3Uri")
        uri = walk(self._properties[step_name], place, f"property file {file_name} of step {step_name}")
        return self._json_object(f"{str(uri).rstrip('/')}/{file['FilePath']}")

    def _json_object(self, uri: str) -> Json:
        try:
            bucket, key = split_uri(uri)
            content = self.sagemaker.account.client("s3", self._role).get_object(Bucket=bucket, Key=key)["Body"].read()
            found: Json = json.loads(content, parse_constant=_no_number)
            return found
        except (ClientError, TransferError, ValueError) as error:
            raise PipelineExpressionError(f"JsonGet cannot read {uri}: {error}") from error

    def _step(self, step: PipelineStep, changes: StepRecord) -> None:
        """Change a step's record; a new status goes to EventBridge."""
        with self.sagemaker.lock:
            record = self.record["Steps"].setdefault(step.name, {"StepName": step.name})
            before = record.get("StepStatus")
            record.update(changes)
            self.record["LastModifiedTime"] = now()
            snapshot: StepRecord = json.loads(json.dumps(record))
        self.sagemaker.changed()
        if snapshot.get("StepStatus") != before:
            emit_step(self.sagemaker, self.record, step, before, snapshot)

    def _set_status(self, status: str, reason: str | None = None) -> None:
        with self.sagemaker.lock:
            before = self.record.get("PipelineExecutionStatus")
            self.record.update({"PipelineExecutionStatus": status, "LastModifiedTime": now()})
            self.record.pop("FailureReason", None)
            if reason:
                self.record["FailureReason"] = reason
        self.sagemaker.changed()
        emit_execution(self.sagemaker, self.record, before)


def _no_number(name: str) -> Json:
    """NaN and Infinity are none of JSON's numbers, though Python writes them. Raises ValueError."""
    raise ValueError(f"{name} is no number")


def _described(step: PipelineStep) -> StepRecord:
    described: StepRecord = {}
    if name := step.document.get("DisplayName"):
        described["StepDisplayName"] = name
    if description := step.document.get("Description"):
        described["StepDescription"] = description
    return described


def _execution_reason(failed: list[StepRecord]) -> str:
    """A Fail step's message becomes the execution's reason; else AWS says only this."""
    messages = [s["Metadata"]["Fail"].get("ErrorMessage") for s in failed if "Fail" in s.get("Metadata", {})]
    return str(messages[0]) if messages and messages[0] else "Step failure: One or multiple steps failed"
