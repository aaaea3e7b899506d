"""The life of an execution: its name, its start, its end, and what is published about it.

Runs in the server process; ``stepfunctions`` installs it over moto's backend. An execution that has ended is reduced to
its result and its packed history, so that it costs a kilobyte or two and no thread.
"""

from __future__ import annotations

import copy
import datetime
import json
import random
import threading
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

from local_account.account import Account
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.language.encoding import STATE_LIMIT_BYTES
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.past import PastWorker
from local_account.stepfunctions.publisher import Publisher, machine_arn
from local_account.stepfunctions.runs import (
    Outcome,
    Resume,
    Start,
    history_of,
    logging_session,
    new_environment,
    resume_point,
    run,
)

# What moto keeps of an execution besides, and nobody asks for once it has ended.
_LIVE = ("input_data", "input_details", "output_details", "_activity_store", "_cloud_watch_logging_session")
_ending = threading.Lock()


def now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


class Executions:
    """Starts, ends, stops and finds executions."""

    def __init__(self, account: Account, telemetry: Telemetry) -> None:
        self.account, self.telemetry = account, telemetry
        self.publisher = Publisher(account, telemetry)
        self.running: dict[str, Any] = {}
        self._found: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._indexed = False
        self._starting = threading.Lock()

    def start(self, backend: Any, arn: str, name: str | None, text: str | None) -> Any:
        """Begin an execution in a thread of its own, unless it runs already."""
        data = checked_input(text)
        chosen, source = self.machine(backend, arn, name)
        if chosen.type == "EXPRESS":
            execution, begin = self.new(chosen, source, name, data)
            threading.Thread(target=begin, daemon=True).start()
            return execution
        with self._starting:
            existing = self._same(backend, source, name, data) if name else None
            if existing is not None:
                return existing
            execution, begin = self.new(chosen, source, name, data)
            source.executions.append(execution)
            self._found[execution.execution_arn] = self.running[execution.execution_arn] = execution
        self.publisher.started(execution)
        threading.Thread(target=begin, daemon=True).start()
        return execution

    def machine(self, backend: Any, arn: str, name: str | None) -> tuple[Any, Any]:
        """The machine or version that is to run, and the machine that it belongs to."""
        backend._validate_name(name or "")
        chosen = _chosen_machine(backend, arn)
        return chosen, backend.describe_state_machine(getattr(chosen, "source_arn", chosen.arn))

    def new(self, chosen: Any, source: Any, name: str | None, data: str) -> tuple[Any, Callable[[], None]]:
        """A running execution and what runs it."""
        from moto.stepfunctions.parser.api import ExecutionStatus
        from moto.stepfunctions.parser.backend.execution import Execution

        name = name or str(uuid.uuid4())
        resource = f"express:{source.name}:{name}:{uuid.uuid4()}" if chosen.type == "EXPRESS" else None
        execution = Execution(
            name=name,
            sm_type=chosen.type,
            role_arn=chosen.roleArn,
            exec_arn=self.account.arn("states", resource or f"execution:{source.name}:{name}"),
            account_id=self.account.account_id,
            region_name=self.account.region,
            state_machine=_snapshot(source, chosen),
            start_date=now(),
            cloud_watch_logging_session=None,
            input_data=data,
            activity_store={},
        )
        execution.exec_status = ExecutionStatus.RUNNING
        return execution, self.runner(execution)

    def runner(self, execution: Any, resume: Resume | None = None) -> Callable[[], None]:
        """What evaluates the execution from its start, or from where it failed, and ends it."""
        machine, redrives = execution.state_machine, getattr(execution, "redrive_count", 0)
        start = Start(
            arn=execution.execution_arn,
            name=execution.name,
            data=execution.execution_input,
            role=execution.role_arn,
            machine_arn=machine_arn(execution),
            machine_name=machine.name,
            kind=execution.sm_type,
            logging=logging_session(self.telemetry, machine, execution.execution_arn, redrives),
            at=execution.start_date,
            redrives=redrives,
        )
        env = new_environment(self.account, start)
        execution.exec_worker = SimpleNamespace(env=env)

        def begin() -> None:
            self.end(execution, env, run(program_of(machine.definition), env, start, resume))

        return begin

    def end(self, execution: Any, env: Any, outcome: Outcome) -> bool:
        """Set the result first and the status last: who sees SUCCEEDED must see the output."""
        from moto.stepfunctions.parser.api import ExecutionStatus

        with _ending:
            if execution.exec_status != ExecutionStatus.RUNNING:
                return False  # it was stopped meanwhile
            execution.stop_date = now()
            execution.output, execution.error, execution.cause = outcome.output, outcome.error, outcome.cause
            if execution.sm_type != "EXPRESS":
                execution.exec_worker = PastWorker(history_of(env, outcome))
                if outcome.status != "SUCCEEDED":
                    execution.resume = resume_point(env)
            for name in _LIVE:
                execution.__dict__.pop(name, None)
            execution.exec_status = ExecutionStatus(outcome.status)
        self.running.pop(execution.execution_arn, None)
        self.publisher.ended(execution)
        return True

    def stop(self, execution: Any, error: str | None, cause: str | None) -> None:
        """Ends at once, as on AWS; a function that the execution has called runs to its end, unheard."""
        env: Any = getattr(execution.exec_worker, "env", None)
        if self.end(execution, env, Outcome("ABORTED", error=error, cause=cause)):
            env.set_stop(stop_date=execution.stop_date, error=error, cause=cause)

    def find(self, backend: Any, arn: str) -> Any:
        """The execution; ExecutionDoesNotExist."""
        from moto.stepfunctions.exceptions import ExecutionDoesNotExist

        self._index(backend)
        found = self._found.get(arn)
        if found is None:
            raise ExecutionDoesNotExist(f"Execution Does Not Exist: '{arn}'")
        return found

    def _index(self, backend: Any) -> None:
        """Once, what an earlier process left; from then on every execution comes from here."""
        if not self._indexed:
            for execution in backend._get_executions():
                self._found[execution.execution_arn] = execution
            self._indexed = True

    def _same(self, backend: Any, source: Any, name: str, data: str) -> Any:
        """The execution of that name and input, if it runs; ExecutionAlreadyExists for any other of that name."""
        from moto.stepfunctions.exceptions import ExecutionAlreadyExists

        arn = self.account.arn("states", f"execution:{source.name}:{name}")
        self._index(backend)
        existing = self._found.get(arn)
        if existing is None:
            return None
        if existing.execution_input == data and existing.status == "RUNNING":
            return existing
        raise ExecutionAlreadyExists(f"Execution Already Exists: '{arn}'")


def hook_executions(executions: Executions) -> None:
    """Replace how moto's backend starts, finds and stops executions. Called once."""
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    original_all = StepFunctionsParserBackend._get_executions

    def start_execution(
        backend: Any,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str | None = None,
        trace_header: str | None = None,  # noqa: ARG001  # moto's signature
    ) -> Any:
        return executions.start(backend, state_machine_arn, name, execution_input)

    def describe_execution(backend: Any, execution_arn: str) -> Any:
        backend._validate_execution_arn(execution_arn)
        return executions.find(backend, execution_arn)

    def stop_execution(backend: Any, execution_arn: str, error: str | None = None, cause: str | None = None) -> Any:
        execution = backend.describe_execution(execution_arn)
        executions.stop(execution, error, cause)
        return execution

    def get_executions(backend: Any, execution_status: Any = None) -> list[Any]:
        if execution_status == "RUNNING":
            return list(executions.running.values())
        return list(original_all(backend, execution_status))

    StepFunctionsParserBackend.start_execution = start_execution
    StepFunctionsParserBackend.describe_execution = describe_execution
    StepFunctionsParserBackend.stop_execution = stop_execution
    StepFunctionsParserBackend._get_executions = get_executions


def checked_input(text: str | None) -> str:
    """The input, or AWS's errors for one that is too large or no JSON."""
    from moto.stepfunctions.exceptions import InvalidExecutionInput, ValidationException

    data = "{}" if text is None else text
    if len(data.encode()) > STATE_LIMIT_BYTES:
        raise ValidationException(
            "1 validation error detected: Value at 'input' failed to satisfy constraint: "
            f"Member must have length less than or equal to {STATE_LIMIT_BYTES}"
        )
    try:
        json.loads(data)
    except ValueError as error:
        raise InvalidExecutionInput(f"Invalid State Machine Execution Input: '{error}'") from error
    return data


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
