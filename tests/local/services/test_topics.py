"""SNS in the stand-in account: what a subscription's filter policy lets pass."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

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
