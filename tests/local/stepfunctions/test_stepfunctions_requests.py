"""Machines, versions, aliases and activities of Step Functions: what is answered, and what is refused at the call."""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import uuid4

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local.conftest import owners_client
from tests.local.foreign_functions import Workshop

PASS = {"Type": "Pass", "End": True}
PATTERN = r"^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$"


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


@pytest.fixture(scope="module")
def sfn(shop: Workshop) -> Any:
    return shop.account.client("stepfunctions")


def definition(comment: str = "", **state: Any) -> str:
    return json.dumps({"Comment": comment, "StartAt": "P", "States": {"P": {**PASS, **state}}})


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    """The code and the message with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_machine_is_described_with_the_defaults(shop: Workshop, sfn: Any) -> None:
    read = {"P": {"Type": "Pass", "Assign": {"b": 1, "a": 2}, "Next": "Q"}}
    read["Q"] = {**PASS, "Parameters": {"v.$": "States.Format('{}{}', $b, $a)"}}
    machine = shop.machine(read)
    found = sfn.describe_state_machine(stateMachineArn=machine)
    assert found["loggingConfiguration"] == {"level": "OFF", "includeExecutionData": False}
    assert found["encryptionConfiguration"] == {"type": "AWS_OWNED_KEY"}
    assert found["variableReferences"] == {"Q": ["a", "b"]}
    assert "revisionId" not in found
    execution = shop.run(machine)
    seen = sfn.describe_state_machine_for_execution(executionArn=execution["executionArn"])
    assert seen["stateMachineArn"] == machine
    assert seen.keys() >= {"updateDate", "variableReferences"}
    assert not seen.keys() & {"creationDate", "status", "type"}


def test_who_asks_for_metadata_only_is_told_no_data(shop: Workshop, sfn: Any) -> None:
    machine = shop.machine({"P": {**PASS, "Assign": {"a": 1}}})
    execution = shop.run(machine, {"secret": 1})["executionArn"]
    only = {"includedData": "METADATA_ONLY"}
    described = sfn.describe_state_machine(stateMachineArn=machine, **only)
    ran = sfn.describe_state_machine_for_execution(executionArn=execution, **only)
    assert described["definition"] == ran["definition"] == "{}"
    found = sfn.describe_execution(executionArn=execution, **only)
    assert not found.keys() & {"input", "output"}
    assert (found["status"], found["inputDetails"], found["outputDetails"]) == (
        "SUCCEEDED", {"included": False}, {"included": False},
    )  # fmt: skip
    assert sfn.describe_execution(executionArn=execution, includedData="ALL_DATA")["input"] == '{"secret": 1}'


def test_executions_are_listed_by_whether_they_were_redriven(shop: Workshop, sfn: Any) -> None:
    machine = shop.machine({"F": {"Type": "Fail", "Error": "Mine"}})
    first, second = (shop.run(machine)["executionArn"] for _ in range(2))
    dates = [sfn.redrive_execution(executionArn=first, clientToken="once")["redriveDate"] for _ in range(2)]
    assert dates[0] == dates[1], "one client token redrives once"
    while (again := sfn.describe_execution(executionArn=first))["status"] == "RUNNING":
        pass
    assert again["redriveCount"] == 1
    found = {
        each: [
            e["executionArn"] for e in sfn.list_executions(stateMachineArn=machine, redriveFilter=each)["executions"]
        ]
        for each in ("REDRIVEN", "NOT_REDRIVEN")
    }
    assert found == {"REDRIVEN": [first], "NOT_REDRIVEN": [second]}


def test_a_revision_is_published_once(shop: Workshop, sfn: Any) -> None:
    machine = shop.machine({"P": PASS})
    first = sfn.publish_state_machine_version(stateMachineArn=machine)
    again = sfn.publish_state_machine_version(stateMachineArn=machine)
    assert again["stateMachineVersionArn"] == first["stateMachineVersionArn"] == f"{machine}:1"
    changed = sfn.update_state_machine(stateMachineArn=machine, definition=definition("two"))
    same = sfn.update_state_machine(
        stateMachineArn=machine, definition=definition("two"), publish=True, versionDescription="second"
    )
    assert (same["revisionId"], same["stateMachineVersionArn"]) == (changed["revisionId"], f"{machine}:2")
    code, message = refusal(sfn.publish_state_machine_version, stateMachineArn=machine, revisionId="other")
    assert code == "ConflictException"
    assert message.endswith(f"The current State Machine revision is {changed['revisionId']}.")
    versions = sfn.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in versions] == [f"{machine}:2", f"{machine}:1"]
    version = sfn.describe_state_machine(stateMachineArn=f"{machine}:2")
    assert (version["description"], version["revisionId"]) == ("second", changed["revisionId"])
    sfn.delete_state_machine_version(stateMachineVersionArn=f"{machine}:2")
    sfn.delete_state_machine_version(stateMachineVersionArn=f"{machine}:2")
    again = sfn.publish_state_machine_version(stateMachineArn=machine)
    assert again["stateMachineVersionArn"] == f"{machine}:3"


def test_an_alias_is_what_it_was_made_as(shop: Workshop, sfn: Any) -> None:
    machine = shop.machine({"P": PASS})
    sfn.publish_state_machine_version(stateMachineArn=machine)
    request = {"name": "prod", "routingConfiguration": [{"stateMachineVersionArn": f"{machine}:1", "weight": 100}]}
    made = sfn.create_state_machine_alias(**request)
    assert sfn.create_state_machine_alias(**request)["creationDate"] == made["creationDate"]
    assert refusal(sfn.create_state_machine_alias, **request, description="other")[0] == "ConflictException"
    execution = shop.run(made["stateMachineAliasArn"])
    assert execution["stateMachineAliasArn"] == made["stateMachineAliasArn"]
    assert execution["stateMachineVersionArn"] == f"{machine}:1"
    listed = sfn.list_executions(stateMachineArn=made["stateMachineAliasArn"])["executions"]
    assert [each["executionArn"] for each in listed] == [execution["executionArn"]]
    code, message = refusal(sfn.delete_state_machine_version, stateMachineVersionArn=f"{machine}:1")
    assert (code, message.rpartition(": ")[2]) == ("ConflictException", "[prod]")
    gone = refusal(sfn.update_state_machine_alias, stateMachineAliasArn=f"{machine}:gone", description="x")
    assert gone == ("ResourceNotFound", "Request references a resource that does not exist.")
    sfn.delete_state_machine_alias(stateMachineAliasArn=f"{machine}:gone")
    sfn.delete_state_machine_alias(stateMachineAliasArn=made["stateMachineAliasArn"])
    assert sfn.list_state_machine_aliases(stateMachineArn=machine)["stateMachineAliases"] == []


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("123", [("1", 100)], f"Member must satisfy regular expression pattern: {PATTERN}"),
        ("A" * 81, [("1", 100)], "Member must have length less than or equal to 80"),
        ("a", [("1", 101)], "'routingConfiguration.1.member.weight' failed to satisfy constraint"),
        ("a", [("", 100)], "Routing configuration must contain state machine version ARNs. Received: ["),
        ("a", [("1", 50), ("1", 50)], "Routing configuration must contain distinct state machine version ARNs."),
        ("a", [("1", 70), ("2", 29)], "Sum of routing configuration weights must equal 100. Received: [70, 29]"),
        ("a", [("1", 50), ("2", 30), ("3", 20)], "[RoutingConfigurationListItem(stateMachineVersionArn="),
    ],
)
def test_an_alias_is_refused_at_the_call(
    shop: Workshop, sfn: Any, name: str, weights: list[tuple[str, int]], message: str
) -> None:
    arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:any-{uuid4().hex}"
    routes = [
        {"stateMachineVersionArn": f"{arn}:{version}" if version else arn, "weight": weight}
        for version, weight in weights
    ]
    code, words = refusal(sfn.create_state_machine_alias, name=name, routingConfiguration=routes)
    assert code == "ValidationException"
    assert message in words


@pytest.mark.parametrize(
    ("operation", "request_", "told"),
    [
        (
            "describe_state_machine",
            {"stateMachineArn": "none"},
            ("InvalidArn", "Invalid Arn: 'Invalid ARN prefix: none'"),
        ),
        ("describe_execution", {"executionArn": "none"}, ("InvalidArn", "Invalid Arn: 'Invalid ARN prefix: none'")),
        ("get_activity_task", {"activityArn": "none"}, ("InvalidArn", "Invalid Arn: 'Invalid ARN prefix: none'")),
        ("list_state_machines", {"maxResults": 1001}, ("ValidationException", "less than or equal to 1000")),
        ("list_state_machines", {"nextToken": "t" * 1025}, ("ValidationException", "less than or equal to 1024")),
        ("create_activity", {"name": "two words"}, ("InvalidName", "Invalid Name: 'two words'")),
        ("update_state_machine", {}, ("MissingRequiredParameter", "Either the definition")),
        ("start_execution", {"input": "not json"}, ("InvalidExecutionInput", "Unrecognized token 'not'")),
        ("start_execution", {"input": "{'a': 1}"}, ("InvalidExecutionInput", "Unexpected character (''' (code 39))")),
        ("start_execution", {"input": ""}, ("InvalidExecutionInput", "'Invalid execution input.'")),
        ("list_executions", {"statusFilter": "succeeded"}, ("ValidationException", "[SUCCEEDED, TIMED_OUT, PENDING_")),
        (
            "update_state_machine",
            {"loggingConfiguration": {"level": "ALL"}},
            ("InvalidLoggingConfiguration", "Must specify exactly one Log Destination."),
        ),
        (
            "update_state_machine",
            {
                "loggingConfiguration": {
                    "level": "OFF",
                    "destinations": [
                        {
                            "cloudWatchLogsLogGroup": {
                                "logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:gone:*"
                            }
                        }
                    ],
                }
            },
            ("InvalidLoggingConfiguration", "Log Destination not found."),
        ),
        (
            "update_state_machine",
            {"encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY"}},
            ("InvalidEncryptionConfiguration", "kmsKeyId"),
        ),
    ],
)
def test_a_request_is_refused_in_the_services_words(
    shop: Workshop, sfn: Any, operation: str, request_: dict[str, Any], told: tuple[str, str]
) -> None:
    if operation in {"update_state_machine", "start_execution", "list_executions"}:
        request_ = {"stateMachineArn": shop.machine({"P": PASS}), **request_}
    found = refusal(getattr(sfn, operation), **request_)
    assert found[0] == told[0]
    assert told[1] in found[1]


def test_what_is_no_request_is_refused_by_name(account: Any) -> None:
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    client = owners_client("stepfunctions", account.state_dir, account.port, config)
    wrong = {"name": 5, "definition": [], "roleArn": {}}
    for request, told, words in (
        ({}, "ValidationException", "Value null at 'name'"),
        (wrong, "SerializationException", ""),
    ):
        code, message = refusal(client.create_state_machine, **request)
        assert code == told
        assert words in message


@pytest.mark.parametrize("expected", [{"HeartbeatSeconds": 20}, {}])
def test_a_worker_takes_an_activitys_tasks(shop: Workshop, sfn: Any, expected: dict[str, int]) -> None:
    name = f"activity-{uuid4().hex[:12]}"
    activity = sfn.create_activity(name=name)["activityArn"]
    assert sfn.create_activity(name=name)["activityArn"] == activity
    machine = shop.machine({"A": {"Type": "Task", "Resource": activity, **expected, "End": True}})

    def work() -> None:
        task = sfn.get_activity_task(activityArn=activity, workerName="anyone")
        sfn.send_task_heartbeat(taskToken=task["taskToken"])
        sfn.send_task_success(taskToken=task["taskToken"], output=json.dumps({"given": json.loads(task["input"])}))

    worker = threading.Thread(target=work)
    worker.start()
    execution = shop.run(machine, {"n": 1})
    worker.join()
    assert json.loads(execution["output"]) == {"given": {"n": 1}}
    events = sfn.get_execution_history(executionArn=execution["executionArn"])["events"]
    assert [event["type"] for event in events[2:5]] == ["ActivityScheduled", "ActivityStarted", "ActivitySucceeded"]
    assert events[3]["activityStartedEventDetails"] == {"workerName": "anyone"}
    sfn.delete_activity(activityArn=activity)
    failed = shop.run(machine)
    assert failed["error"] == "States.Runtime"
    assert failed["cause"].endswith(f"The activity {activity} does not exist.")
