"""What state machines call besides functions, what is logged of them, and what a restart keeps of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop
from tests.local.queues import Queue


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


def task(resource: str, parameters: dict[str, Any], **members: Any) -> dict[str, Any]:
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, **members}
    return state if "Next" in state else {**state, "End": True}


@pytest.mark.parametrize("resource", ["sqs:sendMessage", "aws-sdk:sqs:sendMessage"])
def test_messages_are_sent(shop: Workshop, resource: str) -> None:
    queue = Queue(shop.account, f"foreign-{uuid4().hex[:8]}")
    body: Any = {"key.$": "$.key"} if resource == "sqs:sendMessage" else None
    parameters = {"QueueUrl": queue.url, "MessageBody": body}
    if body is None:
        parameters = {"QueueUrl": queue.url, "MessageBody.$": "States.JsonToString($)"}
    machine = shop.machine({"Send": task(resource, parameters)})
    output = shop.output(machine, {"key": "a"})
    (message,) = queue.take()
    assert json.loads(message["Body"]) == {"key": "a"}
    assert output["MessageId"] == message["MessageId"]
    gone = {"QueueUrl": f"{queue.url}-gone", "MessageBody": "m"}
    execution = shop.run(shop.machine({"Send": task(resource, gone)}))
    prefix = "SQS." if resource == "sqs:sendMessage" else "Sqs."
    assert (execution["status"], execution["error"][:4]) == ("FAILED", prefix)


def test_objects_are_put_and_read(shop: Workshop) -> None:
    bucket = f"foreign-{uuid4().hex[:12]}"
    shop.account.client("s3").create_bucket(Bucket=bucket)
    put = task(
        "aws-sdk:s3:putObject",
        {"Bucket": bucket, "Key.$": "$.key", "Body.$": "$.content"},
        ResultPath=None,
        Next="Get",
    )
    get = task(
        "aws-sdk:s3:getObject",
        {"Bucket": bucket, "Key.$": "$.key"},
        ResultSelector={"content.$": "States.StringToJson($.Body)", "type.$": "$.ContentLength"},
    )
    output = shop.output(shop.machine({"Put": put, "Get": get}), {"key": "a/b.json", "content": {"n": [1, None]}})
    assert output == {"content": {"n": [1, None]}, "type": 14}
    missing = shop.run(shop.machine({"Get": get}), {"key": "gone"})
    assert (missing["status"], missing["error"]) == ("FAILED", "S3.NoSuchKeyException")


def test_executions_are_started_and_awaited(shop: Workshop) -> None:
    inner = shop.machine({"P": {"Type": "Pass", "Parameters": {"got.$": "$.n"}, "End": True}})
    broken = shop.machine({"F": {"Type": "Fail", "Error": "E", "Cause": "C"}})
    parameters = {"StateMachineArn": inner, "Input": {"n.$": "$.n"}}
    started = shop.output(shop.machine({"S": task("states:startExecution", parameters)}), {"n": 1})
    assert started["ExecutionArn"].startswith(inner.replace(":stateMachine:", ":execution:"))
    awaited = shop.output(shop.machine({"S": task("states:startExecution.sync:2", parameters)}), {"n": 2})
    assert awaited["Output"] == {"got": 2}
    failed = shop.run(shop.machine({"S": task("states:startExecution.sync:2", {"StateMachineArn": broken})}))
    assert (failed["status"], failed["error"]) == ("FAILED", "States.TaskFailed")
    told = json.loads(failed["cause"])
    assert list(told) == sorted(told)
    assert (told["Cause"], told["Error"], told["Input"]) == ("C", "E", "{}")
    assert failed["cause"].startswith('{"Cause":"C","Error":"E","ExecutionArn":"arn:')
    assert isinstance(told["StopDate"], int)


def test_an_execution_ends_with_the_task_that_awaits_it(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    inner = shop.machine({"W": {"Type": "Wait", "Seconds": 600, "End": True}})
    awaits = task("states:startExecution.sync:2", {"StateMachineArn": inner}, TimeoutSeconds=1)
    parent = shop.run(shop.machine({"S": awaits}))
    assert (parent["status"], parent["error"]) == ("FAILED", "States.Timeout")
    (child,) = client.list_executions(stateMachineArn=inner)["executions"]
    while (found := client.describe_execution(executionArn=child["executionArn"]))["status"] == "RUNNING":
        time.sleep(0.02)
    words = f"execution [{parent['executionArn']}] which was managing this resource was aborted"
    assert (found["status"], found["cause"]) == ("ABORTED", f"The Task state in AWS Step Functions {words}")


def test_an_inline_map_runs_so_many_items_at_once(shop: Workshop) -> None:
    waits = {"W": {"Type": "Wait", "Seconds": 1, "End": True}}
    state = {"Type": "Map", "MaxConcurrency": 2, "ItemProcessor": {"StartAt": "W", "States": waits}, "End": True}
    machine = shop.machine({"M": state})
    began = time.monotonic()
    assert shop.output(machine, [1, 2, 3]) == [1, 2, 3]
    assert time.monotonic() - began >= 2
    assert shop.output(machine, []) == []


def test_an_inline_map_has_many_items(shop: Workshop) -> None:
    each = {"P": {"Type": "Pass", "End": True}}
    state = {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": {"StartAt": "P", "States": each}, "End": True}
    items = list(range(1200))
    assert shop.output(shop.machine({"M": state}), items) == items


def test_an_execution_that_goes_round_for_ever_ends(shop: Workshop) -> None:
    execution = shop.run(shop.machine({"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}}))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.Runtime")
    assert "The execution reached the maximum number of history events (25000)." in execution["cause"]


def test_a_branch_that_fails_ends_the_others(shop: Workshop) -> None:
    slow = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}
    bad = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E", "Cause": "C"}}}
    catch = [{"ErrorEquals": ["E"], "ResultPath": "$.failure", "Next": "Rescue"}]
    states = {"Both": {"Type": "Parallel", "Branches": [slow, bad], "Catch": catch, "End": True}}
    machine = shop.machine({**states, "Rescue": {"Type": "Succeed"}})
    assert shop.output(machine, {"n": 1}) == {"n": 1, "failure": {"Error": "E", "Cause": "C"}}


def test_errors_alone_are_logged(shop: Workshop) -> None:
    client, group = shop.account.client("stepfunctions"), "/aws/vendedlogs/states/errors"
    shop.account.client("logs").create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
    destinations = [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]
    states = {"P": {"Type": "Pass", "Next": "F"}, "F": {"Type": "Fail", "Error": "E", "Cause": "C"}}
    machine = client.create_state_machine(
        name="foreign-errors",
        definition=json.dumps({"StartAt": "P", "States": states}),
        roleArn=shop.role,
        loggingConfiguration={"level": "ERROR", "includeExecutionData": False, "destinations": destinations},
    )["stateMachineArn"]
    shop.run(machine)
    lines = [json.loads(line) for line in shop.log_of(group, "ExecutionFailed")]
    assert [line["type"] for line in lines] == ["FailStateEntered", "ExecutionFailed"]
    assert lines[1]["details"] == {"error": "E", "cause": "C"}
    assert "input" not in lines[0]["details"]
    assert lines[1].keys() == {
        "id", "type", "details", "previous_event_id", "event_timestamp", "execution_arn", "redrive_count",
    }  # fmt: skip


def test_a_restart_keeps_map_runs_and_what_can_be_redriven(fresh_account: Callable[..., RunningAccount]) -> None:
    before = fresh_account()
    shop = Workshop(before)
    client = before.client("stepfunctions")
    child = {"P": {"Type": "Pass", "Next": "W"}, "W": {"Type": "Wait", "SecondsPath": "$.s", "End": True}}
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    state = {"Type": "Map", "ItemProcessor": {"ProcessorConfig": config, "StartAt": "P", "States": child}, "End": True}
    machine = shop.machine({"First": {"Type": "Pass", "Assign": {"x": 1}, "Next": "M"}, "M": state})
    client.create_state_machine(
        name="quick",
        definition=json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}),
        roleArn=shop.role,
        type="EXPRESS",
    )
    arn = client.start_execution(stateMachineArn=machine, input='[{"s": 0}, {"s": 2}]')["executionArn"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        runs = client.list_map_runs(executionArn=arn)["mapRuns"]
        if runs and client.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["executionCounts"]["succeeded"] == 1:
            break
        time.sleep(0.02)
    before.stop()
    after = fresh_account(before.state_dir)
    client = after.client("stepfunctions")
    execution = client.describe_execution(executionArn=arn)
    assert (execution["status"], execution["redriveStatus"]) == ("ABORTED", "REDRIVABLE")
    run = client.describe_map_run(mapRunArn=runs[0]["mapRunArn"])
    assert (run["status"], run["executionCounts"]["succeeded"], run["executionCounts"]["aborted"]) == ("ABORTED", 1, 1)
    kinds = {item["name"]: item["type"] for item in client.list_state_machines()["stateMachines"]}
    assert kinds["quick"] == "EXPRESS"
    client.redrive_execution(executionArn=arn)
    while time.monotonic() < deadline + 20:
        execution = client.describe_execution(executionArn=arn)
        if execution["status"] != "RUNNING":
            break
        time.sleep(0.02)
    assert (execution["status"], json.loads(execution["output"])) == ("SUCCEEDED", [{"s": 0}, {"s": 2}])
    types = [event["type"] for event in client.get_execution_history(executionArn=arn)["events"]]
    assert (types.count("PassStateEntered"), types.count("MapRunRedriven")) == (1, 1)
