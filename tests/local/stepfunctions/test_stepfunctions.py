"""Step Functions of the stand-in account: foreign state machines run, fail and are refused as they are on AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from inference_workflow.sdk_imports import import_step_functions_sdk
from tests.local.foreign_functions import Workshop, make_zip
from tests.local.queues import Queue

ADD = "def handler(event, context):\n    return {'n': event.get('n', 0) + 1}\n"
FAIL = "class Odd(Exception):\n    pass\ndef handler(event, context):\n    raise Odd('why')\n"


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


@pytest.fixture(scope="module")
def add(shop: Workshop) -> str:
    return shop.function(ADD)


def invoke_task(function: str, **members: Any) -> dict[str, Any]:
    parameters = {"FunctionName": function, "Payload.$": "$"}
    state = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, **members}
    return state if "Next" in state else {**state, "End": True}


def refusal(shop: Workshop, states: dict[str, Any], **options: Any) -> str:
    """The message with which creating the machine is refused."""
    with pytest.raises(ClientError) as caught:
        shop.machine(states, **options)
    assert caught.value.response["Error"]["Code"] == "InvalidDefinition"
    return str(caught.value.response["Error"]["Message"])


def test_functions_pass_their_results_on(shop: Workshop, add: str) -> None:
    machine = shop.machine(
        {"A": shop.task(add, Next="B"), "B": invoke_task(add, OutputPath="$.Payload", Next="C"), "C": shop.task(add)}
    )
    assert shop.output(machine, {"n": 1}) == {"n": 4}


def test_a_choice_takes_the_branch_that_matches(shop: Workshop) -> None:
    machine = shop.machine(
        {
            "Which": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.n", "NumericGreaterThan": 5, "Next": "Big"}],
                "Default": "Small",
            },
            "Big": {"Type": "Pass", "Result": "big", "End": True},
            "Small": {"Type": "Fail", "Error": "TOO_SMALL", "CausePath": "States.Format('n is {}', $.n)"},
        }
    )
    assert shop.output(machine, {"n": 6}) == "big"
    execution = shop.run(machine, {"n": 5})
    assert (execution["status"], execution["error"], execution["cause"]) == ("FAILED", "TOO_SMALL", "n is 5")


def test_parallel_and_map_keep_the_order(shop: Workshop, add: str) -> None:
    branch = {"StartAt": "One", "States": {"One": shop.task(add)}}
    other = {"StartAt": "Two", "States": {"Two": {"Type": "Pass", "Result": 2, "End": True}}}
    item = {"StartAt": "Each", "States": {"Each": shop.task(add)}}
    machine = shop.machine(
        {
            "Both": {"Type": "Parallel", "Branches": [branch, other], "ResultPath": "$.both", "Next": "All"},
            "All": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "MaxConcurrency": 3,
                "ItemSelector": {"n.$": "$$.Map.Item.Value"},
                "ItemProcessor": item,
                "ResultPath": "$.all",
                "End": True,
            },
        }
    )
    output = shop.output(machine, {"n": 0, "items": [5, 3, 9, 1]})
    assert output["both"] == [{"n": 1}, 2]
    assert output["all"] == [{"n": 6}, {"n": 4}, {"n": 10}, {"n": 2}]


def test_a_wait_waits(shop: Workshop) -> None:
    machine = shop.machine({"W": {"Type": "Wait", "Seconds": 1, "End": True}})
    started = time.monotonic()
    assert shop.output(machine, {"kept": True}) == {"kept": True}
    assert 1 <= time.monotonic() - started < 3


def test_a_retry_reaches_success(shop: Workshop, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    code = f"""
def handler(event, context):
    with open({str(calls)!r}, "a") as file:
        file.write("x")
    if len(open({str(calls)!r}).read()) < 3:
        raise ValueError("not yet")
    return "at last"
"""
    retry = [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 1, "BackoffRate": 1, "MaxAttempts": 3}]
    assert shop.output(shop.machine({"A": shop.task(shop.function(code), Retry=retry)})) == "at last"
    assert calls.read_text() == "xxx"


@pytest.mark.parametrize("matched", ["Odd", "States.TaskFailed", "States.ALL"])
@pytest.mark.parametrize("direct", [True, False])
def test_a_catch_gets_error_and_cause(shop: Workshop, matched: str, direct: bool) -> None:
    catch = [{"ErrorEquals": [matched], "ResultPath": "$.failure", "Next": "Rescue"}]
    function = shop.function(FAIL)
    task = shop.task(function, Catch=catch) if direct else invoke_task(function, Catch=catch)
    output = shop.output(shop.machine({"A": task, "Rescue": {"Type": "Succeed"}}), {"kept": 1})
    assert output["kept"] == 1
    assert output["failure"]["Error"] == "Odd"
    assert json.loads(output["failure"]["Cause"])["errorMessage"] == "why"


@pytest.mark.parametrize("direct", [True, False])
def test_an_uncaught_error_ends_the_execution_with_the_functions_payload(shop: Workshop, direct: bool) -> None:
    function = shop.function(FAIL)
    execution = shop.run(shop.machine({"A": shop.task(function) if direct else invoke_task(function)}))
    assert (execution["status"], execution["error"]) == ("FAILED", "Odd")
    cause = json.loads(execution["cause"])
    assert cause.keys() == {"errorMessage", "errorType", "requestId", "stackTrace"}
    assert (cause["errorType"], cause["errorMessage"]) == ("Odd", "why")
    assert "output" not in execution


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("def handler(event, context):\n    this is no python\n", "Runtime.UserCodeSyntaxError"),
        ("import nowhere\n", "Runtime.ImportModuleError"),
        ("import os\ndef handler(event, context):\n    os._exit(1)\n", "Runtime.ExitError"),
    ],
)
def test_broken_code_fails_the_execution(shop: Workshop, add: str, code: str, error: str) -> None:
    machine = shop.machine({"A": shop.task(add)})
    assert shop.output(machine) == {"n": 1}
    broken = shop.function(ADD)
    machine = shop.machine({"A": shop.task(broken)})
    shop.account.client("lambda").update_function_code(FunctionName=broken, ZipFile=make_zip({"main.py": code}))
    execution = shop.run(machine)
    assert (execution["status"], execution["error"]) == ("FAILED", error)


def test_time_outs_of_function_task_and_machine(shop: Workshop) -> None:
    sleep = "import time\ndef handler(event, context):\n    time.sleep(20)\n"
    short, long = shop.function(sleep, Timeout=1), shop.function(sleep, Timeout=30)
    machines = [
        shop.machine({"A": shop.task(short)}),
        shop.machine({"A": shop.task(long, TimeoutSeconds=1)}),
        shop.machine({"A": shop.task(long)}, TimeoutSeconds=1),
    ]
    started = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        by_function, by_task, by_machine = threads.map(shop.run, machines)
    assert time.monotonic() - started < 5
    assert (by_function["status"], by_function["error"]) == ("FAILED", "Sandbox.Timedout")
    assert "Task timed out after 1.00 seconds" in by_function["cause"]
    assert (by_task["status"], by_task["error"]) == ("FAILED", "States.Timeout")
    assert by_machine["status"] == "TIMED_OUT"
    assert by_machine["stopDate"]


def test_lambdas_own_errors_can_be_matched(shop: Workshop, add: str) -> None:
    throttled = shop.function(ADD)
    shop.account.client("lambda").put_function_concurrency(FunctionName=throttled, ReservedConcurrentExecutions=0)
    for function, error in (
        (throttled, "Lambda.TooManyRequestsException"),
        ("gone", "Lambda.ResourceNotFoundException"),
    ):
        catch = [{"ErrorEquals": [error], "Next": "Rescue"}]
        for task in (shop.task(function, Catch=catch), invoke_task(function, Catch=catch)):
            machine = shop.machine({"A": task, "Rescue": {"Type": "Pass", "End": True}})
            assert shop.output(machine)["Error"] == error


def test_aws_sdk_integrations_reach_the_account(shop: Workshop) -> None:
    shop.account.client("ssm").put_parameter(Name="foreign-parameter", Value="7", Type="String")
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:ssm:getParameter",
        "Parameters": {"Name.$": "$.name"},
        "OutputPath": "$.Parameter.Value",
        "End": True,
    }
    machine = shop.machine({"Read": state})
    assert shop.output(machine, {"name": "foreign-parameter"}) == "7"
    assert shop.run(machine, {"name": "missing"})["error"] == "Ssm.ParameterNotFoundException"


def test_an_unknown_endpoint_fails_the_task(shop: Workshop) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sagemakerruntime:invokeEndpoint",
        "Parameters": {"EndpointName": "nowhere", "Body": "{}"},
        "End": True,
    }
    execution = shop.run(shop.machine({"Ask": state}))
    assert (execution["status"], execution["error"][:17]) == ("FAILED", "SageMakerRuntime.")
    assert "nowhere" in execution["cause"]


def test_a_task_token_is_answered_with_success_or_failure(shop: Workshop) -> None:
    queue = Queue(shop.account, "foreign-tokens")
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue.url, "MessageBody": {"token.$": "$$.Task.Token"}},
        "End": True,
    }
    machine = shop.machine({"Ask": state})
    client = shop.account.client("stepfunctions")

    def answer(send: Callable[[str], Any]) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as threads:
            execution = threads.submit(shop.run, machine)
            send(json.loads(queue.take()[0]["Body"])["token"])
            return execution.result()

    succeeded = answer(lambda token: client.send_task_success(taskToken=token, output='{"ok": 1}'))
    assert (succeeded["status"], json.loads(succeeded["output"])) == ("SUCCEEDED", {"ok": 1})
    failed = answer(lambda token: client.send_task_failure(taskToken=token, error="No", cause="by hand"))
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "No", "by hand")
    with pytest.raises(client.exceptions.InvalidToken):
        client.send_task_failure(taskToken="unknown", error="No")


def test_two_unnamed_executions_are_two(shop: Workshop) -> None:
    machine = shop.machine({"P": {"Type": "Pass", "End": True}})
    first, second = shop.run(machine, 1), shop.run(machine, 2)
    assert (first["output"], second["output"]) == ("1", "2")
    assert len({first["name"], second["name"], "None"}) == 3
    assert (
        first["executionArn"]
        == f"arn:aws:states:us-east-1:123456789012:execution:{machine.split(':')[-1]}:{first['name']}"
    )


def test_a_name_is_used_once(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    machine = shop.machine({"W": {"Type": "Wait", "Seconds": 30, "End": True}})
    arguments = {"stateMachineArn": machine, "name": "once", "input": "{}"}
    arn = client.start_execution(**arguments)["executionArn"]
    assert client.start_execution(**arguments)["executionArn"] == arn
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(**{**arguments, "input": "1"})
    client.stop_execution(executionArn=arn, error="Stopped", cause="by hand")
    execution = client.describe_execution(executionArn=arn)
    assert (execution["status"], execution["error"], execution["cause"]) == ("ABORTED", "Stopped", "by hand")
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(**arguments)


def test_success_is_never_seen_before_the_output(shop: Workshop) -> None:
    machine = shop.machine({"P": {"Type": "Pass", "End": True}})
    with ThreadPoolExecutor(8) as threads:
        executions = list(threads.map(lambda n: shop.run(machine, n), range(40)))
    assert [execution.get("output") for execution in executions] == [str(n) for n in range(40)]


def test_sizes_are_limited(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    machine = shop.machine({"P": {"Type": "Pass", "End": True}})
    fits = json.dumps("x" * (262_144 - 2))
    arn = client.start_execution(stateMachineArn=machine, input=fits)["executionArn"]
    with pytest.raises(ClientError, match="262144"):
        client.start_execution(stateMachineArn=machine, input=json.dumps("x" * (262_144 - 1)))
    large = shop.machine({"A": shop.task(shop.function("def handler(event, context):\n    return 'x' * 300000\n"))})
    assert shop.run(large)["error"] == "States.DataLimitExceeded"
    assert client.describe_execution(executionArn=arn)["output"] == fits


def test_a_catch_of_all_errors_leaves_those_of_the_interpreter(shop: Workshop) -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Rescue"}]
    broken = invoke_task("any", InputPath="$.gone", Catch=catch)
    large = shop.task(shop.function("def handler(event, context):\n    return 'x' * 300000\n"), Catch=catch)
    assert shop.run(shop.machine({"A": broken, "Rescue": {"Type": "Succeed"}}))["error"] == "States.Runtime"
    rescued = shop.output(shop.machine({"A": large, "Rescue": {"Type": "Succeed"}}))
    assert rescued["Error"] == "States.DataLimitExceeded"


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"A": {"Type": "Pass", "Next": "B"}}, ["MISSING_TRANSITION_TARGET", "'Next' target: B", "/States/A/Next"]),
        ({"A": {"Type": "Pass", "End": True}, "B": {"Type": "Pass", "End": True}}, ['"B" is not reachable']),
        ({"A": {"Type": "Pass"}}, ["'Next' and 'End'", "state A"]),
        ({"A": {"Type": "Nap", "End": True}}, ["'Nap'", "/States/A/Type"]),
        ({"A": {"Type": "Pass", "End": True, "Colour": 1}}, ["Colour"]),
        ({"A": {"Type": "Task", "End": True}}, ["[Resource]", "at /States/A"]),
        ({"A": {"Type": "Choice", "Choices": [{"Variable": "$.n", "IsNull": True, "Next": "B"}]}}, ["target: B"]),
        ({"A": {"Type": "Pass", "End": True, "Output": 1}}, ["'Output' is not supported with QueryLanguage JSONPath"]),
        ({"A": {"Type": "Task", "Resource": "arn:aws:states:::glue:startJobRun.sync", "End": True}}, ["A"]),
        (
            {"A": {"Type": "Parallel", "End": True, "Branches": [
                {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "C"}}}]}},
            ["Duplicate State name: A", "target: C", "/States/A/Branches[0]/States/A"],
        ),
    ],
)  # fmt: skip
def test_bad_definitions_are_refused(shop: Workshop, states: dict[str, Any], words: list[str]) -> None:
    message = refusal(shop, states)
    assert [word for word in words if word not in message] == []


def test_a_definition_is_validated_without_being_created(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    good = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    answer = client.validate_state_machine_definition(definition=json.dumps(good))
    assert (answer["result"], answer["diagnostics"]) == ("OK", [])
    bad = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Next": "Q"}}}
    answer = client.validate_state_machine_definition(definition=json.dumps(bad))
    (found,) = answer["diagnostics"]
    assert (answer["result"], found["code"], found["location"]) == (
        "FAIL",
        "MISSING_TRANSITION_TARGET",
        "/States/P/Next",
    )


def test_a_start_that_does_not_exist_is_refused_at_an_update(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    machine = shop.machine({"P": {"Type": "Pass", "End": True}})
    definition = json.dumps({"StartAt": "Q", "States": {"P": {"Type": "Pass", "End": True}}})
    with pytest.raises(client.exceptions.InvalidDefinition, match="'StartAt' target: Q"):
        client.update_state_machine(stateMachineArn=machine, definition=definition)
    assert shop.output(machine, 1) == 1


def test_another_definition_under_the_same_name_is_refused(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    definitions = [
        json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": n, "End": True}}}) for n in (1, 2)
    ]
    arguments = {"name": "foreign-same", "roleArn": shop.role}
    arn = client.create_state_machine(definition=definitions[0], **arguments)["stateMachineArn"]
    assert client.create_state_machine(definition=definitions[0], **arguments)["stateMachineArn"] == arn
    with pytest.raises(client.exceptions.StateMachineAlreadyExists):
        client.create_state_machine(definition=definitions[1], **arguments)


def test_versions_and_aliases_run_their_definition(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    machine = shop.machine({"P": {"Type": "Pass", "Result": "old", "End": True}})
    new = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": "new", "End": True}}})
    old = client.update_state_machine(stateMachineArn=machine, roleArn=shop.role, publish=True)[
        "stateMachineVersionArn"
    ]
    client.update_state_machine(stateMachineArn=machine, definition=new)
    alias = client.create_state_machine_alias(
        name="live", routingConfiguration=[{"stateMachineVersionArn": old, "weight": 100}]
    )["stateMachineAliasArn"]
    assert [shop.output(arn) for arn in (machine, old, alias)] == ["new", "old", "old"]


def test_history_is_paged_in_both_directions(shop: Workshop, add: str) -> None:
    client = shop.account.client("stepfunctions")
    execution = shop.run(shop.machine({"A": shop.task(add)}), {"n": 1})
    arn = execution["executionArn"]
    events = client.get_execution_history(executionArn=arn)["events"]
    assert [event["type"] for event in events] == [
        "ExecutionStarted", "TaskStateEntered", "LambdaFunctionScheduled", "LambdaFunctionStarted",
        "LambdaFunctionSucceeded", "TaskStateExited", "ExecutionSucceeded",
    ]  # fmt: skip
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=arn, reverseOrder=True, PaginationConfig={"PageSize": 3}
    )
    assert [[event["id"] for event in page["events"]] for page in pages] == [[7, 6, 5], [4, 3, 2], [1]]


def test_status_changes_are_published(shop: Workshop) -> None:
    queue = Queue(shop.account, "foreign-status")
    machine = shop.machine({"F": {"Type": "Fail", "Error": "E", "Cause": "C"}})
    events = shop.account.client("events")
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["FAILED"]}}
    events.put_rule(Name="foreign-status", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="foreign-status", Targets=[{"Id": "1", "Arn": queue.arn}])
    execution = shop.run(machine, {"a": 1})
    (message,) = queue.take()
    event = json.loads(message["Body"])
    assert event["detail-type"] == "Step Functions Execution Status Change"
    detail = event["detail"]
    assert (detail["executionArn"], detail["error"], detail["cause"]) == (execution["executionArn"], "E", "C")
    assert json.loads(detail["input"]) == {"a": 1}


def test_metrics_are_counted(shop: Workshop) -> None:
    machine = shop.machine({"P": {"Type": "Pass", "End": True}})
    shop.output(machine)
    shop.output(machine)
    time.sleep(0.6)
    now = time.time()
    points = shop.account.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/States",
        MetricName="ExecutionsSucceeded",
        Dimensions=[{"Name": "StateMachineArn", "Value": machine}],
        StartTime=now - 120,
        EndTime=now + 60,
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in points) == 2


def test_a_log_group_gets_the_history(shop: Workshop) -> None:
    group = "/aws/vendedlogs/states/foreign"
    shop.account.client("logs").create_log_group(logGroupName=group)
    destination = {
        "cloudWatchLogsLogGroup": {"logGroupArn": f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"}
    }
    machine = shop.machine({"F": {"Type": "Fail", "Error": "E"}})
    shop.account.client("stepfunctions").update_state_machine(
        stateMachineArn=machine,
        loggingConfiguration={"level": "ERROR", "includeExecutionData": False, "destinations": [destination]},
    )
    execution = shop.run(machine)
    (last,) = [json.loads(m) for m in shop.log_of(group, "ExecutionFailed") if "ExecutionFailed" in m]
    assert (last["execution_arn"], last["details"]["error"]) == (execution["executionArn"], "E")


@pytest.mark.filterwarnings("ignore")  # importing the unmaintained SDK warns in several places
def test_the_data_science_sdk_creates_and_runs_a_machine(shop: Workshop, add: str) -> None:
    import_step_functions_sdk()  # seconds
    from stepfunctions.steps import Chain, LambdaStep, Pass
    from stepfunctions.workflow import Workflow

    steps = Chain(
        [
            Pass("First", result={"n": 40}),
            LambdaStep("Second", parameters={"FunctionName": add, "Payload.$": "$"}, output_path="$.Payload"),
        ]
    )
    workflow = Workflow("foreign-sdk", definition=steps, role=shop.role, client=shop.account.client("stepfunctions"))
    workflow.create()
    execution = workflow.execute(inputs={"ignored": True})
    assert execution.get_output(wait=True) == {"n": 41}
    assert execution.list_events(reverse_order=True)[0]["type"] == "ExecutionSucceeded"


def test_eight_executions_run_at_once(shop: Workshop) -> None:
    function = shop.function("import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return event\n")
    machine = shop.machine({"A": shop.task(function)})
    started = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(lambda n: shop.output(machine, n), range(8)))
    assert outputs == list(range(8))
    assert time.monotonic() - started < 4
