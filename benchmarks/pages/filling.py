"""What a stage holds after months: executions of the workflow, captured records. Made through the front door, but fast.

The executions are real ones of the inference workflow; while they run its definition is one state that passes, so that
ten thousand take minutes. The records lie where an endpoint's data capture puts them, in files of 496 lines.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

from benchmarks.captures import hour_lines
from scones.runs import executions
from scones.stage.connection import Connection, split_uri

CHANCE = 16  # seeds what the records hold
RECORDS_PER_FILE = 496
SENDERS = 8
ANSWER = {
    "status": "passed",
    "predicted_label": "bicycle",
    "confidence": 0.98,
    "inferences": [0.98, 0.02],
    "classes": ["bicycle", "motorcycle"],
}


def send_executions(connection: Connection, count: int) -> None:
    """Start so many executions, and wait until they have ended."""
    states, arn = connection.client("stepfunctions"), executions.workflow_arn(connection)
    bucket = connection.names.data_bucket

    def start(number: int) -> str:
        given = json.dumps({"s3_bucket": bucket, "s3_key": f"incoming/made-{number}.png"})
        name = f"made-{uuid.uuid4().hex}"
        return str(states.start_execution(stateMachineArn=arn, name=name, input=given)["executionArn"])

    with passing(connection, arn), ThreadPoolExecutor(SENDERS) as pool:
        made = list(pool.map(start, range(count)))
        while made and states.describe_execution(executionArn=made[-1])["status"] == "RUNNING":
            time.sleep(0.1)


@contextmanager
def passing(connection: Connection, arn: str) -> Iterator[None]:
    """The workflow as one state, and as it was afterwards."""
    states = connection.client("stepfunctions")
    before = states.describe_state_machine(stateMachineArn=arn)["definition"]
    simple = {
        "StartAt": "FilterInferences",
        "States": {"FilterInferences": {"Type": "Pass", "Result": ANSWER, "End": True}},
    }
    states.update_state_machine(stateMachineArn=arn, definition=json.dumps(simple))
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=arn, definition=before)


def put_captures(connection: Connection, count: int) -> None:
    """Put so many captured records, a day of them, below the stage's captures."""

    chance = random.Random(CHANCE)  # noqa: S311 - made traffic
    bucket, prefix = split_uri(connection.names.capture_uri)
    hour = connection.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=24)
    for number in range(-(-count // RECORDS_PER_FILE)):
        at = hour + timedelta(hours=number % 24)
        body = "".join(hour_lines(at, min(RECORDS_PER_FILE, count - number * RECORDS_PER_FILE), chance))
        folder = f"{prefix}/{connection.names.endpoint}/AllTraffic/{at:%Y/%m/%d/%H}"
        key = f"{folder}/{number % 60:02d}-00-000-{uuid.uuid4()}.jsonl"
        connection.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode())
