"""The life of an execution: its name, its start, its end, and what is published about it.

Runs in the server process; ``stepfunctions`` installs it over moto's backend. An execution that has ended is reduced to
its result and its history, so that it costs kilobytes and no thread.
"""

from __future__ import annotations

import copy
import datetime
import json
import logging
import random
import threading
import uuid
from typing import Any

from local_account.account import Account
from local_account.moto_state import PastWorker
from local_account.stepfunctions_encoding import STATE_LIMIT_BYTES, dumps
from local_account.stepfunctions_programs import program_of
from local_account.telemetry import Telemetry

FINISHED_THREADS_KEPT = 256
log = logging.getLogger(__name__)


def hook_executions(account: Account, telemetry: Telemetry) -> None:
    """Replace how moto's backend starts, ends and stops executions. Called once."""
    publisher = Publisher(account, telemetry)
    _hook_worker(publisher)
    _hook_start(account, telemetry, publisher)
    _hook_stop(publisher)


class Publisher:
    """Tells EventBridge, CloudWatch and the snapshots about executions; never fails an execution."""

    def __init__(self, account: Account, telemetry: Telemetry) -> None:
        self._account, self._telemetry = account, telemetry

    def started(self, execution: Any) -> None:
        machine = _machine_arn(execution)
        self._telemetry.add_metric("AWS/States", "ExecutionsStarted", 1, "Count", {"StateMachineArn": machine})
        self._emit(execution, "RUNNING")

    def ended(self, execution: Any) -> None:
        dimensions = {"StateMachineArn": _machine_arn(execution)}
        name = {
            "SUCCEEDED": "ExecutionsSucceeded",
            "FAILED": "ExecutionsFailed",
            "TIMED_OUT": "ExecutionsTimedOut",
            "ABORTED": "ExecutionsAborted",
        }[execution.status]
        self._telemetry.add_metric("AWS/States", name, 1, "Count", dimensions)
        milliseconds = (execution.stop_date - execution.start_date).total_seconds() * 1000
        self._telemetry.add_metric("AWS/States", "ExecutionTime", milliseconds, "Milliseconds", dimensions)
        self._account.snapshots.mark_dirty("states")
        self._emit(execution, execution.status)

    def _emit(self, execution: Any, status: str) -> None:
        ended, succeeded = status != "RUNNING", status == "SUCCEEDED"
        detail = {
            "executionArn": execution.execution_arn,
            "stateMachineArn": _machine_arn(execution),
            "name": execution.name,
            "status": status,
            "startDate": int(execution.start_date.timestamp() * 1000),
            "stopDate": int(execution.stop_date.timestamp() * 1000) if ended else None,
            "input": execution.execution_input,
            "inputDetails": {"included": True},
            "output": execution.output if succeeded else None,
            "outputDetails": {"included": True} if succeeded else None,
            "error": execution.error if ended else None,
            "cause": execution.cause if ended else None,
        }
        try:
            self._account.emit_event(
                "aws.states", "Step Functions Execution Status Change", detail, [execution.execution_arn]
            )
        except Exception:  # a rule that cannot be served must not change what an execution came to
            log.exception("the status change of %s was not published", execution.execution_arn)


def _machine_arn(execution: Any) -> str:
    machine = execution.state_machine
    arn: str = getattr(machine, "source_arn", None) or machine.arn
    return arn


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def _hook_worker(publisher: Publisher) -> None:
    from moto.stepfunctions.parser.api import ExecutionStatus
    from moto.stepfunctions.parser.asl.eval import program_state as states
    from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

    def entrypoint(worker: Any) -> Any:
        return program_of(worker._evaluation_details.state_machine_details.definition)

    def terminated(communication: Any) -> None:
        """Set the result first and the status last: who sees SUCCEEDED must see the output."""
        execution = communication.execution
        with _ending:
            if execution.exec_status != ExecutionStatus.RUNNING:
                return  # it was stopped meanwhile
            env = execution.exec_worker.env
            end = env.program_state()
            status = ExecutionStatus.FAILED
            if isinstance(end, states.ProgramEnded):
                execution.output = dumps(env.states._states_data["input"])
                status = ExecutionStatus.SUCCEEDED
            elif isinstance(end, states.ProgramTimedOut):
                execution.error, status = "States.Timeout", ExecutionStatus.TIMED_OUT
            elif isinstance(end, states.ProgramStopped):
                execution.error, execution.cause, status = end.error, end.cause, ExecutionStatus.ABORTED
            elif isinstance(end, states.ProgramError):
                error = end.error or {}
                execution.error, execution.cause = error.get("error"), error.get("cause")
            else:
                execution.error, execution.cause = "States.Runtime", f"The interpreter ended in state {end!r}"
            _finish(execution, status)
        publisher.ended(execution)

    ExecutionWorker._get_evaluation_entrypoint = entrypoint
    BaseExecutionWorkerCommunication.terminated = terminated


_ending = threading.Lock()


def _finish(execution: Any, status: Any) -> None:
    history = execution.exec_worker.env.event_manager._history_event_list
    execution.stop_date = _now()
    execution.exec_worker = PastWorker(history)  # the list itself: a state that still runs may add to it
    execution._cloud_watch_logging_session = None
    execution.exec_status = status


def _hook_start(account: Account, telemetry: Telemetry, publisher: Publisher) -> None:
    from moto.stepfunctions.exceptions import InvalidExecutionInput, ValidationException
    from moto.stepfunctions.parser.backend.execution import Execution
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend
    from moto.stepfunctions.parser.utils import TMP_THREADS

    starting = threading.Lock()

    def start_execution(
        backend: Any,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str | None = None,
        trace_header: str | None = None,
    ) -> Any:
        text = "{}" if execution_input is None else execution_input
        if len(text.encode()) > STATE_LIMIT_BYTES:
            raise ValidationException(
                "1 validation error detected: Value at 'input' failed to satisfy constraint: "
                f"Member must have length less than or equal to {STATE_LIMIT_BYTES}"
            )
        try:
            json.loads(text)
        except ValueError as error:
            raise InvalidExecutionInput(f"Invalid State Machine Execution Input: '{error}'") from error
        backend._validate_name(name or "")
        chosen = _chosen_machine(backend, state_machine_arn)
        source = backend.describe_state_machine(getattr(chosen, "source_arn", chosen.arn))
        with starting:
            existing = source._handle_name_input_idempotency(name, text) if name else None
            if existing is not None:
                return existing
            execution = _new_execution(source, chosen, name or str(uuid.uuid4()), text, trace_header)
            source.executions.append(execution)
            execution.start()
        if len(TMP_THREADS) > FINISHED_THREADS_KEPT:
            TMP_THREADS[:] = [thread for thread in TMP_THREADS if thread.is_alive()]
        publisher.started(execution)
        return execution

    def _new_execution(source: Any, chosen: Any, name: str, text: str, trace_header: str | None) -> Any:
        arn = account.arn("states", f"execution:{source.name}:{name}")
        return Execution(
            name=name,
            sm_type=chosen.sm_type,
            role_arn=chosen.roleArn,
            exec_arn=arn,
            account_id=account.account_id,
            region_name=account.region,
            state_machine=_snapshot(source, chosen),
            start_date=_now(),
            cloud_watch_logging_session=_logging_session(telemetry, chosen, arn),
            input_data=text,
            trace_header=trace_header,
            activity_store={},
        )

    StepFunctionsParserBackend.start_execution = start_execution


def _chosen_machine(backend: Any, arn: str) -> Any:
    """The machine, or the version that the ARN names, or one of an alias's versions by their weights."""
    parts = arn.split(":")
    if len(parts) > 7 and not parts[-1].isnumeric():
        routes = backend.describe_state_machine_alias(arn).routing_configuration
        weights = [route["weight"] for route in routes]
        arn = random.choices(routes, weights)[0]["stateMachineVersionArn"]  # noqa: S311  # no secret
    return backend.describe_state_machine(arn)


def _snapshot(source: Any, chosen: Any) -> Any:
    """The machine as it is now; executions between two updates share one copy."""
    if source.executions:
        last = source.executions[-1].state_machine
        if (last.arn, last.update_date, last.definition) == (chosen.arn, chosen.update_date, chosen.definition):
            return last
    snapshot = copy.copy(chosen)
    snapshot.executions = []
    return snapshot


def _logging_session(telemetry: Telemetry, machine: Any, execution_arn: str) -> Any:
    from moto.stepfunctions.parser.asl.eval.event.logging import (
        CloudWatchLoggingConfiguration,
        CloudWatchLoggingSession,
    )
    from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

    class Session(CloudWatchLoggingSession):  # type: ignore[misc]  # moto has no types
        """moto's session hands objects to a backend that wants dictionaries, and writes within the execution."""

        def publish_history_log(self, history_log: Any) -> None:
            group, stream = self.configuration.log_group_name, self.configuration.log_stream_name
            telemetry.add_lines(group, stream, [to_json_str(history_log, separators=(",", ":"))])

    settings = {"includeExecutionData": False, **(machine.loggingConfiguration or {})}
    configuration = CloudWatchLoggingConfiguration.from_logging_configuration(machine.arn, settings)
    return Session(execution_arn, configuration) if configuration else None


def _hook_stop(publisher: Publisher) -> None:
    from moto.stepfunctions.parser.api import ExecutionStatus
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    def stop_execution(backend: Any, execution_arn: str, error: str | None = None, cause: str | None = None) -> Any:
        """Ends at once, as on AWS; a function that the execution has called runs to its end, unheard."""
        execution = backend.describe_execution(execution_arn)
        with _ending:
            if execution.exec_status != ExecutionStatus.RUNNING:
                return execution
            execution.error, execution.cause = error, cause
            worker = execution.exec_worker
            worker.stop(stop_date=_now(), error=error, cause=cause)
            _finish(execution, ExecutionStatus.ABORTED)
        publisher.ended(execution)
        return execution

    StepFunctionsParserBackend.stop_execution = stop_execution
