"""EventBridge of the stand-in account: what is put on a bus arrives at its targets."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.foreign_models import Deployer
from tests.local.queues import Queue
from tests.local.roles import allow, document, make_role


@pytest.fixture
def queue(account: Any, request: pytest.FixtureRequest) -> Queue:
    return Queue(account, f"ev-{request.node.name[5:60].split('[')[0]}")


def rule(account: Any, name: str, pattern: dict[str, Any], *targets: dict[str, Any], **options: Any) -> str:
    events = account.client("events")
    arn: str = events.put_rule(Name=name, EventPattern=json.dumps(pattern), **options)["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": str(i), **target} for i, target in enumerate(targets)])
    return arn


def put(account: Any, source: str, detail: dict[str, Any]) -> None:
    entry = {"Source": source, "DetailType": "Thing", "Detail": json.dumps(detail), "Resources": ["arn:thing"]}
    answer = account.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0


def test_a_matching_event_arrives_whole(account: Any, queue: Queue) -> None:
    rule(account, "ev-whole", {"source": ["test.whole"], "detail": {"n": [{"numeric": [">", 1]}]}}, {"Arn": queue.arn})
    put(account, "test.whole", {"n": 1})
    put(account, "test.whole", {"n": 2})
    (message,) = queue.take()
    event = json.loads(message["Body"])
    assert event["detail"] == {"n": 2}
    assert (event["source"], event["detail-type"], event["resources"]) == ("test.whole", "Thing", ["arn:thing"])
    assert (event["account"], event["region"], event["version"]) == ("123456789012", "us-east-1", "0")
    assert event["time"].endswith("Z")
    assert event.keys() == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"
    }  # fmt: skip
    assert queue.take(timeout_s=0.3) == []


def test_inputs_of_targets(account: Any, queue: Queue) -> None:
    rule(
        account,
        "ev-inputs",
        {"source": ["test.inputs"]},
        {"Arn": queue.arn, "Input": '{"constant": 1}'},
        {"Arn": queue.arn, "InputPath": "$.detail.part"},
        {
            "Arn": queue.arn,
            "InputTransformer": {
                "InputPathsMap": {"n": "$.detail.n"},
                "InputTemplate": '{"n": <n>, "rule": "<aws.events.rule-name>"}',
            },
        },
    )
    put(account, "test.inputs", {"n": "x", "part": {"a": 1}})
    bodies = [json.loads(m["Body"]) for m in queue.take(3)]
    assert sorted(bodies, key=str) == sorted([{"constant": 1}, {"a": 1}, {"n": "x", "rule": "ev-inputs"}], key=str)


def test_a_disabled_rule_does_not_fire_and_a_scheduled_one_not_on_events(account: Any, queue: Queue) -> None:
    events = account.client("events")
    rule(account, "ev-disabled", {"source": ["test.disabled"]}, {"Arn": queue.arn}, State="DISABLED")
    events.put_rule(Name="ev-scheduled", ScheduleExpression="rate(1 day)")
    events.put_targets(Rule="ev-scheduled", Targets=[{"Id": "1", "Arn": queue.arn}])
    put(account, "test.disabled", {"n": 1})
    assert queue.take(timeout_s=0.5) == []
    events.enable_rule(Name="ev-disabled")
    put(account, "test.disabled", {"n": 2})
    assert [json.loads(m["Body"])["detail"] for m in queue.take()] == [{"n": 2}]


def test_a_rule_keeps_its_targets_when_it_is_put_again(account: Any, queue: Queue) -> None:
    rule(account, "ev-again", {"source": ["test.again"]}, {"Arn": queue.arn})
    account.client("events").put_rule(Name="ev-again", EventPattern='{"source": ["test.again"], "detail": {"n": [2]}}')
    put(account, "test.again", {"n": 2})
    assert len(queue.take()) == 1


def test_delivery_to_topics_logs_and_other_buses(account: Any, queue: Queue) -> None:
    sns, logs, events = account.client("sns"), account.client("logs"), account.client("events")
    topic = sns.create_topic(Name="ev-topic")["TopicArn"]
    lets_events_in = allow("sns:Publish", topic) | {"Principal": {"Service": "events.amazonaws.com"}}
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=document(lets_events_in))
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    logs.create_log_group(logGroupName="/aws/events/ev")
    bus = events.create_event_bus(Name="ev-bus")["EventBusArn"]
    events.put_rule(Name="ev-on-bus", EventBusName="ev-bus", EventPattern='{"source": ["test.fan"]}')
    events.put_targets(Rule="ev-on-bus", EventBusName="ev-bus", Targets=[{"Id": "1", "Arn": queue.arn}])
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/events/ev"
    to_bus = {"Arn": bus, "RoleArn": make_role(account, "ev-bus-role")}
    rule(account, "ev-fan", {"source": ["test.fan"]}, {"Arn": topic}, {"Arn": group}, to_bus)
    put(account, "test.fan", {"n": 5})
    bodies = [json.loads(m["Body"]) for m in queue.take(2)]
    assert any(json.loads(body.get("Message", "{}")).get("detail") == {"n": 5} for body in bodies)
    assert any(body.get("detail") == {"n": 5} for body in bodies)
    deadline = time.monotonic() + 5
    while not (found := logs.filter_log_events(logGroupName="/aws/events/ev")["events"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert json.loads(found[0]["message"])["detail"] == {"n": 5}


def test_functions_and_state_machines_are_called(account: Any) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("foreign.py", "def handler(event, context):\n    print('got', event['detail']['n'])\n")
    role = make_role(account, "ev-role")
    function = account.client("lambda").create_function(
        FunctionName="ev-function",
        Runtime="python3.11",
        Role=role,
        Handler="foreign.handler",
        Code={"ZipFile": stream.getvalue()},
    )["FunctionArn"]
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "OutputPath": "$.detail", "End": True}}})
    machine = account.client("stepfunctions").create_state_machine(
        name="ev-machine", definition=definition, roleArn=role
    )["stateMachineArn"]
    account.client("lambda").add_permission(
        FunctionName=function,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn="arn:aws:events:us-east-1:123456789012:rule/ev-calls",
    )
    rule(account, "ev-calls", {"source": ["test.calls"]}, {"Arn": function}, {"Arn": machine, "RoleArn": role})
    put(account, "test.calls", {"n": 42})
    states, logs = account.client("stepfunctions"), account.client("logs")

    def output() -> str | None:
        found = states.list_executions(stateMachineArn=machine, statusFilter="SUCCEEDED")["executions"]
        return states.describe_execution(executionArn=found[0]["executionArn"]).get("output") if found else None

    def logged() -> bool:
        group = "/aws/lambda/ev-function"
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return False
        return any("got 42" in e["message"] for e in logs.filter_log_events(logGroupName=group)["events"])

    deadline = time.monotonic() + 20
    while not (output() and logged()):
        assert time.monotonic() < deadline, (output(), logged())
        time.sleep(0.2)
    assert json.loads(output() or "") == {"n": 42}


def test_what_cannot_be_delivered_lands_in_the_dead_letter_queue(account: Any, queue: Queue) -> None:
    missing = "arn:aws:sqs:us-east-1:123456789012:ev-no-such-queue"
    target = {"Arn": missing, "DeadLetterConfig": {"Arn": queue.arn}, "RetryPolicy": {"MaximumRetryAttempts": 1}}
    arn = rule(account, "ev-dead", {"source": ["test.dead"]}, target)
    put(account, "test.dead", {"n": 1})
    (message,) = queue.take()
    assert json.loads(message["Body"])["detail"] == {"n": 1}
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert (attributes["RULE_ARN"], attributes["TARGET_ARN"]) == (arn, missing)


def test_targets_that_nothing_here_delivers_to_are_refused(account: Any) -> None:
    account.client("events").put_rule(Name="ev-refused", EventPattern='{"source": ["x"]}')
    with pytest.raises(ClientError, match="cannot deliver to"):
        account.client("events").put_targets(
            Rule="ev-refused", Targets=[{"Id": "1", "Arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s"}]
        )


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"Source": "test", "DetailType": "t", "Detail": "no json"}, "MalformedDetail"),
        ({"Source": "test", "DetailType": "t", "Detail": "[1]"}, "MalformedDetail"),
        ({"Source": "test", "Detail": "{}"}, "InvalidArgument"),
        ({"Source": "aws.s3", "DetailType": "t", "Detail": "{}"}, "NotAuthorizedForSourceException"),
    ],
)
def test_bad_events_are_reported_by_entry(account: Any, entry: dict[str, Any], code: str) -> None:
    good = {"Source": "test.good", "DetailType": "t", "Detail": "{}"}
    answer = account.client("events").put_events(Entries=[entry, good])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == code
    assert "EventId" in answer["Entries"][1]


def test_patterns_are_checked_and_can_be_tried(account: Any) -> None:
    events = account.client("events")
    with pytest.raises(ClientError) as caught:
        events.put_rule(Name="ev-bad", EventPattern='{"source": [{"begins": "x"}]}')
    assert caught.value.response["Error"]["Code"] == "InvalidEventPatternException"
    assert "Unrecognized match type begins" in caught.value.response["Error"]["Message"]
    members = {"id": "1", "detail-type": "t", "account": "123456789012", "region": "us-east-1"}
    event = json.dumps({**members, "source": "a", "time": "2026-11-21T05:30:00Z"})
    with pytest.raises(ClientError, match="Parameter Event is not valid"):
        events.test_event_pattern(EventPattern='{"source": ["a"]}', Event='{"source": "a"}')
    assert events.test_event_pattern(EventPattern='{"source": ["a"]}', Event=event)["Result"] is True
    assert events.test_event_pattern(EventPattern='{"source": ["b"]}', Event=event)["Result"] is False


def test_the_state_changes_of_an_endpoint_arrive(account: Any, queue: Queue) -> None:
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Endpoint State Change"]}
    rule(account, "ev-endpoint", {**pattern, "detail": {"EndpointName": ["ev-mean"]}}, {"Arn": queue.arn})
    deployer = Deployer(account, "ev")
    endpoint = deployer.serve("mean")
    events = [json.loads(m["Body"]) for m in queue.take(2)]
    assert [e["detail"]["EndpointStatus"] for e in events] == ["CREATING", "IN_SERVICE"]
    assert events[1]["resources"] == [f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{endpoint}"]
    assert events[1]["detail"]["EndpointConfigName"] == "ev-mean"
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_rules_survive_a_restart_and_still_deliver(fresh_account: Callable[..., Any]) -> None:
    first = fresh_account()
    queue = Queue(first, "ev-restart")
    rule(first, "ev-restart", {"source": ["test.restart"]}, {"Arn": queue.arn})
    first.stop()
    second = fresh_account(first.state_dir)
    queue = Queue(second, "ev-restart")
    put(second, "test.restart", {"n": 1})
    assert len(queue.take()) == 1


def test_a_rule_has_at_most_five_targets_which_are_listed_in_pages(account: Any, queue: Queue) -> None:
    events = account.client("events")
    events.put_rule(Name="ev-five", EventPattern='{"source": ["five"]}')
    targets = [{"Id": str(number), "Arn": queue.arn} for number in range(6)]
    with pytest.raises(ClientError, match="LimitExceededException"):
        events.put_targets(Rule="ev-five", Targets=targets)
    events.put_targets(Rule="ev-five", Targets=targets[:5])
    first = events.list_targets_by_rule(Rule="ev-five", Limit=3)
    second = events.list_targets_by_rule(Rule="ev-five", Limit=3, NextToken=first["NextToken"])
    assert [each["Id"] for each in first["Targets"] + second["Targets"]] == ["0", "1", "2", "3", "4"]
    assert "NextToken" not in second


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"Arn": "arn:aws:events:us-east-1:999999999999:event-bus/default"}, "nothing is delivered beyond account"),
        ({"Arn": "a queue"}, "Provided Arn is not in correct format"),
        ({"Input": "{}", "InputPath": "$.detail"}, "Only one of Input, InputPath, or InputTransformer"),
        ({"InputTransformer": {"InputPathsMap": {}, "InputTemplate": '"<n>"'}}, "contains invalid placeholder n"),
        ({"Id": "with space"}, "failed to satisfy constraint"),
        ({"KinesisParameters": {"PartitionKeyPath": "$.id"}}, "does not implement PutTargets's Targets.Kinesis"),
    ],
)
def test_a_target_that_would_not_get_what_it_should_is_refused(
    account: Any, target: dict[str, Any], message: str
) -> None:
    events = account.client("events")
    events.put_rule(Name="ev-wrong", EventPattern='{"source": ["wrong"]}')
    held = {"Id": "1", "Arn": "arn:aws:sqs:us-east-1:123456789012:some", **target}
    with pytest.raises(ClientError, match=message):
        events.put_targets(Rule="ev-wrong", Targets=[held])


def test_entries_that_are_too_large_together_are_refused(account: Any) -> None:
    entry = {"Source": "large", "DetailType": "t", "Detail": json.dumps({"x": "y" * 200_000})}
    with pytest.raises(ClientError, match="Total size of the entries in the request is over the limit"):
        account.client("events").put_events(Entries=[entry, entry])


def test_a_replay_ends_and_tells_its_name(account: Any, queue: Queue) -> None:
    events, bus = account.client("events"), account.client("events").describe_event_bus()["Arn"]
    pattern = {"source": ["replayed"]}
    events.create_archive(ArchiveName="kept", EventSourceArn=bus, EventPattern=json.dumps(pattern))
    events.put_events(Entries=[{"Source": "replayed", "DetailType": "t", "Detail": "{}"}])
    rule(account, "replayed", pattern, {"Arn": queue.arn})
    archive, now = bus.replace("event-bus/default", "archive/kept"), time.time()
    wanted = {"EventSourceArn": archive, "EventStartTime": now - 60, "EventEndTime": now + 60}
    assert events.start_replay(ReplayName="again", Destination={"Arn": bus}, **wanted)["State"] == "STARTING"
    assert json.loads(queue.take()[0]["Body"])["replay-name"] == "again"
    assert events.list_replays(State="COMPLETED", Limit=1)["Replays"][0]["EventLastReplayedTime"]
    with pytest.raises(ClientError, match="Event bus nope does not exist"):
        events.list_archives(EventSourceArn=bus.replace("default", "nope"))
