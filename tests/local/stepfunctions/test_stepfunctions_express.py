"""Express workflows of the stand-in account: started and awaited, without history, from unmodified clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local.conftest import owners_client
from tests.local.foreign_functions import Workshop

FAIL = "class Odd(Exception):\n    pass\ndef handler(event, context):\n    raise Odd('why')\n"


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


@pytest.fixture(scope="module")
def sync(account: Any) -> Any:
    """A client that was only told not to put ``sync-`` before the host."""
    client = owners_client("stepfunctions", account.state_dir, account.port, Config(inject_host_prefix=False))
    yield client
    client.close()


def express(shop: Workshop, states: dict[str, Any], **options: Any) -> str:
    definition = {"StartAt": next(iter(states)), "States": states}
    client = shop.account.client("stepfunctions")
    name = f"express-{uuid4().hex[:12]}"
    arn: str = client.create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=shop.role, type="EXPRESS", **options
    )["stateMachineArn"]
    return arn


def test_a_synchronous_execution_answers_with_its_output(shop: Workshop, sync: Any) -> None:
    function = shop.function("def handler(event, context):\n    return {'n': event['n'] + 1}\n")
    machine = express(shop, {"A": shop.task(function)})
    answer = sync.start_sync_execution(stateMachineArn=machine, name="one", input='{"n": 1}')
    assert answer["status"] == "SUCCEEDED"
    assert json.loads(answer["output"]) == {"n": 2}
    assert (answer["input"], answer["name"], answer["stateMachineArn"]) == ('{"n": 1}', "one", machine)
    assert answer["executionArn"].startswith(
        f"arn:aws:states:us-east-1:123456789012:express:{machine.split(':')[-1]}:one:"
    )
    assert answer["billingDetails"]["billedDurationInMilliseconds"] % 100 == 0
    assert answer["stopDate"] >= answer["startDate"]
    again = sync.start_sync_execution(stateMachineArn=machine, name="one", input='{"n": 1}')
    assert again["executionArn"] != answer["executionArn"]


def test_a_synchronous_execution_that_fails_is_an_answer(shop: Workshop, sync: Any) -> None:
    machine = express(shop, {"A": shop.task(shop.function(FAIL))})
    answer = sync.start_sync_execution(stateMachineArn=machine)
    assert (answer["status"], answer["error"]) == ("FAILED", "Odd")
    assert json.loads(answer["cause"])["errorMessage"] == "why"
    assert "output" not in answer


def test_a_synchronous_execution_times_out(shop: Workshop, sync: Any) -> None:
    definition = {"StartAt": "W", "TimeoutSeconds": 1, "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}
    machine = shop.account.client("stepfunctions").create_state_machine(
        name="express-slow", definition=json.dumps(definition), roleArn=shop.role, type="EXPRESS"
    )["stateMachineArn"]
    answer = sync.start_sync_execution(stateMachineArn=machine)
    assert (answer["status"], answer["error"]) == ("TIMED_OUT", "States.Timeout")


def test_an_asynchronous_execution_leaves_its_log_only(shop: Workshop) -> None:
    client, group = shop.account.client("stepfunctions"), "/aws/vendedlogs/states/express"
    shop.account.client("logs").create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
    logging = {
        "level": "ALL",
        "includeExecutionData": True,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}],
    }
    machine = express(
        shop, {"P": {"Type": "Pass", "End": True}}, loggingConfiguration=logging, tracingConfiguration={"enabled": True}
    )
    execution = client.start_execution(stateMachineArn=machine, input='{"a": 1}')["executionArn"]
    lines = [json.loads(line) for line in shop.log_of(group, "ExecutionSucceeded")]
    assert [line["type"] for line in lines] == [
        "ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded",
    ]  # fmt: skip
    assert {line["execution_arn"] for line in lines} == {execution}
    assert lines[1]["details"]["input"] == '{"a":1}'
    assert [line["id"] for line in lines] == ["1", "2", "3", "4"]
    assert lines[0]["event_timestamp"].isdigit()
    for call in (client.describe_execution, client.get_execution_history, client.stop_execution):
        with pytest.raises(ClientError, match="Resource type not valid in this context: express"):
            call(executionArn=execution)
    with pytest.raises(client.exceptions.StateMachineTypeNotSupported):
        client.list_executions(stateMachineArn=machine)
    assert client.describe_state_machine(stateMachineArn=machine)["tracingConfiguration"] == {"enabled": True}


def test_what_express_workflows_do_not_do_is_refused(shop: Workshop, sync: Any) -> None:
    waiting = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": "q", "MessageBody": "m"},
        "End": True,
    }
    with pytest.raises(ClientError, match="Express state machine does not support"):
        express(shop, {"A": waiting})
    standard = shop.machine({"P": {"Type": "Pass", "End": True}})
    with pytest.raises(sync.exceptions.StateMachineTypeNotSupported):
        sync.start_sync_execution(stateMachineArn=standard)
    with pytest.raises(sync.exceptions.StateMachineDoesNotExist):
        sync.start_sync_execution(stateMachineArn=f"{standard}-gone")


@pytest.mark.parametrize("way", ["variable", "address"])
def test_the_aws_cli_starts_one_unmodified(shop: Workshop, way: str) -> None:
    machine = express(shop, {"P": {"Type": "Pass", "Result": {"done": True}, "End": True}})
    environment = shop.account.environment()
    if way == "variable":
        environment["AWS_DISABLE_HOST_PREFIX_INJECTION"] = "true"
    else:  # the prefix lands in the part before the @, which nothing reads
        environment["AWS_ENDPOINT_URL"] = environment["AWS_ENDPOINT_URL"].replace("//", "//local@")
    aws = Path(sys.executable).with_name("aws")
    command = [str(aws), "stepfunctions", "start-sync-execution", "--state-machine-arn", machine]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=os.sep)
    assert json.loads(json.loads(done.stdout)["output"]) == {"done": True}


def test_a_standard_workflow_waits_for_an_express_one(shop: Workshop) -> None:
    inner = express(shop, {"P": {"Type": "Pass", "Parameters": {"got.$": "$.n"}, "End": True}})
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:startSyncExecution",
        "Parameters": {"StateMachineArn": inner, "Input.$": "States.JsonToString($)"},
        "ResultSelector": {"status.$": "$.Status", "output.$": "States.StringToJson($.Output)"},
        "End": True,
    }
    assert shop.output(shop.machine({"Ask": state}), {"n": 5}) == {"status": "SUCCEEDED", "output": {"got": 5}}
