"""TestState: one state on its own, with mocks, as recorded answers of AWS have it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local.conftest import owners_client

PASS = {"Type": "Pass", "End": True}
CALL = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": "any", "Payload.$": "$"},
    "Retry": [{"ErrorEquals": ["Odd"], "MaxAttempts": 2, "IntervalSeconds": 3}],
    "Catch": [
        {"ErrorEquals": ["Other"], "Next": "Other"},
        {"ErrorEquals": ["States.ALL"], "ResultPath": "$.e", "Next": "Rescue"},
    ],
    "Next": "After",
}
EACH = {
    "Type": "Map",
    "ItemsPath": "$.items",
    "ToleratedFailureCount": 1,
    "ItemProcessor": {"StartAt": "P", "States": {"P": PASS}},
    "End": True,
}
ODD = {"errorOutput": {"error": "Odd", "cause": "why"}}


@pytest.fixture(scope="module")
def sfn(account: Any) -> Any:
    config = Config(inject_host_prefix=False, retries={"total_max_attempts": 1})
    return owners_client("stepfunctions", account.state_dir, account.port, config)


def tried(sfn: Any, state: Any, data: Any = None, **request: Any) -> dict[str, Any]:
    """What TestState answers, its JSON read."""
    options = {"inspectionLevel": "DEBUG", **request}
    text = json.dumps({} if data is None else data)
    answer: dict[str, Any] = sfn.test_state(definition=json.dumps(state), input=text, **options)
    del answer["ResponseMetadata"]
    if "output" in answer:
        answer["output"] = json.loads(answer["output"])
    seen = answer.pop("inspectionData", {})
    answer["seen"] = {name: json.loads(value) if isinstance(value, str) else value for name, value in seen.items()}
    return answer


def refused(sfn: Any, state: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        tried(sfn, state, **request)
    return str(caught.value.response["Error"]["Message"])


def test_the_data_is_seen_on_its_way(sfn: Any) -> None:
    state = {**PASS, "InputPath": "$.a", "Parameters": {"n.$": "$.n"}, "ResultPath": "$.r"}
    assert tried(sfn, state, {"a": {"n": 1}}) == {
        "status": "SUCCEEDED",
        "output": {"a": {"n": 1}, "r": {"n": 1}},
        "seen": {
            "input": {"a": {"n": 1}},
            "afterInputPath": {"n": 1},
            "afterParameters": {"n": 1},
            "afterResultSelector": {"n": 1},
            "afterResultPath": {"a": {"n": 1}, "r": {"n": 1}},
        },
    }
    assert tried(sfn, {"Type": "Fail", "Error": "E", "Cause": "c"})["status"] == "FAILED"
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "One"}]}
    assert tried(sfn, choice, {"n": 1})["nextState"] == "One"


def test_a_mock_stands_for_the_call(sfn: Any) -> None:
    answer = tried(sfn, CALL, {"n": 1}, mock={"result": '{"Payload": {"m": 2}}'})
    assert (answer["status"], answer["output"], answer["nextState"]) == ("SUCCEEDED", {"Payload": {"m": 2}}, "After")
    assert answer["seen"]["afterParameters"] == {"FunctionName": "any", "Payload": {"n": 1}}


def test_an_error_is_tried_again_caught_or_told(sfn: Any) -> None:
    again = tried(sfn, CALL, {"n": 1}, mock=ODD, stateConfiguration={"retrierRetryCount": 1})
    assert (again["status"], again["error"], again["cause"]) == ("RETRIABLE", "Odd", "why")
    assert again["seen"]["errorDetails"] == {"retryIndex": 0, "retryBackoffIntervalSeconds": 6}
    caught = tried(sfn, CALL, {"n": 1}, mock=ODD, stateConfiguration={"retrierRetryCount": 2})
    assert (caught["status"], caught["nextState"]) == ("CAUGHT_ERROR", "Rescue")
    assert caught["output"] == {"n": 1, "e": {"Error": "Odd", "Cause": "why"}}
    assert caught["seen"]["errorDetails"] == {"catchIndex": 1}
    bare = {name: value for name, value in CALL.items() if name not in {"Retry", "Catch"}}
    timeout = {"errorOutput": {"error": "States.Timeout", "cause": "late"}}
    assert tried(sfn, bare, mock=timeout)["error"] == "States.Timeout"


def test_a_map_is_tried_by_its_items(sfn: Any) -> None:
    mock = {"result": "[3, 4]"}
    answer = tried(sfn, EACH, {"items": [1, 2]}, mock=mock)
    assert answer["output"] == [3, 4]
    assert answer["seen"].items() >= {"maxConcurrency": 0, "toleratedFailureCount": 1}.items()
    assert answer["seen"]["afterItemsPath"] == [1, 2]
    failed = tried(sfn, EACH, {"items": [1, 2]}, mock=mock, stateConfiguration={"mapIterationFailureCount": 2})
    assert failed["error"] == "States.ExceedToleratedFailureThreshold"
    none = tried(sfn, EACH, {"items": 1}, mock=mock)
    assert (none["error"], none["cause"]) == ("States.Runtime", 'Reference path "$.items" must point to array.')


def test_variables_and_the_context_object_may_be_given(sfn: Any) -> None:
    state = {
        "Type": "Pass",
        "QueryLanguage": "JSONata",
        "Output": "{% [$v, $states.context.State.Name] %}",
        "End": True,
    }
    assert tried(sfn, state, variables='{"v": 2}')["output"] == [2, "StateName"]
    machine = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": PASS}}
    assert tried(sfn, machine, stateName="A")["nextState"] == "B"


@pytest.mark.parametrize(
    ("state", "request_", "message"),
    [
        (PASS, {"mock": {"result": "1"}}, "State type 'Pass' is not supported when a mock is specified"),
        (EACH, {}, "TestState API does not support Map or Parallel states."),
        (CALL, {"mock": {"result": "{}", **ODD}}, "should have only one of the following fields"),
        (CALL, {"mock": {"result": "{}"}, "revealSecrets": True}, "does not support RevealSecrets"),
        (EACH, {"mock": {"result": "{}"}}, "Mocked result must be an array."),
        (CALL, {"mock": {"result": '{"StatusCode": "x"}'}}, "Field 'StatusCode' must be a number"),
        (CALL, {"mock": {"result": "{"}}, "must be valid JSON"),
        (CALL, {"mock": {"result": "{}"}, "context": '{"Map": {}}'}, "'Map' field is not supported"),
        (CALL, {"mock": {"result": "{}"}, "context": '{"Execution": {"Id": 5}}'}, "Execution.Id must be a string"),
        (CALL, {"mock": {"result": "{}"}, "context": '{"Execution": {"x": 5}}'}, "Field 'x' is not allowed"),
        (PASS, {"variables": "{"}, "Invalid variables provided"),
        ({"Type": "Pass"}, {}, "'Next' and 'End'"),
        ([], {}, "is not a state type"),
    ],
)
def test_what_cannot_be_tried_is_refused(sfn: Any, state: Any, request_: dict[str, Any], message: str) -> None:
    assert message in refused(sfn, state, **request_)


@pytest.mark.parametrize(
    ("resource", "result", "fault"),
    [
        ("states:startExecution", {}, "Required field 'ExecutionArn' is missing"),
        ("events:putEvents", {"Entries": 1}, "Field 'Entries' must be an array"),
        ("events:putEvents", {"Entries": [{"EventId": "a"}, {"EventId": 1}]}, "Field 'EventId' must be a string"),
        ("aws-sdk:s3:getObject", {"StorageClass": "cheap"}, "Field 'StorageClass' is not an expected value"),
        ("aws-sdk:lambda:getFunction", {"Configuration": {"MemorySize": 1}}, "'MemorySize' is less than the minimum"),
    ],
)
def test_a_mock_has_to_be_what_the_service_answers(sfn: Any, resource: str, result: Any, fault: str) -> None:
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": {}, "End": True}
    mock = {"result": json.dumps(result)}
    assert fault in refused(sfn, state, mock=mock)
    assert tried(sfn, state, mock={**mock, "fieldValidationMode": "NONE"})["output"] == result
