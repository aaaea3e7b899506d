"""SNS in the stand-in account: what a filter policy lets pass, and whom a message reaches."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount

ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": "*",
        }
    ],
}  # fmt: skip


def subscribed(account: RunningAccount, policy: object, scope: str) -> tuple[str, str]:
    """A topic, and the address of a queue that it tells what passes."""
    name = f"filtered-{uuid.uuid4().hex[:8]}"
    topic = account.client("sns").create_topic(Name=name)["TopicArn"]
    queue = account.client("sqs").create_queue(QueueName=name, Attributes={"Policy": json.dumps(ANYBODY)})["QueueUrl"]
    account.client("sns").subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{name}",
        Attributes={"FilterPolicy": json.dumps(policy), "FilterPolicyScope": scope, "RawMessageDelivery": "true"},
    )
    return topic, queue


def attribute(value: Any) -> dict[str, str]:
    if isinstance(value, list):
        return {"DataType": "String.Array", "StringValue": json.dumps(value)}
    return {"DataType": "String" if isinstance(value, str) else "Number", "StringValue": str(value)}


@pytest.mark.parametrize(
    ("policy", "passes", "stays"),
    [
        ({"a": ["x"]}, {"a": "x"}, {"a": "y"}),
        ({"a": ["x", "y"], "b": [{"exists": True}]}, {"a": "y", "b": "1"}, {"a": "y"}),
        ({"a": [{"anything-but": ["x"]}]}, {"a": "y"}, {"a": "x"}),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": "yx"}, {"a": "xy"}),
        ({"a": [{"equals-ignore-case": "AZ"}]}, {"a": "az"}, {"a": "b"}),
        ({"a": [{"suffix": "z"}]}, {"a": "az"}, {"a": "za"}),
        ({"a": [{"numeric": [">", 5, "<=", 7]}]}, {"a": 7}, {"a": "6"}),
        ({"a": [{"cidr": "10.0.0.0/8"}]}, {"a": "10.1.1.1"}, {"a": "11.1.1.1"}),
        ({"a": [{"exists": False}]}, {}, {"a": "x"}),
        ({"a": ["x"]}, {"a": ["w", "x"]}, {"a": ["w"]}),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": "y"}, {"a": "y"}),
    ],
)
@pytest.mark.parametrize("scope", ["MessageAttributes", "MessageBody"])
def test_a_filter_policy_lets_pass_what_it_says(
    account: RunningAccount, scope: str, policy: object, passes: Mapping[str, object], stays: Mapping[str, object]
) -> None:
    topic, queue = subscribed(account, policy, scope)
    for content in (stays, passes):
        attributes = {name: attribute(value) for name, value in content.items()} if scope != "MessageBody" else {}
        message = json.dumps(content)
        account.client("sns").publish(TopicArn=topic, Message=message, MessageAttributes=attributes)
    found = account.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)
    assert [message["Body"] for message in found.get("Messages", [])] == [json.dumps(passes)]


def test_what_is_no_json_passes_no_policy_on_the_body(account: RunningAccount) -> None:
    topic, queue = subscribed(account, {"a": {"b": [{"numeric": ["=", 1]}]}}, "MessageBody")
    for message in ("plain", "[1]", '{"a": {"b": "text"}}', '{"a": [{"b": 2}, {"b": 1}]}'):
        account.client("sns").publish(TopicArn=topic, Message=message)
    found = account.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)
    assert [message["Body"] for message in found["Messages"]] == ['{"a": [{"b": 2}, {"b": 1}]}']


@pytest.mark.parametrize(
    "policy",
    [
        {"a": "x"}, {"a": [{"unknown": 1}]}, {"a": [{"numeric": [">"]}]}, {"a": [{"cidr": "10.0.0.0/99"}]},
        {"a": [{"equals-ignore-case": 1}]}, {"a": [{"exists": "yes"}]}, {"a": {"b": ["x"]}},
        {name: ["x"] for name in "abcdef"},
    ],
)  # fmt: skip
def test_a_filter_policy_that_is_none_is_refused(account: RunningAccount, policy: object) -> None:
    with pytest.raises(account.client("sns").exceptions.InvalidParameterException, match="Invalid parameter"):
        subscribed(account, policy, "MessageAttributes")


class Receiver(ThreadingHTTPServer):
    """An HTTP server of this machine that keeps what it is sent, and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        received: Queue[tuple[dict[str, str], str]] = Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"])).decode()
                received.put(({name.lower(): value for name, value in self.headers.items()}, content))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.received = received
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/inbox?of=topic"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server
        server.shutdown()


@pytest.fixture
def refusing() -> Iterator[Receiver]:
    with Receiver(status=403) as server:
        yield server
        server.shutdown()


@pytest.fixture
def topic(account: RunningAccount) -> str:
    return str(account.client("sns").create_topic(Name=f"told-{uuid.uuid4().hex[:8]}")["TopicArn"])


def test_a_server_of_this_machine_gets_messages(account: RunningAccount, topic: str, receiver: Receiver) -> None:
    sns = account.client("sns")
    arn = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.address)["SubscriptionArn"]
    sns.publish(TopicArn=topic, Message="hello", Subject="a subject")
    headers, content = receiver.received.get(timeout=30)
    assert headers["x-amz-sns-message-type"] == "Notification"
    assert (headers["x-amz-sns-topic-arn"], headers["x-amz-sns-subscription-arn"]) == (topic, arn)
    told = json.loads(content)
    assert (told["Type"], told["Message"], told["Subject"]) == ("Notification", "hello", "a subject")
    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
    )  # fmt: skip
    sns.publish(TopicArn=topic, Message="plain")
    headers, content = receiver.received.get(timeout=30)
    assert (headers["x-amz-sns-rawdelivery"], content) == ("true", "plain")


@pytest.mark.parametrize("failing", ["refusing server", "closed port", "closed queue", "missing queue"])
def test_what_cannot_be_delivered_becomes_a_dead_letter(
    account: RunningAccount, topic: str, refusing: Receiver, failing: str
) -> None:
    sns, sqs, name = account.client("sns"), account.client("sqs"), f"letters-{uuid.uuid4().hex[:8]}"
    letters = sqs.create_queue(QueueName=name, Attributes={"Policy": json.dumps(ANYBODY)})["QueueUrl"]
    queues = "arn:aws:sqs:us-east-1:123456789012"
    sqs.create_queue(QueueName=f"{name}-closed")
    protocol, endpoint = {
        "refusing server": ("http", refusing.address),
        "closed port": ("http", "http://localhost:9/"),
        "closed queue": ("sqs", f"{queues}:{name}-closed"),
        "missing queue": ("sqs", f"{queues}:{name}-missing"),
    }[failing]
    sns.subscribe(
        TopicArn=topic, Protocol=protocol, Endpoint=endpoint,
        Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{queues}:{name}"})},
    )  # fmt: skip
    sns.publish(TopicArn=topic, Message="lost")
    found = sqs.receive_message(QueueUrl=letters, WaitTimeSeconds=20)["Messages"]
    assert [json.loads(message["Body"])["Message"] for message in found] == ["lost"]


def test_a_subscription_by_mail_waits_to_be_confirmed(account: RunningAccount, topic: str) -> None:
    sns = account.client("sns")
    asked = {"TopicArn": topic, "Protocol": "email", "Endpoint": "team@scones.example"}
    assert sns.subscribe(**asked)["SubscriptionArn"] == "pending confirmation"
    arn = sns.subscribe(**asked, ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert arn.startswith(f"{topic}:")
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [(each["SubscriptionArn"], each["Endpoint"]) for each in listed] == [
        ("PendingConfirmation", "team@scones.example")
    ]
    told = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (told["PendingConfirmation"], told["ConfirmationWasAuthenticated"]) == ("true", "false")
    sns.publish(TopicArn=topic, Message="nobody reads this")


@pytest.mark.parametrize(
    ("protocol", "endpoint"),
    [
        ("https", "https://scones.example/inbox"), ("http", "http://192.0.2.1/"), ("http", "http://localhost.example/"),
        ("sms", "+15551234567"), ("firehose", "arn:aws:firehose:us-east-1:123456789012:deliverystream/d"),
    ],
)  # fmt: skip
def test_nothing_is_sent_elsewhere(account: RunningAccount, topic: str, protocol: str, endpoint: str) -> None:
    sns = account.client("sns")
    with pytest.raises(sns.exceptions.InvalidParameterException, match="the stand-in account"):
        sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
    assert not sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    with pytest.raises(ClientError, match="nothing is sent to telephones"):
        sns.publish(PhoneNumber="+15551234567", Message="x")
