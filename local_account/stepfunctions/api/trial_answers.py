"""TestState: one state on its own, with a mock in place of what it calls where one is given.

Runs in the server process. Not done: HTTP tasks, which this account does not have, and their request and response.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult
from moto.stepfunctions.exceptions import ValidationException
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException

from local_account.account import Account
from local_account.base.replacements import extends
from local_account.stepfunctions.api.base import CheckedResponses
from local_account.stepfunctions.api.trial_checks import check_mock, context_of, mocked_value
from local_account.stepfunctions.backend import check_trust
from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.executions import checked_input
from local_account.stepfunctions.flow.trial import Trial, TrialMock, TrialRetryError
from local_account.stepfunctions.language.definition import State, members_of, problems, states_of
from local_account.stepfunctions.language.encoding import dumps, json_fault, now
from local_account.stepfunctions.language.failures import without_state
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.runs import ExecutionStart, new_environment

NAME = "StateName"
ELSEWHERE = ("MISSING_TRANSITION_TARGET",)  # a state on its own leads to states that are not there


@extends
class TrialResponses(CheckedResponses):
    """The action that tries a state."""

    def test_state(self) -> ActionResult:
        """TestState."""
        given: Mapping[str, object] = json.loads(self.body)
        name, state, language = tried_state(given)
        mock = members_of(given["mock"]) if given.get("mock") is not None else None
        check_mock(state, mock, bool(given.get("revealSecrets")))
        account = self.stepfunction_backend.workflows.account
        trial = _trial_of(state, mock, members_of(given.get("stateConfiguration")))
        context = context_of(_text(given, "context"), state)
        role = _text(given, "roleArn") or ""  # never one that only the context names: nobody has passed that
        if role:
            self.stepfunction_backend._validate_role_arn(role)
            check_trust(account, NAME, role)
        elif mock is None and state.get("Type") == "Task":
            raise ValidationException("A role must be specified when testing a Task state without a mock.")
        env = _environment(account, given, role, context, name)
        env.trial = trial
        trial.state = members_of(context.get("State"))
        trial.token = _text(members_of(context.get("Task")), "Token")
        answer = _tried(env, name, state, language)
        if given.get("inspectionLevel", "INFO") != "INFO":
            answer["inspectionData"] = _inspected(env, trial)
        return ActionResult(answer)


def tried_state(given: Mapping[str, object]) -> tuple[str, State, str]:
    """Name, state and query language of what is to be tried; InvalidDefinition, ValidationException."""
    try:
        document = json.loads(str(given["definition"]))
    except ValueError as error:
        raise AWSError(
            f"Invalid State Machine Definition: 'INVALID_JSON_DESCRIPTION: {error}'", "InvalidDefinition"
        ) from error
    wanted = _text(given, "stateName")
    states = dict(states_of(members_of(document)))
    if wanted is not None and wanted not in states:
        raise ValidationException(f"State '{wanted}' does not exist in the state machine definition")
    state = states[wanted] if wanted is not None else members_of(document)
    language = str(state.get("QueryLanguage", members_of(document).get("QueryLanguage", "JSONPath")))
    name = wanted or NAME
    found = [each for each in problems(_machine(name, state, language)) if not each.startswith(ELSEWHERE)]
    if found:
        raise AWSError(f"Invalid State Machine Definition: '{', '.join(found)}'", "InvalidDefinition")
    return name, state, language


def _machine(name: str, state: State, language: str) -> str:
    return json.dumps({"QueryLanguage": language, "StartAt": name, "States": {name: state}})


def _trial_of(state: State, mock: Mapping[str, object] | None, settings: Mapping[str, object]) -> Trial:
    trial = Trial(retries=_number(settings, "retrierRetryCount"))
    trial.failed_iterations = _number(settings, "mapIterationFailureCount")
    trial.item_data = _text(settings, "mapItemReaderData")
    if mock is None:
        return trial
    if "errorOutput" in mock:
        told = members_of(mock["errorOutput"])
        trial.mock = TrialMock(error=_text(told, "error"), cause=_text(told, "cause"), failed=True)
    elif "result" in mock:
        trial.mock = TrialMock(result=mocked_value(state, mock))
    else:
        raise ValidationException("A test mock must have one of the following fields: [result, errorOutput].")
    return trial


def _environment(
    account: Account, given: Mapping[str, object], role: str, context: dict[str, dict[str, object]], name: str
) -> ExecutionEnvironment:
    machine, execution = str(uuid.uuid4()), str(uuid.uuid4())
    start = ExecutionStart(
        arn=account.arn("states", f"express:{machine}:{execution}"),
        name=execution,
        data=checked_input(_text(given, "input")),
        role=role,
        machine_arn=account.arn("states", f"stateMachine:{machine}"),
        machine_name=machine,
        kind="EXPRESS",
        log=None,
        at=now(),
    )
    env = new_environment(account, start)
    held = env.states.context_object.context_object_data
    held["Execution"].pop("RedriveCount", None)  # type: ignore[typeddict-item]  # ours
    for part, members in context.items():
        held[part] = members  # type: ignore[literal-required]  # checked before
    env.states.reset(input_value=json.loads(start.data))
    for variable, value in _variables(_text(given, "variables")).items():
        env.variable_store.set(variable, value)
    env.next_state_name = name
    return env


def _variables(text: str | None) -> Mapping[str, object]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise ValidationException(f"Invalid variables provided: {json_fault(text or '', error)}") from error
    if not isinstance(found, dict):
        raise ValidationException("Invalid variables provided: not a JSON object")
    return found


def _tried(env: ExecutionEnvironment, name: str, state: State, language: str) -> dict[str, object]:
    """What became of the state."""
    try:
        program = program_of(_machine(name, state, language))
        program.states.states[name].eval(env)
    except TrialRetryError as retry:
        return {"status": "RETRIABLE", **_error_of(FailureEventException(retry.event))}
    except FailureEventException as error:
        return {"status": "FAILED", **_error_of(error)}
    answer: dict[str, object] = {"status": "SUCCEEDED", "output": dumps(env.data.given)}
    following = env.next_state_name
    if following is not None and following != name:
        answer["nextState"] = following
    if env.trial is not None and env.trial.caught is not None:
        answer |= {"status": "CAUGHT_ERROR", **_error_of(FailureEventException(env.trial.caught))}
    return answer


def _error_of(error: FailureEventException) -> dict[str, object]:
    found, cause = error.extract_error_cause_pair() or (None, None)
    told = {"error": found, "cause": without_state(cause) if cause else cause}
    return {name: text for name, text in told.items() if text is not None}


def _inspected(env: ExecutionEnvironment, trial: Trial) -> dict[str, object]:
    numbers = {"maxConcurrency", "toleratedFailureCount", "toleratedFailurePercentage"}
    seen = {name: value if name in numbers else dumps(value) for name, value in trial.seen.items()}
    if "maxConcurrency" in seen:
        seen.pop("result", None)  # of a Map none was recorded
    if env.assigned:
        seen["variables"] = dumps({**env.visible_variables, **env.assigned})
    return {**seen, "errorDetails": trial.details} if trial.details else seen


def _number(settings: Mapping[str, object], name: str) -> int:
    found = settings.get(name)
    return int(found) if isinstance(found, int) else 0


def _text(given: Mapping[str, object], name: str) -> str | None:
    found = given.get(name)
    return found if isinstance(found, str) else None
