"""Queues and topics of the account: dead letters, FIFO queues, what a topic tells, and how both refuse."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.queues import Queue


@pytest.fixture(scope="module")
def sqs(account: Any) -> Any:
    return account.client("sqs")


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_messages_move_back_from_a_dead_letter_queue(sqs: Any, account: Any) -> None:
    dead, source = Queue(account, "dead"), Queue(account, "alive")
    code, message = refusal(sqs.start_message_move_task, SourceArn=dead.arn)
    assert (code, message) == ("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=source.url, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
    sqs.send_message(QueueUrl=source.url, MessageBody="again")
    while not int(counted(sqs, dead)):
        sqs.receive_message(QueueUrl=source.url)
    sqs.start_message_move_task(SourceArn=dead.arn)
    while (task := sqs.list_message_move_tasks(SourceArn=dead.arn)["Results"][0])["Status"] == "RUNNING":
        pass
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert sqs.receive_message(QueueUrl=source.url)["Messages"][0]["Body"] == "again"


def counted(sqs: Any, queue: Queue) -> str:
    name = "ApproximateNumberOfMessages"
    found = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=[name])["Attributes"]
    return str(found[name])


def test_a_fifo_queue_knows_a_message_that_is_gone(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="once.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    message = {"QueueUrl": url, "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    first = sqs.send_message(**message)
    (received,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=received["ReceiptHandle"])
    second = sqs.send_message(**message)
    assert (second["MessageId"], second["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    following = sqs.send_message(**message | {"MessageDeduplicationId": "e"})
    assert int(following["SequenceNumber"]) > int(first["SequenceNumber"])


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {"VisibilityTimeout": "99999"},
            ("InvalidAttributeValue", "Invalid value for the parameter VisibilityTimeout."),
        ),
        ({"Colour": "red"}, ("InvalidAttributeName", "Unknown Attribute Colour.")),
        ({"FifoQueue": "false"}, ("InvalidAttributeName", "Unknown Attribute FifoQueue.")),
        (
            {"RedrivePolicy": '{"deadLetterTargetArn": "x", "maxReceiveCount": 1}'},
            (
                "InvalidParameterValue",
                'Value {"deadLetterTargetArn": "x", "maxReceiveCount": 1} for parameter RedrivePolicy is invalid. '
                "Reason: Invalid value for deadLetterTargetArn.",
            ),
        ),
    ],
)
def test_attributes_are_refused_in_sqss_words(sqs: Any, attributes: dict[str, str], expected: tuple[str, str]) -> None:
    assert refusal(sqs.create_queue, QueueName="refused", Attributes=attributes) == expected


def test_a_queue_made_again_is_told_what_differs(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="again", Attributes={"DelaySeconds": "1"})["QueueUrl"]
    assert sqs.create_queue(QueueName="again", Attributes={"DelaySeconds": "1"})["QueueUrl"] == url
    message = "A queue already exists with the same name and a different value for attribute DelaySeconds"
    assert refusal(sqs.create_queue, QueueName="again", Attributes={"DelaySeconds": "2"}) == (
        "QueueAlreadyExists",
        message,
    )


def test_secrets_are_named_in_some_letters_only(account: RunningAccount) -> None:
    secrets = account.client("secretsmanager")
    message = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
    assert refusal(secrets.create_secret, Name="Inv Name", SecretString="a") == ("ValidationException", message)
    assert refusal(secrets.delete_secret, SecretId="Inv*Name") == ("ValidationException", message)


def test_what_a_fifo_queue_refuses(sqs: Any) -> None:
    options = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "1"}
    url = sqs.create_queue(QueueName="refusing.fifo", Attributes=options)["QueueUrl"]
    refused = refusal(sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "a"}])
    assert refused == ("InvalidParameterValue", "The request must contain the parameter MessageGroupId.")
    sqs.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g")
    handle = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    time.sleep(1.2)
    message = f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    assert refusal(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle) == ("InvalidParameterValue", message)
    told = ("ReceiptHandleIsInvalid", 'The input receipt handle "none" is not a valid receipt handle.')
    assert refusal(sqs.delete_message, QueueUrl=url, ReceiptHandle="none") == told
    refused = refusal(sqs.set_queue_attributes, QueueUrl=url, Attributes={"FifoQueue": "false"})
    assert refused[1] == "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."


def test_a_topic_tells_how_it_delivers_and_stays_what_it_is(account: RunningAccount) -> None:
    sns = account.client("sns")
    arn = sns.create_topic(Name="told", Tags=[{"Key": "k", "Value": "v"}])["TopicArn"]
    told = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert "DeliveryPolicy" not in told
    http = json.loads(told["EffectiveDeliveryPolicy"])["http"]
    assert (http["defaultHealthyRetryPolicy"]["numRetries"], http["disableSubscriptionOverrides"]) == (3, False)
    stated = json.dumps({"http": {"defaultHealthyRetryPolicy": {"numRetries": 7}}})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DeliveryPolicy", AttributeValue=stated)
    told = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    retries = json.loads(told["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]
    assert (told["DeliveryPolicy"], retries["numRetries"], retries["minDelayTarget"]) == (stated, 7, 20)
    assert sns.create_topic(Name="told")["TopicArn"] == arn
    for other in ({"Tags": [{"Key": "other", "Value": "v"}]}, {"Attributes": {"DisplayName": "Other"}}):
        with pytest.raises(ClientError, match="Topic already exists with different"):
            sns.create_topic(Name="told", **other)
    endpoint = "arn:aws:sns:us-east-1:123456789012:endpoint/APNS/app/0f7d5971-aa8b-4bd5-b585-0826e9f93a66"
    with pytest.raises(ClientError, match="No endpoint found for the target arn specified"):
        sns.publish(TargetArn=endpoint, Message="text")
