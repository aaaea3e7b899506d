"""What CloudFormation tells a stack's topics of its events. Runs in the server process, in an operation's thread.

Source: CloudFormation User Guide, stack creation options (the message is one ``Name='value'`` a line).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.cloudformation.records import StackEvent

log = logging.getLogger(__name__)

_SUBJECT = "AWS CloudFormation Notification"


def notify(account: Account, topics: Iterable[str], event: StackEvent) -> None:
    """Send an event to topics; one that cannot be reached does not end an operation."""
    message = _message(account, event)
    for topic in topics:
        try:
            account.client("sns").publish(TopicArn=topic, Subject=_SUBJECT, Message=message)
        except (BotoCoreError, ClientError) as error:
            log.warning("an event of stack %s was not sent to %s: %s", event["StackName"], topic, error)


def _message(account: Account, event: StackEvent) -> str:
    members = {
        "StackId": event["StackId"],
        "Timestamp": event["Timestamp"],
        "EventId": event["EventId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Namespace": account.account_id,
        "PhysicalResourceId": event["PhysicalResourceId"],
        "PrincipalId": account.account_id,
        "ResourceProperties": event.get("ResourceProperties", "null"),
        "ResourceStatus": event["ResourceStatus"],
        "ResourceStatusReason": event.get("ResourceStatusReason", ""),
        "ResourceType": event["ResourceType"],
        "StackName": event["StackName"],
        "ClientRequestToken": event.get("ClientRequestToken", "null"),
    }
    return "".join(f"{name}='{value}'\n" for name, value in members.items())
