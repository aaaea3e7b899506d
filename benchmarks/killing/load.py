"""What is written to the stand-in account while it is killed, and what is kept of it afterwards."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.account import ROLE, client, make_role

THREADS = 2  # for each kind of write
BUCKET = "killed"
MACHINE = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}


@dataclass(frozen=True)
class AcknowledgedWrite:
    """A write that was acknowledged, and when."""

    kind: str
    name: str
    digest: str
    at: float


@dataclass
class KillTally:
    """What the kills cost."""

    kills: int = 0
    resets: int = 0
    acknowledged: int = 0
    lost: list[float] = field(default_factory=list)
    """How many seconds before the kill each lost write was acknowledged."""
    stated: list[float] = field(default_factory=list)
    """What the account said before each kill that one costs at most, in seconds."""
    late: int = 0
    """How many of those that were lost were older than that."""
    damaged: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    hit: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def report(self) -> str:
        """Return the counts as text, and each damage in a line."""
        oldest = f", the oldest {max(self.lost):.2f} s before the kill" if self.lost else ""
        return "\n".join(
            (
                f"{self.kills} kills of the account: {self.resets} resets needed, {len(self.damaged)} objects damaged,",
                f"  {len(self.lost)} of {self.acknowledged} acknowledged writes lost{oldest}",
                f"  stated: {min(self.stated):g} to {max(self.stated):g} s; {self.late} lost that were older",
                f"{sum(self.hit.values())} kills of {dict(self.hit)}: {len(self.unsaid)} ends that are not said",
                f"  {dict(self.ended)}",
                *self.damaged,
                *self.unsaid,
            )
        )

    @property
    def failed(self) -> bool:
        """Whether anything happened that must not."""
        return bool(self.resets or self.damaged or self.unsaid or self.late)


class WriteLoad:
    """Writes of several kinds, until the server is gone; what was acknowledged."""

    def __init__(self, url: str, seed: int) -> None:
        self.written: list[AcknowledgedWrite] = []
        self._random = random.Random(seed)  # noqa: S311  # a load, no secret
        self._threads: list[threading.Thread] = []
        s3, ssm = client(url, "s3"), client(url, "ssm")
        dynamodb, states = client(url, "dynamodb"), client(url, "stepfunctions")
        machine = "arn:aws:states:us-east-1:123456789012:stateMachine:killed"
        self._calls: dict[str, Callable[[str, bytes], object]] = {
            "object": lambda name, body: s3.put_object(Bucket=BUCKET, Key=name, Body=body),
            "parameter": lambda name, body: ssm.put_parameter(Name=name, Value=digest(body), Type="String"),
            "item": lambda name, body: dynamodb.put_item(
                TableName=BUCKET, Item={"id": {"S": name}, "digest": {"S": digest(body)}}
            ),
            "execution": lambda name, body: states.start_execution(
                stateMachineArn=machine, name=name, input=json.dumps(digest(body))
            ),
        }

    def begin(self, round_number: int) -> None:
        """Start the threads."""
        for kind in self._calls:
            for thread in range(THREADS):
                prefix = f"r{round_number}-{thread}"
                own = random.Random(self._random.random())  # noqa: S311  # as above
                self._threads.append(threading.Thread(target=self._write, args=(kind, prefix, own)))
        for each in self._threads:
            each.start()

    def _write(self, kind: str, prefix: str, own: random.Random) -> None:
        for number in range(sys.maxsize):
            name, body = f"{prefix}-{number}", own.randbytes(own.randrange(1, 65_536))
            try:
                self._calls[kind](name, body)
            except (BotoCoreError, ClientError):  # the server was killed
                return
            self.written.append(AcknowledgedWrite(kind, name, digest(body), time.time()))

    def end(self) -> None:
        """Wait until every thread has met the dead server."""
        for each in self._threads:
            each.join()


def digest(body: bytes) -> str:
    """Return the SHA-256 of what was written."""
    return hashlib.sha256(body).hexdigest()


def prepare(url: str) -> None:
    """Create the bucket, the table and the state machine that the load writes to."""
    make_role(url)
    client(url, "s3").create_bucket(Bucket=BUCKET)
    client(url, "dynamodb").create_table(
        TableName=BUCKET,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client(url, "stepfunctions").create_state_machine(name="killed", definition=json.dumps(MACHINE), roleArn=ROLE)


def found(url: str, written: AcknowledgedWrite) -> str | None:
    """The digest of what is kept of a write; None when nothing is."""
    if written.kind == "object":
        return digest(client_of(url, "s3").get_object(Bucket=BUCKET, Key=written.name)["Body"].read())
    if written.kind == "parameter":
        return str(client_of(url, "ssm").get_parameter(Name=written.name)["Parameter"]["Value"])
    if written.kind == "item":
        answer = client_of(url, "dynamodb").get_item(TableName=BUCKET, Key={"id": {"S": written.name}})
        return str(answer["Item"]["digest"]["S"]) if "Item" in answer else None
    arn = f"arn:aws:states:us-east-1:123456789012:execution:killed:{written.name}"
    execution = client_of(url, "stepfunctions").describe_execution(executionArn=arn)
    if execution["status"] == "RUNNING":
        raise RuntimeError(f"{arn} still runs, in a server that did not start it")
    return str(json.loads(execution["input"]))


client_of = functools.cache(client)
"""A client for an address and a service, made once."""


def check(url: str, kept: list[AcknowledgedWrite], killed_at: float, tally: KillTally) -> list[AcknowledgedWrite]:
    """Count what is lost and damaged; what is there."""
    there = []
    for written in kept:
        try:
            now = found(url, written)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                tally.damaged.append(f"{written}: {error}")
                continue
            now = None
        except RuntimeError as error:
            tally.unsaid.append(str(error))
            continue
        if now is None:
            tally.lost.append(killed_at - written.at)
        elif now != written.digest:
            tally.damaged.append(f"{written}: holds {now}")
        else:
            there.append(written)
    return there
