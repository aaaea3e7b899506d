"""How a function answers for a custom resource: the module that CloudFormation gives functions whose code is inline.

Runs in the functions' processes. Source: CloudFormation User Guide, cfn-response module.
"""

from __future__ import annotations

import json
from typing import Protocol
from urllib.request import Request, urlopen

SUCCESS = "SUCCESS"
FAILED = "FAILED"


class AnsweringContext(Protocol):
    """What of a function's context an answer needs."""

    log_stream_name: str


def send(  # noqa: PLR0917  # the module's own signature
    event: dict[str, str],
    context: AnsweringContext,
    responseStatus: str,  # noqa: N803  # the module's own names, by which functions call it
    responseData: dict[str, object],  # noqa: N803
    physicalResourceId: str | None = None,  # noqa: N803
    noEcho: bool = False,  # noqa: N803
    reason: str | None = None,
) -> None:
    """Tell CloudFormation what became of the request of an event."""
    stream = context.log_stream_name
    body = {
        "Status": responseStatus,
        "Reason": reason or f"See the details in CloudWatch Log Stream: {stream}",
        "PhysicalResourceId": physicalResourceId or stream,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "NoEcho": noEcho,
        "Data": responseData,
    }
    content = json.dumps(body).encode()
    request = Request(event["ResponseURL"], data=content, method="PUT", headers={"content-type": ""})  # noqa: S310  # CloudFormation's own address
    with urlopen(request) as answer:  # noqa: S310
        print("Status code:", answer.status)
