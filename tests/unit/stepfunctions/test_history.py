"""Histories of executions: the events, their order and what each follows, as recorded answers of AWS have them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.stepfunctions.evaluation import evaluated

PASS = {"Type": "Pass", "End": True}
NO_PATH = {"Type": "Pass", "Parameters": {"m.$": "$.nope"}, "End": True}
UNDEFINED = {"Type": "Pass", "Output": {"v": "{% $states.input.nope %}"}, "End": True}
BOOM = {"Type": "Fail", "Error": "MyError", "Cause": "my cause"}
RESCUE = [{"ErrorEquals": ["States.ALL"], "Next": "Rescue"}]


def machine(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": name, "States": {name: state}}


def parallel(state: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"Type": "Parallel", "Branches": [machine("Inner", state)], "End": True, **members}


def each(state: dict[str, Any], **members: Any) -> dict[str, Any]:
    end = {} if "Next" in members else {"End": True}
    return {"Type": "Map", "ItemProcessor": machine("Inner", state), "MaxConcurrency": 1, **end, **members}


def told(state: str, event: int, words: str) -> str:
    return f"An error occurred while executing the state '{state}' (entered at the event id #{event}). {words}"


NOPE = "The JSONPath '$.nope' specified for the field 'm.$' could not be found in the input '{}'"
QUERY = "The JSONata expression '$states.input.nope' specified for the field 'Output/v' returned nothing (undefined)."


@pytest.mark.parametrize(
    ("states", "data", "kinds", "previous"),
    [
        (
            {"M": each(PASS, Next="After"), "After": PASS},
            [1, 2],
            "ExecutionStarted MapStateEntered MapStateStarted MapIterationStarted PassStateEntered PassStateExited "
            "MapIterationSucceeded MapIterationStarted PassStateEntered PassStateExited MapIterationSucceeded "
            "MapStateSucceeded MapStateExited PassStateEntered PassStateExited ExecutionSucceeded",
            [0, 0, 2, 3, 4, 5, 6, 6, 8, 9, 10, 11, 11, 13, 14, 15],
        ),
        (
            {"M": each(PASS)},
            [],
            "ExecutionStarted MapStateEntered MapStateStarted MapStateSucceeded MapStateExited ExecutionSucceeded",
            [0, 0, 2, 3, 3, 5],
        ),
        (
            {"P": parallel(PASS)},
            {},
            "ExecutionStarted ParallelStateEntered ParallelStateStarted PassStateEntered PassStateExited "
            "ParallelStateSucceeded ParallelStateExited ExecutionSucceeded",
            [0, 0, 2, 3, 4, 5, 5, 7],
        ),
        (
            {"P": parallel(BOOM)},
            {},
            "ExecutionStarted ParallelStateEntered ParallelStateStarted FailStateEntered ParallelStateFailed "
            "ExecutionFailed",
            [0, 0, 2, 3, 4, 5],
        ),
        (
            {"P": parallel(BOOM, Retry=[{"ErrorEquals": ["MyError"], "MaxAttempts": 1, "IntervalSeconds": 1}])},
            {},
            "ExecutionStarted ParallelStateEntered ParallelStateStarted FailStateEntered ParallelStateStarted "
            "FailStateEntered ParallelStateFailed ExecutionFailed",
            [0, 0, 2, 3, 4, 5, 6, 7],
        ),
    ],
)
def test_events_follow_each_other(states: dict[str, Any], data: Any, kinds: str, previous: list[int]) -> None:
    execution = evaluated(states, data)
    assert execution.kinds == kinds.split()
    assert execution.previous == previous


@pytest.mark.parametrize(
    ("state", "kinds"),
    [(parallel(NO_PATH, Catch=RESCUE), ["Parallel"]), (each(NO_PATH, Catch=RESCUE, ItemsPath="$.i"), ["Map"])],
)
def test_an_error_of_the_interpreter_ends_the_execution_from_wherever_it_is(
    state: dict[str, Any], kinds: list[str]
) -> None:
    execution = evaluated({"Outer": state, "Rescue": PASS}, {"i": [{}]})
    data = "{}" if kinds == ["Map"] else '{"i":[{}]}'
    entered = 5 if kinds == ["Map"] else 4
    assert execution.error == "States.Runtime"
    assert execution.cause == told("Inner", entered, NOPE.replace("{}", data))
    assert [kind for kind in execution.kinds if "Failed" in kind or "Aborted" in kind] == ["ExecutionFailed"]
    assert execution.previous[-1] == entered


def test_what_a_branch_cannot_evaluate_is_caught_around_it() -> None:
    states = {"P": parallel(UNDEFINED, Catch=RESCUE), "Rescue": PASS}
    execution = evaluated(states, {"x": "a"}, QueryLanguage="JSONata")
    cause = told("Inner", 4, QUERY)
    assert execution.output == {"Error": "States.QueryEvaluationError", "Cause": cause}
    assert execution.previous == [0, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    details = execution.events[4]["evaluationFailedEventDetails"]
    assert details == {
        "error": "States.QueryEvaluationError",
        "cause": cause,
        "location": "Output/v",
        "state": "Inner",
    }


@pytest.mark.parametrize(
    "state", [parallel(PASS, ResultSelector={"m.$": "$.nope"}), each(PASS, ResultSelector={"m.$": "$.nope"})]
)
def test_a_state_that_cannot_select_from_its_result_fails_behind_its_success(state: dict[str, Any]) -> None:
    execution = evaluated({"Outer": state}, [{}])
    assert execution.kinds[-2:] == [f"{state['Type']}StateSucceeded", "ExecutionFailed"]
    assert execution.previous[-1] == len(execution.previous) - 1
    assert execution.cause == told("Outer", 2, NOPE.replace("{}", "[[{}]]" if state["Type"] == "Parallel" else "[{}]"))


def test_an_iteration_that_fails_is_told_behind_those_that_it_ends() -> None:
    kinds = {"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": True, "Next": "Long"}], "Default": "Soon"}
    states = {
        "Kind": kinds,
        "Long": {"Type": "Wait", "Seconds": 60, "End": True},
        "Soon": {"Type": "Wait", "Seconds": 1, "Next": "Boom"},
        "Boom": BOOM,
    }
    map_state = {"Type": "Map", "ItemProcessor": {"StartAt": "Kind", "States": states}, "End": True}
    execution = evaluated({"M": map_state}, [None, 1])
    failed = execution.kinds.index("FailStateEntered") + 1
    events = [kind for kind in execution.kinds[failed:] if kind != "WaitStateAborted"]
    assert events == ["MapIterationAborted", "MapIterationFailed", "MapStateFailed", "ExecutionFailed"]
    assert {*execution.previous[failed:-1]} == {failed}


def test_an_iteration_that_cannot_be_evaluated_fails_its_map() -> None:
    execution = evaluated({"M": each(UNDEFINED, Items=[1, 2])}, QueryLanguage="JSONata")
    assert execution.kinds[5:] == ["EvaluationFailed", "MapIterationFailed", "MapStateFailed", "ExecutionFailed"]
    assert execution.previous == [0, 0, 2, 3, 4, 5, 6, 6, 8]
    assert execution.cause == told("Inner", 5, QUERY)


def test_a_catch_that_cannot_be_evaluated_fails_its_state_again() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Output": {"v": "{% $states.input.nope %}"}, "Next": "Rescue"}]
    states = {"P": parallel(BOOM, Catch=catch), "Rescue": PASS}
    execution = evaluated(states, {"x": 1}, QueryLanguage="JSONata")
    assert execution.kinds[4:] == ["ParallelStateFailed", "EvaluationFailed", "ParallelStateFailed", "ExecutionFailed"]
    assert execution.previous == [0, 0, 2, 3, 4, 4, 6, 7]
    assert execution.events[5]["evaluationFailedEventDetails"]["location"] == "Catch[0]/Output/v"


def test_the_first_branch_that_fails_ends_the_others() -> None:
    wait = {"Type": "Wait", "Seconds": 60, "End": True}
    fails = {"StartAt": "Soon", "States": {"Soon": {"Type": "Wait", "Seconds": 0, "Next": "Boom"}, "Boom": BOOM}}
    branches = [fails, machine("Long", wait)]
    execution = evaluated(
        {"P": {"Type": "Parallel", "Branches": branches, "Catch": RESCUE, "End": True}, "Rescue": PASS}
    )
    assert execution.status == "SUCCEEDED"
    assert execution.kinds.index("ParallelStateFailed") < execution.kinds.index("ParallelStateExited")
    assert "WaitStateExited" not in execution.kinds[execution.kinds.index("ParallelStateFailed") :]


@pytest.mark.parametrize(
    ("state", "data", "words"),
    [
        ({"Type": "Pass", "InputPath": "$.no", "End": True}, {}, "Invalid path '$.no' : No results for path: $['no']"),
        ({"Type": "Pass", "OutputPath": "$.no", "End": True}, {}, "Invalid path '$.no' : No results for path: $['no']"),
        (
            {"Type": "Wait", "SecondsPath": "$.no", "End": True},
            {},
            "The SecondsPath parameter does not reference an input value: $.no",
        ),
        (
            {"Type": "Wait", "SecondsPath": "$.s", "End": True},
            {"s": "x"},
            "The SecondsPath parameter cannot be parsed as a long value: $.s == x",
        ),
        (
            {"Type": "Wait", "TimestampPath": "$.t", "End": True},
            {"t": "2020"},
            "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: "
            "$.t == 2020",
        ),
        (
            {"Type": "Pass", "Parameters": {"v.$": "States.Format('{}', States.Format('{}', $.no))"}, "End": True},
            {"o": 1},
            "The function 'States.Format('{}', States.Format('{}', $.no))' had the following error: The JsonPath "
            "argument for the field '$.no' could not be found in the input '{\"o\":1}'",
        ),
        (
            {"Type": "Pass", "Parameters": {"v.$": "States.ArrayLength($$.State.No)"}, "End": True},
            {"o": 1},
            "The function 'States.ArrayLength($$.State.No)' had the following error: The JsonPath argument for the "
            "field '$.State.No' could not be found in the input '{\"o\":1}'",
        ),
        (
            each(PASS, ItemsPath="$.i", MaxConcurrencyPath="$.n"),
            {"i": [], "n": "x"},
            'The MaxConcurrencyPath field refers to value "x" which is not a valid integer: $.n',
        ),
    ],
)
def test_the_cause_begins_with_the_state(state: dict[str, Any], data: Any, words: str) -> None:
    state = {
        name: value for name, value in state.items() if name != "MaxConcurrency" or "MaxConcurrencyPath" not in state
    }
    execution = evaluated({"Only": state}, data)
    assert (execution.error, execution.cause) == ("States.Runtime", told("Only", 2, words))
    assert execution.kinds == ["ExecutionStarted", f"{state['Type']}StateEntered", "ExecutionFailed"]


def test_numbers_from_paths_may_be_text() -> None:
    state = {**each(PASS, ItemsPath="$.i", MaxConcurrencyPath="$.n")}
    del state["MaxConcurrency"]
    assert evaluated({"M": state}, {"i": [1, 2], "n": "1"}).output == [1, 2]


def test_an_item_past_the_end_of_a_list_is_null() -> None:
    assert evaluated({"P": {**PASS, "Parameters": {"v.$": "$.i[5]"}}}, {"i": [1]}).output == {"v": None}
