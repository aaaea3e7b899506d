"""JSONata in state machines of the stand-in account: where expressions stand, what they see, how they fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.foreign_functions import Workshop

ECHO = "def handler(event, context):\n    return event\n"
FAIL = "class Odd(Exception):\n    pass\ndef handler(event, context):\n    raise Odd('why')\n"
INVOKE = "arn:aws:states:::lambda:invoke"


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


@pytest.fixture(scope="module")
def echo(shop: Workshop) -> str:
    return shop.function(ECHO)


def machine(shop: Workshop, states: dict[str, Any], **options: Any) -> str:
    return shop.machine(states, QueryLanguage="JSONata", **options)


def value_of(shop: Workshop, expression: str, data: Any = None) -> Any:
    """What an expression comes to, or the error and cause of its execution."""
    execution = shop.run(machine(shop, {"P": {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}}), data)
    if execution["status"] == "SUCCEEDED":
        return json.loads(execution["output"])
    return execution["error"], execution["cause"]


def test_arguments_output_and_assign_of_a_task(shop: Workshop, echo: str) -> None:
    states = {
        "Ask": {
            "Type": "Task",
            "Resource": INVOKE,
            "Arguments": {
                "FunctionName": echo,
                "Payload": {"n": "{% $states.input.n + 1 %}", "text": "plain", "no": None},
            },
            "Assign": {"seen": "{% $states.result.Payload.n %}", "first": "{% $states.input.n %}"},
            "Output": {"got": "{% $states.result.Payload %}", "was": "{% $states.input %}"},
            "Next": "Tell",
        },
        "Tell": {"Type": "Pass", "Output": "{% [$seen, $first, $states.input.got] %}", "End": True},
    }
    output = shop.output(machine(shop, states), {"n": 1})
    assert output == [2, 1, {"n": 2, "text": "plain", "no": None}]


def test_output_sees_variables_as_they_were_before_assign(shop: Workshop) -> None:
    states = {
        "One": {"Type": "Pass", "Assign": {"x": 1, "y": {"deep": [1, "{% 1 + 1 %}"]}}, "Next": "Two"},
        "Two": {"Type": "Pass", "Assign": {"x": "{% $x + 1 %}", "z": "{% $x %}"}, "Output": "{% $x %}", "Next": "End"},
        "End": {"Type": "Succeed", "Output": {"all": "{% [$states.input, $x, $z, $y.deep[1]] %}"}},
    }
    assert shop.output(machine(shop, states)) == {"all": [1, 2, 1, 2]}


def test_a_choice_takes_the_first_condition_that_holds(shop: Workshop) -> None:
    states = {
        "Which": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.n > 5 %}", "Output": {"big": "{% $states.input.n %}"}, "Next": "End"},
                {"Condition": "{% $states.input.n > 0 %}", "Assign": {"sign": "+"}, "Next": "Tell"},
            ],
            "Default": "Bad",
        },
        "Tell": {"Type": "Pass", "Output": "{% $sign & $string($states.input.n) %}", "Next": "End"},
        "End": {"Type": "Succeed"},
        "Bad": {"Type": "Fail", "Error": "{% 'E' & $string($states.input.n) %}", "Cause": "{% 'because' %}"},
    }
    arn = machine(shop, states)
    assert [shop.output(arn, {"n": n}) for n in (6, 5)] == [{"big": 6}, "+5"]
    execution = shop.run(arn, {"n": 0})
    assert (execution["error"], execution["cause"]) == ("E0", "because")


def test_one_state_of_a_jsonpath_machine_uses_jsonata(shop: Workshop) -> None:
    states = {
        "Path": {"Type": "Pass", "Parameters": {"n.$": "$.n"}, "Assign": {"kept.$": "$.n"}, "Next": "Query"},
        "Query": {
            "Type": "Pass",
            "QueryLanguage": "JSONata",
            "Output": {"n": "{% $states.input.n * $kept %}"},
            "Next": "Again",
        },
        "Again": {"Type": "Pass", "Parameters": {"n.$": "$.n", "kept.$": "$kept"}, "End": True},
    }
    assert shop.output(shop.machine(states), {"n": 3}) == {"n": 9, "kept": 3}


def test_maps_and_parallels(shop: Workshop, echo: str) -> None:
    each = {
        "Each": {
            "Type": "Task",
            "Resource": INVOKE,
            "Arguments": {"FunctionName": echo, "Payload": "{% $states.input %}"},
            "Output": "{% $states.result.Payload %}",
            "End": True,
        }
    }
    states = {
        "Map": {
            "Type": "Map",
            "Items": "{% $states.input.items %}",
            "MaxConcurrency": 2,
            "ItemSelector": {"v": "{% $states.context.Map.Item.Value %}", "i": "{% $states.context.Map.Item.Index %}"},
            "ItemProcessor": {"StartAt": "Each", "States": each},
            "Output": {"sum": "{% $sum($states.result.v) %}", "order": "{% $states.result.i %}"},
            "Next": "Both",
        },
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "L", "States": {"L": {"Type": "Pass", "Output": "{% $states.input.sum %}", "End": True}}},
                {"StartAt": "R", "States": {"R": {"Type": "Pass", "Output": 2, "End": True}}},
            ],
            "Output": "{% $append($states.result, $states.input.order) %}",
            "End": True,
        },
    }
    assert shop.output(machine(shop, states), {"items": [5, 3, 9]}) == [17, 2, 0, 1, 2]


def test_context_and_functions(shop: Workshop) -> None:
    expression = "[$states.context.State.Name, $range(1, 7, 3), $partition([1..5], 2), $hash('a', 'MD5'), $random(7) = $random(7), $length($uuid()), $parse('{\"a\": null}')]"  # noqa: E501
    assert value_of(shop, expression) == [
        "P", 1, 4, 7, [1, 2], [3, 4], [5], "0cc175b9c0f1b6a831c399e269772661", True, 36, {"a": None},
    ]  # fmt: skip
    assert value_of(shop, "$states.input", {"null": None, "text": 'a "quoted" \\ ü'}) == {
        "null": None,
        "text": 'a "quoted" \\ ü',
    }


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("$states.input.gone", "specified for the field 'Output' returned nothing (undefined)."),
        ("1 + 'x'", "threw an error during evaluation. T2002: The right side"),
        ("$nosuch()", "threw an error during evaluation. T1006"),
        ("function($x){$x}", "returned an unsupported result type."),
    ],
)
def test_an_expression_that_fails_ends_the_execution(shop: Workshop, expression: str, words: str) -> None:
    error, cause = value_of(shop, expression)
    assert error == "States.QueryEvaluationError"
    assert cause.startswith("An error occurred while executing the state 'P' (entered at the event id #2). The JSONata")
    assert words in cause
    assert cause.count("An error occurred") == 1


@pytest.mark.parametrize("field", ["Arguments", "Output", "Assign"])
def test_a_catch_takes_expressions_that_fail(shop: Workshop, echo: str, field: str) -> None:
    task: dict[str, Any] = {
        "Type": "Task",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": echo, "Payload": {}},
        "Catch": [
            {
                "ErrorEquals": ["States.QueryEvaluationError"],
                "Assign": {"cause": "{% $states.errorOutput.Cause %}"},
                "Output": "{% $states.errorOutput.Error %}",
                "Next": "Rescue",
            }
        ],
        "End": True,
    }
    broken = {"FunctionName": echo, "Payload": "{% $states.input.gone %}"}
    task[field] = broken if field == "Arguments" else {"Payload": "{% $states.input.gone %}"}
    rescue = {"Type": "Pass", "Output": "{% [$states.input, $cause] %}", "End": True}
    error, cause = shop.output(machine(shop, {"Ask": task, "Rescue": rescue}))
    assert error == "States.QueryEvaluationError"
    assert f"specified for the field '{field}/Payload' returned nothing" in cause


def test_a_catch_gets_a_functions_error(shop: Workshop) -> None:
    task = {
        "Type": "Task",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": shop.function(FAIL)},
        "Catch": [
            {
                "ErrorEquals": ["Odd"],
                "Output": {"why": "{% $parse($states.errorOutput.Cause).errorMessage %}"},
                "Next": "End",
            }
        ],
        "End": True,
    }
    assert shop.output(machine(shop, {"Ask": task, "End": {"Type": "Succeed"}})) == {"why": "why"}


def test_a_condition_must_be_a_boolean(shop: Workshop) -> None:
    states = {
        "Which": {"Type": "Choice", "Choices": [{"Condition": "{% 'yes' %}", "Next": "End"}], "Default": "End"},
        "End": {"Type": "Succeed"},
    }
    execution = shop.run(machine(shop, states))
    assert execution["error"] == "States.QueryEvaluationError"
    assert (
        "'Choices[0]/Condition' returned an unexpected result type. Expected 'boolean', but was 'string'"
        in (execution["cause"])
    )


def test_the_history_tells_which_expression_failed(shop: Workshop) -> None:
    states = {"P": {"Type": "Pass", "Output": {"a": ["{% $states.input.gone %}"]}, "End": True}}
    execution = shop.run(machine(shop, states))
    events = shop.account.client("stepfunctions").get_execution_history(executionArn=execution["executionArn"])[
        "events"
    ]
    (failed,) = [event for event in events if event["type"] == "EvaluationFailed"]
    details = failed["evaluationFailedEventDetails"]
    assert (details["location"], details["state"], details["cause"]) == ("Output/a[0]", "P", execution["cause"])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"Type": "Pass", "Output": "{% 1 + %}", "End": True}, ["INVALID_JSONATA_EXPRESSION", "/States/A/Output"]),
        ({"Type": "Pass", "Output": {"x": ["{% $eval('1') %}"]}, "End": True}, ["$eval", "Output/x[0]"]),
        ({"Type": "Pass", "Output": "{% $ %}", "End": True}, ["the root"]),
        ({"Type": "Pass", "Output": "{% $states.outcome %}", "End": True}, ["no 'outcome'"]),
        ({"Type": "Pass", "Output": "{% $states.errorOutput %}", "End": True}, ["'Catch' only"]),
        ({"Type": "Pass", "Parameters": {}, "End": True}, ["'Parameters' is not supported with QueryLanguage JSONata"]),
        ({"Type": "Pass", "QueryLanguage": "JSONPath", "End": True}, ["'QueryLanguage' can not be 'JSONPath'"]),
        (
            {"Type": "Task", "Resource": INVOKE, "End": True, "Arguments": {"a": "{% $states.result %}"}},
            ["does not exist yet"],
        ),
    ],
)
def test_definitions_that_cannot_be_evaluated_are_refused(
    shop: Workshop, state: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ClientError) as caught:
        machine(shop, {"A": state})
    assert caught.value.response["Error"]["Code"] == "InvalidDefinition"
    message = caught.value.response["Error"]["Message"]
    assert [word for word in words if word not in message] == []


def test_a_definition_that_is_refused_leaves_its_query_language_to_nobody(shop: Workshop) -> None:
    with pytest.raises(ClientError) as caught:
        machine(shop, {"A": {"Type": "Task", "Resource": "arn:aws:states:::nosuch:thing", "End": True}})
    assert caught.value.response["Error"]["Code"] == "InvalidDefinition"
    path = shop.machine({"B": {"Type": "Pass", "Parameters": {"x.$": "$.y"}, "End": True}})
    assert shop.output(path, {"y": 1}) == {"x": 1}
