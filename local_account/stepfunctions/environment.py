"""The interpreter's environment of one execution, and of the frames within it: moto's, with what ours needs besides.

Runs in the server process. What is evaluated keeps its data, its history and where it stands here, never in the parsed
program, which all executions of a definition share.
"""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

from moto.stepfunctions.parser.api import HistoryEvent, HistoryEventType, StateMachineType
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext, EventManager
from moto.stepfunctions.parser.asl.eval.event.logging import (
    CloudWatchLoggingConfiguration,
    CloudWatchLoggingSession,
    HistoryLog,
)
from moto.stepfunctions.parser.asl.eval.program_state import ProgramRunning, ProgramState
from moto.stepfunctions.parser.asl.eval.states import ContextObjectData, States
from moto.stepfunctions.parser.asl.eval.variable_store import VariableStore
from moto.stepfunctions.parser.backend.activity import Activity
from moto.stepfunctions.parser.mocking.mock_config import MockTestCase

from local_account.base.replacements import extends
from local_account.cloudwatch.telemetry import Telemetry
from local_account.stepfunctions.flow.trial import Trial
from local_account.stepfunctions.language.encoding import copy_json, dumps

_Value = TypeVar("_Value")
WHOLE = {"truncated": False}
# The members of events that are JSON of moto's writing.
WRITTEN_BY_MOTO = {
    HistoryEventType.ActivityScheduled: "input",
    HistoryEventType.TaskScheduled: "parameters",
    HistoryEventType.TaskSubmitted: "output",
    HistoryEventType.TaskSucceeded: "output",
    HistoryEventType.LambdaFunctionScheduled: "input",
    HistoryEventType.LambdaFunctionSucceeded: "output",
}


@extends
class ExecutionLog(CloudWatchLoggingSession):
    """The log of one execution; moto's hands objects to a backend that wants text, and writes within the execution."""

    def __init__(
        self, telemetry: Telemetry, arn: str, configuration: CloudWatchLoggingConfiguration, redrives: int = 0
    ) -> None:
        super().__init__(arn, configuration)
        self._telemetry, self._redrives = telemetry, redrives
        self.closed = False
        """Whether what a thread may still add is left out."""

    def publish_history_log(self, history_log: HistoryLog) -> None:
        """Hand one event's line to the telemetry; its time comes as text, whatever moto's type says."""
        if self.closed:
            return
        at = datetime.datetime.fromisoformat(str(history_log["event_timestamp"]))
        milliseconds = str(int(at.timestamp() * 1000))
        line = {**history_log, "event_timestamp": milliseconds, "redrive_count": str(self._redrives)}
        group, stream = self.configuration.log_group_name, self.configuration.log_stream_name
        self._telemetry.add_lines(group, stream, [dumps(line)])

    def of_child(self, arn: str) -> ExecutionLog:
        """The log of an execution that this one's started, in the same group."""
        return ExecutionLog(self._telemetry, arn, self.configuration, self._redrives)


@extends
class ExecutionHistory(EventManager):
    """The events of one execution; of an Express one none is kept, they are only logged."""

    def __init__(self, log: CloudWatchLoggingSession | None, kept: bool) -> None:
        super().__init__(log)
        self._kept = kept

    def _publish_history_event(
        self,
        event_id: int,
        source_event_id: int,
        event_type: HistoryEventType,
        timestamp: datetime.datetime,
        event_details: EventDetails | None,
    ) -> None:
        if self._kept:
            told = _compact(event_type, event_details)
            super()._publish_history_event(event_id, source_event_id, event_type, timestamp, told)

    def events(self) -> list[HistoryEvent]:
        """Those so far, oldest first."""
        return list(self._history_event_list)

    def __len__(self) -> int:
        return len(self._history_event_list)

    def go_on_after(self, history: Iterable[HistoryEvent]) -> None:
        """Begin with the events of the run before."""
        self._history_event_list.extend(history)
        self._event_id_gen._next_id = len(self) + 1


def _compact(kind: HistoryEventType, details: EventDetails | None) -> EventDetails | None:
    """The details with JSON as short as AWS writes it, where moto has written it."""
    member = WRITTEN_BY_MOTO.get(kind)
    if member is None or details is None:
        return details
    name, given = next(iter(details.items()))
    held = cast("Mapping[str, object]", given)
    if not isinstance(held.get(member), str):
        return details
    return cast(EventDetails, {name: {**held, member: dumps(json.loads(str(held[member])))}})


@extends
class StatesData(States):
    """What ``$states`` holds. Copies of JSON, for which moto's copy.deepcopy is ten times too careful."""

    @property
    def given(self) -> object:
        """The input, or what a state has made of it; not a copy."""
        return self._states_data["input"]

    def give(self, value: object) -> None:
        """Put another value in the place of the input, as it is."""
        self._states_data["input"] = value

    def members(self, names: Iterable[str]) -> dict[str, object]:
        """Those of the named members that there are; all of them without names. Not copies."""
        wanted = set(names)
        return {name: value for name, value in self._states_data.items() if not wanted or name in wanted}

    @staticmethod
    def _extract(query: str | None, data: _Value) -> _Value:
        return copy_json(data) if query is None else States._extract(query, data)

    def reset(self, input_value: object) -> None:
        """Begin the next state, which is given this."""
        self._states_data["input"] = copy_json(input_value)
        self._states_data["result"] = None
        self._states_data["errorOutput"] = None

    def set_result(self, result: object) -> None:
        """Keep the result of a state for its Assign and Output."""
        self._states_data["result"] = copy_json(result)

    def set_error_output(self, error_output: object) -> None:
        """Keep the error of a state for its Catch."""
        self._states_data["errorOutput"] = copy_json(error_output)


@extends
class ExecutionEnvironment(Environment):
    """moto's environment of an execution, or of a frame within one."""

    event_manager: ExecutionHistory
    """Given to the environment of an execution by who makes it; frames have their environment's."""

    def __init__(  # noqa: PLR0917  # moto's
        self,
        aws_execution_details: AWSExecutionDetails,
        execution_type: StateMachineType,
        context: ContextObjectData,
        event_history_context: EventHistoryContext,
        cloud_watch_logging_session: CloudWatchLoggingSession | None,
        activity_store: dict[str, Activity],
        variable_store: VariableStore | None = None,
        mock_test_case: MockTestCase | None = None,
    ) -> None:
        super().__init__(
            aws_execution_details,
            execution_type,
            context,
            event_history_context,
            cloud_watch_logging_session,
            activity_store,
            variable_store,
            mock_test_case,
        )
        self.data = StatesData(context)
        vars(self)["states"] = self.data  # which moto has made of its own class, and marks as final
        self.log = cloud_watch_logging_session if isinstance(cloud_watch_logging_session, ExecutionLog) else None
        self.assigned: dict[str, object] = {}
        """What the state's Assign has set, until the state is left."""
        self.entered_event_id: int | None = None
        """The event at which the state was entered."""
        self.trial: Trial | None = None
        """The trial of the only state that is evaluated here, and nowhere else."""
        self.current_type: str | None = None
        """The type of the state that is being evaluated; None between states."""
        self.last_entered: tuple[str, object, dict[str, object]] | None = None
        """The last state of the outermost level, what it was given, the variables."""
        self.resume_at: str | None = None
        """The state at which an execution that is redriven begins."""
        self.redriven: str | None = None
        """The state whose map run is to go on instead of beginning anew."""

    @classmethod
    def as_frame_of(cls, env: Environment, event_history_frame_cache: EventHistoryContext | None = None) -> Environment:
        """A frame with the variables of its environment; moto's is always of moto's class."""
        return cls.as_inner_frame_of(env, env.variable_store, event_history_frame_cache)

    def open_frame(self, event_history_context: EventHistoryContext | None = None) -> ExecutionEnvironment:
        """A frame with the same variables."""
        return within(self, super().open_frame(event_history_context))

    def open_inner_frame(self, event_history_context: EventHistoryContext | None = None) -> ExecutionEnvironment:
        """A frame with variables of its own."""
        return within(self, super().open_inner_frame(event_history_context))

    @property
    def frames(self) -> list[ExecutionEnvironment]:
        """Those that are open."""
        return [own(frame) for frame in self._frames]

    def note(self, name: str, value: object) -> None:
        """Tell the trial, where this is one, what the state's data is."""
        if self.trial is not None:
            self.trial.note(name, value)

    def is_over(self) -> bool:
        """Whether it was ended, or stopped, before it has begun."""
        return self._program_state is not None and not self.is_running()

    def program_state(self) -> ProgramState:
        """How far the program is: a copy, which nobody changes deeper."""
        return copy.copy(self._program_state or ProgramRunning())

    def add_event(
        self, kind: str, details: Mapping[str, object] | None = None, *, update_source_event_id: bool = True
    ) -> int:
        """Add an event to the history and the log; its number. Kinds that moto has no member for are taken as well."""
        return self.event_manager.add_event(
            self.event_history_context,
            cast(HistoryEventType, kind),
            cast("EventDetails | None", details),  # moto's type wants every member at once
            update_source_event_id=update_source_event_id,
        )

    @property
    def visible_variables(self) -> dict[str, object]:
        """Those of the frame, and of the levels around it."""
        store = self.variable_store
        return {**store._outer_scope, **store._inner_scope}

    @property
    def own_variables(self) -> dict[str, object]:
        """Those of this level."""
        return dict(self.variable_store._inner_scope)

    def resume_point(self) -> tuple[str, str, dict[str, object]] | None:
        """Where a redrive would go on: the last state entered, the text of what it was given, the variables."""
        if self.last_entered is None:
            return None
        state, data, variables = self.last_entered
        return state, dumps(data), variables


def own(env: Environment) -> ExecutionEnvironment:
    """The environment that a component is evaluated in, which is always one of ours; TypeError."""
    if not isinstance(env, ExecutionEnvironment):
        raise TypeError(f"expected an environment of the account's, got {type(env).__name__}")
    return env


def within(env: ExecutionEnvironment, frame: Environment) -> ExecutionEnvironment:
    """A frame of the environment, which is in the same state."""
    inner = own(frame)
    inner.entered_event_id = env.entered_event_id
    inner.trial = env.trial
    return inner
