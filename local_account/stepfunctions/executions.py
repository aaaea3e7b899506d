"""The life of an execution: its name, its start, its end, and what is published about it.

Runs in the server process, for moto's backend (``stepfunctions.backend``). An execution that has ended is reduced to
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
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from moto.core.exceptions import AWSError
from moto.stepfunctions.exceptions import (
    ExecutionAlreadyExists,
    ExecutionDoesNotExist,
    InvalidExecutionInput,
    ValidationException,
)
from moto.stepfunctions.models import StateMachine, StateMachineInstance
from moto.stepfunctions.parser.api import ExecutionStatus, StateMachineType

from local_account.account import Account
from local_account.base.arns import read_arn
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.execution import AccountExecution, LiveWorker, executions_of, not_redrivable
from local_account.stepfunctions.integrations.activities import ActivityQueues
from local_account.stepfunctions.language.encoding import STATE_LIMIT_BYTES, json_fault, now
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.past import PastWorker
from local_account.stepfunctions.publisher import ExecutionPublisher
from local_account.stepfunctions.runs import (
    ExecutionResult,
    ExecutionStart,
    ResumePoint,
    history_of,
    log_of,
    new_environment,
    run,
)

if TYPE_CHECKING:
    from local_account.stepfunctions.backend import AccountBackend

_ending = threading.Lock()


class WorkflowExecutions:
    """Starts, ends, stops and finds executions."""

    def __init__(self, account: Account, telemetry: Telemetry, activities: ActivityQueues) -> None:
        self.account, self.telemetry, self.activities = account, telemetry, activities
        self.publisher = ExecutionPublisher(account, telemetry)
        self.running: dict[str, AccountExecution] = {}
        self._found: WeakValueDictionary[str, AccountExecution] = WeakValueDictionary()
        self._indexed = False
        self._starting = threading.Lock()

    def start(self, backend: AccountBackend, arn: str, name: str | None, text: str | None) -> AccountExecution:
        """Begin an execution in a thread of its own, unless it runs already.

        Raises moto's errors for an input, a name or a machine that it cannot have; ExecutionAlreadyExists.
        """
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
            execution, begin = self.new(chosen, source, name, data, alias_of(arn))
            executions_of(source).append(execution)
            self._found[execution.execution_arn] = self.running[execution.execution_arn] = execution
        self.publisher.started(execution)
        threading.Thread(target=begin, daemon=True).start()
        return execution

    def start_and_wait(self, backend: AccountBackend, arn: str, name: str | None, text: str | None) -> AccountExecution:
        """Run an Express execution in this thread, to its end. StateMachineTypeNotSupported for a Standard one."""
        data = checked_input(text)
        chosen, source = self.machine(backend, arn, name)
        if chosen.type != "EXPRESS":
            raise wrong_type()
        execution, begin = self.new(chosen, source, name, data)
        self.publisher.started(execution)
        begin()
        return execution

    def machine(self, backend: AccountBackend, arn: str, name: str | None) -> tuple[StateMachineInstance, StateMachine]:
        """The machine or version that is to run, and the machine that it belongs to."""
        if name is not None:
            backend._validate_name(name)
        chosen = _chosen_machine(backend, arn)
        return chosen, backend.describe_state_machine(getattr(chosen, "source_arn", chosen.arn))

    def new(
        self, chosen: StateMachineInstance, source: StateMachine, name: str | None, data: str, alias: str | None = None
    ) -> tuple[AccountExecution, Callable[[], None]]:
        """A running execution and what runs it."""
        name = name or str(uuid.uuid4())
        resource = f"express:{source.name}:{name}:{uuid.uuid4()}" if chosen.type == "EXPRESS" else None
        execution = AccountExecution(
            name=name,
            sm_type=StateMachineType(chosen.type),
            role_arn=chosen.roleArn,
            exec_arn=self.account.arn("states", resource or f"execution:{source.name}:{name}"),
            account_id=self.account.account_id,
            region_name=self.account.region,
            state_machine=_snapshot(source, chosen),  # type: ignore[arg-type]  # moto has two classes of this name
            start_date=now(),
            cloud_watch_logging_session=None,
            input_data=data,
            activity_store={},
        )
        execution.alias_arn = alias
        execution.exec_status = ExecutionStatus.RUNNING
        return execution, self._runner(execution)

    def _runner(self, execution: AccountExecution, resume: ResumePoint | None = None) -> Callable[[], None]:
        """What evaluates the execution from its start, or from where it failed, and ends it."""
        machine, redrives = execution.state_machine, execution.redrive_count
        start = ExecutionStart(
            arn=execution.execution_arn,
            name=execution.name,
            data=execution.execution_input,
            role=execution.role_arn,
            machine_arn=execution.machine_arn,
            machine_name=machine.name,
            kind=execution.sm_type,
            log=log_of(self.telemetry, machine, execution.execution_arn, redrives),
            at=execution.start_date,
            redrives=redrives,
        )
        env = new_environment(self.account, start, self.activities)
        execution.exec_worker = LiveWorker(env)

        def begin() -> None:
            self._end(execution, env, run(program_of(machine.definition), env, start, resume))

        return begin

    def redrive(self, execution: AccountExecution, token: str | None) -> datetime.datetime:
        """Go on at the state that failed, once for each client token, and say since when. ExecutionNotRedrivable."""
        with self._starting:
            if before := execution.redriven_by(token):
                return before
            reason = not_redrivable(execution)
            if reason or execution.resume is None:
                raise AWSError(reason or "", "ExecutionNotRedrivable")
            resume = ResumePoint(*execution.resume, history=execution.history())
            at = now()
            execution.begin_again(at, token)
            begin = self._runner(execution, resume)
            execution.exec_status = ExecutionStatus.RUNNING
            self.running[execution.execution_arn] = execution
        self.publisher.started(execution)
        threading.Thread(target=begin, daemon=True).start()
        return at

    def _end(self, execution: AccountExecution, env: ExecutionEnvironment, result: ExecutionResult) -> bool:
        """Whether it ended with this; False where it was stopped meanwhile."""
        with _ending:
            if execution.exec_status != ExecutionStatus.RUNNING:
                return False
            if not execution.is_express:
                execution.exec_worker = PastWorker(history_of(env, result))
                if result.status != "SUCCEEDED":
                    execution.resume = env.resume_point()
            execution.end(result, now())
        self.running.pop(execution.execution_arn, None)
        self.publisher.ended(execution)
        return True

    def stop(self, execution: AccountExecution, error: str | None, cause: str | None) -> None:
        """Ends at once, as on AWS; a function that the execution has called runs to its end, unheard."""
        env = execution.live_environment()
        if env and self._end(execution, env, ExecutionResult("ABORTED", error=error, cause=cause)):
            env.set_stop(stop_date=execution.stop_date or now(), error=error, cause=cause)

    def check_named(self, backend: AccountBackend, arn: str) -> None:
        """StateMachineDoesNotExist, ResourceNotFound for a version or an alias that there is not."""
        _chosen_machine(backend, arn)

    def find(self, backend: AccountBackend, arn: str) -> AccountExecution:
        """The execution; ExecutionDoesNotExist."""
        self._index(backend)
        found = self._found.get(arn)
        if found is None:
            raise ExecutionDoesNotExist(f"Execution Does Not Exist: '{arn}'")
        return found

    def _index(self, backend: AccountBackend) -> None:
        """Once, what an earlier process left; from then on every execution comes from here."""
        if not self._indexed:
            for execution in backend.all_executions():
                self._found[execution.execution_arn] = execution
            self._indexed = True

    def _same(self, backend: AccountBackend, source: StateMachine, name: str, data: str) -> AccountExecution | None:
        """The execution of that name and input, if it runs; ExecutionAlreadyExists for any other of that name."""
        arn = self.account.arn("states", f"execution:{source.name}:{name}")
        self._index(backend)
        existing = self._found.get(arn)
        if existing is None:
            return None
        if existing.execution_input == data and existing.status == "RUNNING":
            return existing
        raise ExecutionAlreadyExists(f"Execution Already Exists: '{arn}'")


def wrong_type() -> AWSError:
    """The error for an operation that machines of the other type have."""
    return AWSError("This operation is not supported by this type of state machine", "StateMachineTypeNotSupported")


def checked_input(text: str | None) -> str:
    """The input, or AWS's errors for one that is too large or no JSON."""
    data = "{}" if text is None else text
    if len(data.encode()) > STATE_LIMIT_BYTES:
        raise ValidationException(
            "1 validation error detected: Value at 'input' failed to satisfy constraint: "
            f"Member must have length less than or equal to {STATE_LIMIT_BYTES}"
        )
    try:
        json.loads(data)
    except ValueError as error:
        told = json_fault(data, error)
        raise InvalidExecutionInput(f"Invalid State Machine Execution Input: '{told}'") from error
    return data


def alias_of(arn: str) -> str | None:
    """The ARN, where it is that of an alias."""
    named = read_arn(arn)
    return arn if named and len(named.parts) > 2 and not named.last.isnumeric() else None


def _chosen_machine(backend: AccountBackend, arn: str) -> StateMachineInstance:
    """The machine, or the version that the ARN names, or one of an alias's versions by their weights."""
    if alias_of(arn):
        routes = backend.describe_state_machine_alias(arn).routing_configuration
        weights = [route["weight"] for route in routes]
        arn = random.choices(routes, weights)[0]["stateMachineVersionArn"]  # noqa: S311  # no secret
    return backend.describe_state_machine(arn)


def _snapshot(source: StateMachine, chosen: StateMachineInstance) -> StateMachineInstance:
    """The machine as it is now; executions between two updates share one copy."""
    if source.executions:
        last = executions_of(source)[-1].state_machine
        if (last.arn, last.update_date, last.definition) == (chosen.arn, chosen.update_date, chosen.definition):
            return last
    snapshot = copy.copy(chosen)
    snapshot.executions = []
    return snapshot
