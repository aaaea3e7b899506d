"""Pass, Choice, Fail and Wait: the states that call nothing, where they differ from moto's.

Runs in the server process. Each class here extends one of moto's components.
"""

from __future__ import annotations

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
from moto.stepfunctions.parser.asl.component.state.choice.comparison.comparison_operator_type import (
    ComparisonOperatorType,
)
from moto.stepfunctions.parser.asl.component.state.choice.comparison.comparison_variable import ComparisonVariable
from moto.stepfunctions.parser.asl.component.state.choice.comparison.variable import NoSuchVariable
from moto.stepfunctions.parser.asl.component.state.choice.state_choice import StateChoice
from moto.stepfunctions.parser.asl.component.state.fail.state_fail import StateFail
from moto.stepfunctions.parser.asl.component.state.state_pass.state_pass import StatePass
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.timestamp import Timestamp
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from local_account.stepfunctions.environment import ExecutionEnvironment, own
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.expressions import JsonataExpression, unexpected_type
from local_account.stepfunctions.language.failures import (
    QUERY,
    RUNTIME,
    StateFailure,
    error_name,
    failure,
    failure_event,
)

NO_TRANSITION = "Failed to transition out of the state. The state does not point to a next state."


@component
class PassState(StatePass):
    """A Pass state; a trial sees its data on the way."""

    def _eval_state(self, env: Environment) -> None:
        here, jsonpath = own(env), self._is_language_query_jsonpath()
        if here.trial is None:
            super()._eval_state(env)
            return
        if self.parameters:
            self.parameters.eval(env=env)
        if self.result:
            self.result.eval(env=env)
        if not jsonpath:
            env.states.set_result(env.stack[-1])
        _note_pass(self, here)
        if self.assign_decl:
            self.assign_decl.eval(env=env)
        if self.result_path:
            self.result_path.eval(env)
        if jsonpath:
            here.note("afterResultPath", env.stack[-1])


def _note_pass(state: StatePass, env: ExecutionEnvironment) -> None:
    if not state._is_language_query_jsonpath():
        return
    if state.result:
        env.note("result", env.stack[-1])
        if env.trial:
            env.trial.seen.pop("afterInputPath", None)
    else:
        env.note("afterParameters", env.stack[-1])
    env.note("afterResultSelector", env.stack[-1])


@component
class ChoiceState(StateChoice):
    """A Choice: Assign and Output are those of the rule that matches, and the state's own where none does."""

    def _eval_state(self, env: Environment) -> None:
        for rule in self.choices_decl.rules:
            rule.eval(env)
            if env.stack.pop() is True and rule.next_stmt:
                env.stack.append((rule.next_stmt.name, True))
                return
        if self.default_state is None:
            raise failure(own(env), RUNTIME, NO_TRANSITION)
        env.stack.append((self.default_state.state_name, False))

    def _eval_state_output(self, env: Environment) -> None:
        following, matched = env.stack.pop()
        if not matched:
            if self.assign_decl:
                self.assign_decl.eval(env=env)
            if self.output:
                self.output.eval(env=env)
        if self._is_language_query_jsonpath() and self.output_path:
            self.output_path.eval(env=env)
        env.next_state_name = following


@component
class ChoiceVariable(ComparisonVariable):
    """The comparison of a value, which has to be there unless that is the question."""

    def _eval_body(self, env: Environment) -> None:
        self.variable.eval(env)
        asked = self.comparison_function.operator_type == ComparisonOperatorType.IsPresent
        if isinstance(env.stack[-1], NoSuchVariable) and not asked:
            raise _no_value(own(env), self.variable.string_sampler.literal_value)
        try:
            self.comparison_function.eval(env)
        except NoSuchJsonPathError as missing:
            raise _no_value(own(env), missing.json_path) from missing


def _no_value(env: ExecutionEnvironment, path: str) -> StateFailure:
    cause = f"Invalid path '{path}': The choice state's condition path references an invalid value."
    return failure(env, RUNTIME, cause)


@component
class FailState(StateFail):
    """A Fail state, whose error may be one of the States Language's own names."""

    def _eval_state(self, env: Environment) -> None:
        details: dict[str, str] = {}
        for name, declared in (("error", self.error), ("cause", self.cause)):
            if declared is not None:
                declared.eval(env=env)
                part, value = vars(declared).get("string_expression"), env.stack.pop()
                if isinstance(part, JsonataExpression) and not isinstance(value, str):
                    raise unexpected_type(own(env), part, "string", value)
                details[name] = value
        error = error_name(details.get("error"))
        event = failure_event(env, error, HistoryEventType.TaskFailed, "taskFailedEventDetails", details)
        raise StateFailure(event)


@component
class WaitTimestamp(Timestamp):
    """The moment until which a Wait waits."""

    def _create_failure_event(self, env: Environment, timestamp_str: str) -> FailureEvent:
        event: FailureEvent = super()._create_failure_event(env, timestamp_str)
        if not isinstance(self.string, JsonataExpression):
            return event
        cause = (
            "The Timestamp parameter does not reference a valid ISO-8601 extended offset date-time format string: "
            f"{self.string.expression} == {timestamp_str}"
        )
        found: FailureEvent = failure(own(env), QUERY, cause, self.string.location).failure_event
        return found

    @staticmethod
    def _is_valid_timestamp_pattern(timestamp: object) -> bool:
        return isinstance(timestamp, str) and bool(Timestamp._is_valid_timestamp_pattern(timestamp))
