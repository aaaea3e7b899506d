"""Distributed Map in the stand-in account: items from S3, batches, failures that are tolerated or not, result files."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local.foreign_functions import Workshop
from tests.local.queues import Queue

READ_LIST, READ_OBJECT = "arn:aws:states:::s3:listObjectsV2", "arn:aws:states:::s3:getObject"
WRITE = "arn:aws:states:::s3:putObject"
PASS = {"P": {"Type": "Pass", "End": True}}
ODD_FAILS = {
    "Which": {
        "Type": "Choice",
        "Choices": [{"Variable": "$.odd", "BooleanEquals": True, "Next": "Bad"}],
        "Default": "Good",
    },
    "Good": {"Type": "Pass", "OutputPath": "$.n", "End": True},
    "Bad": {"Type": "Fail", "Error": "ODD", "Cause": "it is odd"},
}


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


@pytest.fixture(scope="module")
def bucket(account: Any) -> str:
    name = f"maps-{uuid4().hex[:12]}"
    account.client("s3").create_bucket(Bucket=name)
    return name


def put(shop: Workshop, bucket: str, key: str, text: str) -> dict[str, str]:
    shop.account.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
    return {"Bucket": bucket, "Key": key}


def get(shop: Workshop, bucket: str, key: str) -> Any:
    return json.loads(shop.account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def distributed(states: dict[str, Any] | None = None, kind: str = "STANDARD", **members: Any) -> dict[str, Any]:
    states = states or PASS
    config = {"Mode": "DISTRIBUTED", "ExecutionType": kind}
    processor = {"ProcessorConfig": config, "StartAt": next(iter(states)), "States": states}
    return {"Type": "Map", "ItemProcessor": processor, "End": True, **members}


def map_run(shop: Workshop, execution: str) -> dict[str, Any]:
    """The one map run of an execution."""
    client = shop.account.client("stepfunctions")
    (listed,) = client.list_map_runs(executionArn=execution)["mapRuns"]
    run: dict[str, Any] = client.describe_map_run(mapRunArn=listed["mapRunArn"])
    return run


def numbers(count: int) -> list[dict[str, Any]]:
    return [{"n": n, "odd": n % 2 == 1} for n in range(count)]


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
def test_items_of_the_input_are_executions_of_their_own(shop: Workshop, kind: str) -> None:
    client = shop.account.client("stepfunctions")
    selector = {"value.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index", "shared.$": "$.shared"}
    child = {"P": {"Type": "Pass", "Parameters": {"got.$": "$", "arn.$": "$$.Execution.Id"}, "End": True}}
    state = distributed(child, kind, ItemsPath="$.items", ItemSelector=selector, Label="Each", ResultPath="$.all")
    machine = shop.machine({"M": state})
    execution = shop.run(machine, {"items": ["a", "b"], "shared": 7})
    assert execution["status"] == "SUCCEEDED", execution
    output = json.loads(execution["output"])
    assert [result["got"] for result in output["all"]] == [
        {"value": "a", "index": 0, "shared": 7},
        {"value": "b", "index": 1, "shared": 7},
    ]
    run, name = map_run(shop, execution["executionArn"]), machine.split(":")[-1]
    assert run["mapRunArn"].startswith(f"arn:aws:states:us-east-1:123456789012:mapRun:{name}/Each:")
    assert (run["status"], run["itemCounts"]["succeeded"], run["executionCounts"]["total"]) == ("SUCCEEDED", 2, 2)
    children = client.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert {item["executionArn"] for item in children} == {result["arn"] for result in output["all"]}
    child_arn = output["all"][0]["arn"]
    described = client.describe_execution(executionArn=child_arn)
    assert (described["status"], described["mapRunArn"]) == ("SUCCEEDED", run["mapRunArn"])
    assert json.loads(described["input"]) == {"value": "a", "index": 0, "shared": 7}
    assert described["stateMachineArn"].endswith(f":stateMachine:{name}/Each")
    if kind == "STANDARD":
        assert f":execution:{name}/Each:" in child_arn
        events = client.get_execution_history(executionArn=child_arn)["events"]
        assert [event["type"] for event in events][-1] == "ExecutionSucceeded"
    else:
        assert f":express:{name}/Each:" in child_arn
        with pytest.raises(ClientError, match="not valid in this context: express"):
            client.get_execution_history(executionArn=child_arn)
    events = client.get_execution_history(executionArn=execution["executionArn"])["events"]
    assert [event["type"] for event in events] == [
        "ExecutionStarted", "MapStateEntered", "MapStateStarted", "MapRunStarted", "MapRunSucceeded",
        "MapStateSucceeded", "MapStateExited", "ExecutionSucceeded",
    ]  # fmt: skip


def test_a_listing_has_more_than_a_page_and_may_be_empty(shop: Workshop, bucket: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: put(shop, bucket, f"many/{number:04}", "x"), range(1003)))
    reader = {"Resource": READ_LIST, "Parameters": {"Bucket": bucket, "Prefix.$": "$.prefix"}}
    batcher = {"MaxItemsPerBatch": 500, "BatchInput": {"prefix.$": "$.prefix"}}
    child = {
        "P": {
            "Type": "Pass",
            "Parameters": {
                "n.$": "States.ArrayLength($.Items)",
                "first.$": "$.Items[0]",
                "shared.$": "$.BatchInput.prefix",
            },
            "End": True,
        }
    }
    machine = shop.machine({"M": distributed(child, ItemReader=reader, ItemBatcher=batcher)})
    output = shop.output(machine, {"prefix": "many/"})
    assert [batch["n"] for batch in output] == [500, 500, 3]
    assert output[2]["first"].keys() == {"Etag", "Key", "LastModified", "Size", "StorageClass"}
    assert (output[2]["first"]["Key"], output[2]["shared"]) == ("many/1000", "many/")
    assert isinstance(output[2]["first"]["LastModified"], int)
    assert shop.output(machine, {"prefix": "none/"}) == []


@pytest.mark.parametrize(
    ("text", "config", "items"),
    [
        ('[1, {"a": null}]', {"InputType": "JSON"}, [1, {"a": None}]),
        ('[1, 2, 3]', {"InputType": "JSON", "MaxItems": 2}, [1, 2]),
        ('{"deep": {"list": [4]}}', {"InputType": "JSON", "ItemsPointer": "/deep/list"}, [4]),
        ('{"a": 1}\n{"a": 2}\n', {"InputType": "JSONL"}, [{"a": 1}, {"a": 2}]),
        ('a,b\n1,"x, y"\n2\n', {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
         [{"a": "1", "b": "x, y"}, {"a": "2", "b": ""}]),
        ('1|2\n3|4|5\n',
         {"InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a", "b"], "CSVDelimiter": "PIPE"},
         [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    ],
)  # fmt: skip
def test_items_come_from_an_object(shop: Workshop, bucket: str, text: str, config: Any, items: list[Any]) -> None:
    reader = {"Resource": READ_OBJECT, "Parameters": put(shop, bucket, "items", text), "ReaderConfig": config}
    assert shop.output(shop.machine({"M": distributed(kind="EXPRESS", ItemReader=reader)})) == items


def test_what_cannot_be_read_fails_the_map(shop: Workshop, bucket: str) -> None:
    good = put(shop, bucket, "no-json", "what?")
    for parameters in ({"Bucket": bucket, "Key": "gone"}, {"Bucket": "gone-bucket", "Key": "k"}, good):
        reader = {"Resource": READ_OBJECT, "Parameters": parameters}
        catch = [{"ErrorEquals": ["States.ItemReaderFailed"], "Next": "Rescue"}]
        state = distributed(ItemReader=reader, Catch=catch)
        output = shop.output(shop.machine({"M": state, "Rescue": {"Type": "Pass", "End": True}}))
        assert output["Error"] == "States.ItemReaderFailed"
        assert output["Cause"]


def test_batches_are_limited_in_bytes(shop: Workshop) -> None:
    child = {
        "P": {"Type": "Pass", "Parameters": {"n.$": "States.ArrayLength($.Items)"}, "OutputPath": "$.n", "End": True}
    }
    state = distributed(child, ItemBatcher={"MaxInputBytesPerBatch": 100})
    assert shop.output(shop.machine({"M": state}), ["x" * 30] * 7) == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("tolerated", "succeeds"),
    [
        ({}, False),
        ({"ToleratedFailureCount": 4}, False),
        ({"ToleratedFailureCount": 5}, True),
        ({"ToleratedFailurePercentage": 49}, False),
        ({"ToleratedFailurePercentage": 50}, True),
        ({"ToleratedFailurePercentagePath": "$.percentage"}, True),
        ({"ToleratedFailurePercentage": 100, "ToleratedFailureCountPath": "$.count"}, False),
    ],
)
def test_failures_are_tolerated_up_to_a_threshold(shop: Workshop, tolerated: dict[str, Any], succeeds: bool) -> None:
    machine = shop.machine({"M": distributed(ODD_FAILS, ItemsPath="$.items", **tolerated)})
    execution = shop.run(machine, {"items": numbers(10), "percentage": 50, "count": 1})
    run = map_run(shop, execution["executionArn"])
    if not succeeds:
        assert (execution["status"], execution["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
        assert run["status"] == "FAILED"
        return
    output = json.loads(execution["output"])
    assert [result for result in output if isinstance(result, int)] == [0, 2, 4, 6, 8]
    assert {(r["Status"], r["Error"], r["Cause"]) for r in output if isinstance(r, dict)} == {
        ("FAILED", "ODD", "it is odd")
    }
    assert (run["status"], run["itemCounts"]["failed"], run["itemCounts"]["succeeded"]) == ("SUCCEEDED", 5, 5)


def test_results_are_written_to_s3(shop: Workshop, bucket: str) -> None:
    writer = {"Resource": WRITE, "Parameters": {"Bucket": bucket, "Prefix.$": "$.prefix"}}
    state = distributed(ODD_FAILS, ItemsPath="$.items", ResultWriter=writer, ToleratedFailurePercentage=100)
    execution = shop.run(shop.machine({"M": state}), {"items": numbers(5), "prefix": "results"})
    output = json.loads(execution["output"])
    run = output["MapRunArn"]
    folder = f"results/{run.split(':')[-1]}"
    assert output["ResultWriterDetails"] == {"Bucket": bucket, "Key": f"{folder}/manifest.json"}
    manifest = get(shop, bucket, f"{folder}/manifest.json")
    assert (manifest["DestinationBucket"], manifest["MapRunArn"]) == (bucket, run)
    files = manifest["ResultFiles"]
    assert [item["Key"] for item in files["SUCCEEDED"]] == [f"{folder}/SUCCEEDED_0.json"]
    assert [item["Key"] for item in files["FAILED"]] == [f"{folder}/FAILED_0.json"]
    assert files["PENDING"] == []
    succeeded = get(shop, bucket, f"{folder}/SUCCEEDED_0.json")
    assert [json.loads(item["Output"]) for item in succeeded] == [0, 2, 4]
    (first, _) = get(shop, bucket, f"{folder}/FAILED_0.json")
    assert (first["Status"], first["Error"], first["Cause"]) == ("FAILED", "ODD", "it is odd")
    assert json.loads(first["Input"]) == {"n": 1, "odd": True}
    assert ":execution:" in first["ExecutionArn"]
    assert map_run(shop, execution["executionArn"])["executionCounts"]["resultsWritten"] == 5


def test_results_are_transformed(shop: Workshop, bucket: str) -> None:
    config = {"OutputType": "JSONL", "Transformation": "FLATTEN"}
    writer = {"Resource": WRITE, "Parameters": {"Bucket": bucket, "Prefix": "lines"}, "WriterConfig": config}
    output = shop.output(shop.machine({"M": distributed(ResultWriter=writer)}), [[1, 2], [3]])
    folder = output["ResultWriterDetails"]["Key"].rpartition("/")[0]
    body = shop.account.client("s3").get_object(Bucket=bucket, Key=f"{folder}/SUCCEEDED_0.jsonl")["Body"].read()
    assert body == b"1\n2\n3\n"
    shown = distributed(ResultWriter={"WriterConfig": {"Transformation": "FLATTEN", "OutputType": "JSON"}})
    assert shop.output(shop.machine({"M": shown}), [[1, 2], [3]]) == [1, 2, 3]


def test_results_that_cannot_be_written_fail_the_map(shop: Workshop) -> None:
    writer = {"Resource": WRITE, "Parameters": {"Bucket": "gone-bucket", "Prefix": "p"}}
    execution = shop.run(shop.machine({"M": distributed(ResultWriter=writer)}), [1])
    assert (execution["status"], execution["error"]) == ("FAILED", "States.ResultWriterFailed")


def test_results_are_too_large_for_a_state(shop: Workshop) -> None:
    execution = shop.run(shop.machine({"M": distributed(kind="EXPRESS")}), ["x" * 1000] * 250)
    assert execution["status"] == "SUCCEEDED"
    child = {"P": {"Type": "Pass", "Parameters": {"twice.$": "States.Format('{}{}', $, $)"}, "End": True}}
    execution = shop.run(shop.machine({"M": distributed(child, "EXPRESS")}), ["x" * 1000] * 250)
    assert (execution["status"], execution["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_a_redrive_runs_what_failed_and_nothing_else(shop: Workshop, bucket: str) -> None:
    client = shop.account.client("stepfunctions")
    code = f"""
import boto3
def handler(event, context):
    s3 = boto3.client("s3")
    calls = s3.list_objects_v2(Bucket="{bucket}", Prefix=f"calls/{{event}}/").get("KeyCount", 0)
    s3.put_object(Bucket="{bucket}", Key=f"calls/{{event}}/{{calls}}", Body=b"")
    if event % 2 and not calls:
        raise ValueError("the first time")
    return event * 10
"""
    child = {"Before": {"Type": "Pass", "Next": "Call"}, "Call": shop.task(shop.function(code))}
    writer = {"Resource": WRITE, "Parameters": {"Bucket": bucket, "Prefix": "redriven"}}
    # Items 1 and 3 fail, one more than is tolerated; the others have all ended by then.
    state = distributed(child, MaxConcurrency=1, ResultWriter=writer, ToleratedFailureCount=1, Next="After")
    del state["End"]
    machine = shop.machine({"First": {"Type": "Pass", "Next": "M"}, "M": state, "After": {"Type": "Succeed"}})
    failed = shop.run(machine, [0, 1, 2, 3, 4])
    arn = failed["executionArn"]
    assert (failed["status"], failed["redriveStatus"]) == ("FAILED", "REDRIVABLE")
    run = map_run(shop, arn)
    assert (run["itemCounts"]["succeeded"], run["itemCounts"]["failed"], run["itemCounts"]["pending"]) == (2, 2, 1)
    pending = get(shop, bucket, f"redriven/{run['mapRunArn'].split(':')[-1]}/PENDING_0.json")
    assert [(item["Input"], item["Status"]) for item in pending] == [("4", "PENDING")]
    assert client.redrive_execution(executionArn=arn)["redriveDate"]
    while (again := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(0.02)
    assert (again["status"], again["redriveCount"], again["redriveStatus"]) == ("SUCCEEDED", 1, "NOT_REDRIVABLE")
    run = map_run(shop, arn)
    assert (run["itemCounts"]["succeeded"], run["redriveCount"]) == (5, 1)
    manifest = json.loads(again["output"])["ResultWriterDetails"]["Key"]
    results = get(shop, bucket, manifest.replace("manifest", "SUCCEEDED_0"))
    assert [json.loads(item["Output"]) for item in results] == [0, 10, 20, 30, 40]
    assert [item["RedriveCount"] for item in results] == [0, 1, 0, 1, 0]
    calls = shop.account.client("s3").list_objects_v2(Bucket=bucket, Prefix="calls/")["Contents"]
    assert sorted(item["Key"] for item in calls) == [
        "calls/0/0", "calls/1/0", "calls/1/1", "calls/2/0", "calls/3/0", "calls/3/1", "calls/4/0",
    ]  # fmt: skip
    types = [event["type"] for event in client.get_execution_history(executionArn=arn)["events"]]
    assert types.count("ExecutionStarted") == 1
    assert types.count("MapRunRedriven") == types.count("ExecutionRedriven") == 1
    assert types.count("PassStateEntered") == 1
    with pytest.raises(client.exceptions.ExecutionNotRedrivable):
        client.redrive_execution(executionArn=arn)


def test_stopping_the_execution_stops_the_children(shop: Workshop) -> None:
    client = shop.account.client("stepfunctions")
    waits = {"W": {"Type": "Wait", "Seconds": 60, "End": True}}
    machine = shop.machine({"M": distributed(waits, MaxConcurrency=2)})
    arn = client.start_execution(stateMachineArn=machine, input="[1, 2, 3]")["executionArn"]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        runs = client.list_map_runs(executionArn=arn)["mapRuns"]
        if runs and client.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["executionCounts"]["running"] == 2:
            break
        time.sleep(0.02)
    client.update_map_run(mapRunArn=runs[0]["mapRunArn"], maxConcurrency=3)
    while time.monotonic() < deadline and map_run(shop, arn)["executionCounts"]["running"] < 3:
        time.sleep(0.02)
    assert (map_run(shop, arn)["maxConcurrency"], map_run(shop, arn)["executionCounts"]["running"]) == (3, 3)
    client.stop_execution(executionArn=arn, cause="enough")
    assert client.describe_execution(executionArn=arn)["status"] == "ABORTED"
    while time.monotonic() < deadline and map_run(shop, arn)["status"] == "RUNNING":
        time.sleep(0.02)
    run = map_run(shop, arn)
    assert (run["status"], run["executionCounts"]["aborted"]) == ("ABORTED", 3)
    listed = client.list_executions(mapRunArn=run["mapRunArn"], statusFilter="ABORTED")["executions"]
    assert len(listed) == 3


def test_a_machine_that_times_out_stops_its_map_run(shop: Workshop) -> None:
    waits = {"W": {"Type": "Wait", "Seconds": 60, "End": True}}
    execution = shop.run(shop.machine({"M": distributed(waits)}, TimeoutSeconds=1), [1])
    assert execution["status"] == "TIMED_OUT"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and map_run(shop, execution["executionArn"])["status"] == "RUNNING":
        time.sleep(0.02)
    assert map_run(shop, execution["executionArn"])["status"] == "ABORTED"


def test_a_child_waits_for_a_token(shop: Workshop) -> None:
    queue = Queue(shop.account, f"foreign-{uuid4().hex[:8]}")
    message = {"QueueUrl": queue.url, "MessageBody": {"token.$": "$$.Task.Token"}}
    asks = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "Parameters": message}
    machine = shop.machine({"M": distributed({"Ask": {**asks, "End": True}})})
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(shop.output, machine, [1])
        token = json.loads(queue.take()[0]["Body"])["token"]
        shop.account.client("stepfunctions").send_task_success(taskToken=token, output='"answered"')
        assert waiting.result() == ["answered"]


def test_jsonata_chooses_items_and_thresholds(shop: Workshop, bucket: str) -> None:
    child = {
        "P": {"Type": "Pass", "Output": "{% $sum($states.input.Items.v) + $states.input.BatchInput.add %}", "End": True}
    }
    state = distributed(
        child,
        "EXPRESS",
        Items="{% $states.input.items[n > 1] %}",
        ItemSelector={"v": "{% $states.context.Map.Item.Value.n %}"},
        ItemBatcher={"MaxItemsPerBatch": "{% $states.input.batch %}", "BatchInput": {"add": "{% 100 %}"}},
        MaxConcurrency="{% 1 + 1 %}",
        ToleratedFailurePercentage="{% $states.input.percentage %}",
        Output={"sums": "{% $states.result %}"},
    )
    machine = shop.machine({"M": state}, QueryLanguage="JSONata")
    data = {"items": [{"n": n} for n in range(6)], "batch": 3, "percentage": 5}
    assert shop.output(machine, data) == {"sums": [109, 105]}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ItemReader": {"Resource": "arn:aws:states:::s3:headObject"}}, "'Resource' is one of"),
        ({"ItemReader": {"Resource": READ_OBJECT, "ReaderConfig": {"InputType": "PARQUET"}}}, "not PARQUET"),
        ({"ResultWriter": {}}, "'Resource' or 'WriterConfig' is required"),
        ({"ToleratedFailurePercentage": 101}, "from 0 to 100"),
        ({"Label": "x" * 41}, "longer than 40"),
    ],
)
def test_maps_that_cannot_run_are_refused(shop: Workshop, members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        shop.machine({"M": distributed(**members)})


def test_only_a_distributed_map_reads_items(shop: Workshop) -> None:
    inline = {
        "Type": "Map",
        "ItemProcessor": {"StartAt": "P", "States": PASS},
        "End": True,
        "ItemBatcher": {"MaxItemsPerBatch": 2},
    }
    with pytest.raises(ClientError, match="needs the mode DISTRIBUTED"):
        shop.machine({"M": inline})
