"""The deployments of a stage: orders to the deploying function, what it is doing, and what it did.

Runs on a laptop or in CodeBuild. Reads and writes the items of the deployments table, whose layout
`lambdas/deployment/ledger.py` describes; the function does the work.
"""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.serving_versions.deployment_items import (
    CurrentItem,
    DecisionItem,
    LiveItem,
    OrderItem,
    RecordItem,
    VersionItem,
)
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

Progress = Callable[[str], None]
ENDPOINT = "endpoint"
DEPLOY, ROLLBACK, DELETE = "deploy", "rollback", "delete"
FINE = ("deployed", "shadowing", "deleted", "kept")


@dataclass(frozen=True)
class DeploymentsState:
    """All that the table says at one moment, and the endpoint's status (empty when there is none)."""

    status: str
    config: str
    current: CurrentItem | None
    live: LiveItem | None
    order: OrderItem | None
    decisions: dict[int, DecisionItem]
    records: list[RecordItem]
    """The oldest first."""

    @property
    def quiet(self) -> bool:
        """Whether nothing is changing, and no deployment is in progress."""
        """Whether nothing is under way."""
        return self.current is None and self.status in ("", "InService", "Failed")


def state(connection: Connection) -> DeploymentsState:
    """Read the table and the endpoint. Raises SconesError when the stage is not deployed."""
    endpoint = _endpoint(connection)
    current = cast("list[CurrentItem]", _items(connection, "current"))
    live = cast("list[LiveItem]", _items(connection, "live"))
    order = cast("list[OrderItem]", _items(connection, "order"))
    decisions = cast("list[DecisionItem]", _items(connection, "decision"))
    return DeploymentsState(
        status=endpoint["EndpointStatus"] if endpoint else "",
        config=endpoint["EndpointConfigName"] if endpoint else "",
        current=current[0] if current else None,
        live=live[0] if live else None,
        order=order[0] if order else None,
        decisions={int(item["version"]): item for item in decisions},
        records=cast("list[RecordItem]", _items(connection, "record")),
    )


def history(connection: Connection) -> list[Mapping[str, object]]:
    """What was deployed, and what became of it; the newest first, with what is under way on top."""
    found = state(connection)
    under_way: list[Mapping[str, object]] = (
        [{**found.current, "outcome": "under way", "ended": ""}] if found.current else []
    )
    return [*under_way, *reversed(found.records)]


def order(connection: Connection, action: str, version: int, left: int, reason: str) -> str:
    """Write an order and have it carried out; the time by which its record is found."""
    at = text_of(connection.now())
    item = {
        "kind": "order",
        "key": ENDPOINT,
        "action": action,
        "version": version,
        "left": left,
        "at": at,
        "given": at,
        "by": caller(connection),
        "reason": reason,
        "pending": True,
    }
    serialize = TypeSerializer().serialize
    connection.client("dynamodb").put_item(
        TableName=connection.names.deployments_table, Item={key: serialize(value) for key, value in item.items()}
    )
    nudge(connection)
    return at


def nudge(connection: Connection, package_arn: str = "") -> None:
    """Have the function look now, whether or not an event reaches it."""
    event = {"detail": {"ModelPackageArn": package_arn}} if package_arn else {}
    connection.client("lambda").invoke(
        FunctionName=connection.names.function("deploy_approved_model"),
        InvocationType="Event",
        Payload=json.dumps(event).encode(),
    )


def follow(
    connection: Connection,
    done: Callable[[DeploymentsState], str | None],
    what: str,
    timeout_s: float,
    progress: Progress,
) -> str:
    """Wait until ``done`` answers, and tell of each change meanwhile. SconesError when it takes too long."""
    deadline, told = time.monotonic() + timeout_s, ""
    while True:
        found = state(connection)
        if (line := doing(found)) != told:
            progress(line)
            told = line
        if (answer := done(found)) is not None:
            return answer
        if time.monotonic() > deadline:
            raise SconesError(
                f"{what} did not happen within {timeout_s:.0f} s: {told}; look at the log group"
                f" /aws/lambda/{connection.names.function('deploy_approved_model')}"
            )
        time.sleep(connection.settings.poll_interval_s)


def doing(found: DeploymentsState) -> str:
    """What is going on, in a line."""
    if found.current is None:
        return f"endpoint {found.status or 'absent'}"
    whose = f"version {found.current['version']} ({found.current['action']})"
    return f"{whose} is {found.current['phase']}, endpoint {found.status or 'absent'}"


def version(connection: Connection, package_arn: str) -> VersionItem | None:
    """What the table keeps of a version since its deployment began; None for one that was never deployed."""
    number = package_arn.rpartition("/")[2]
    if not number.isdecimal():
        return None
    key = {"kind": {"S": "version"}, "key": {"S": f"{int(number):08d}"}}
    try:
        answer = connection.client("dynamodb").get_item(
            TableName=connection.names.deployments_table, Key=key, ConsistentRead=True
        )
    except ClientError as error:
        raise _unless_deployed(connection, error) from error
    found = {name: TypeDeserializer().deserialize(value) for name, value in answer.get("Item", {}).items()}
    return cast("VersionItem", found) if found.get("package_arn") == package_arn else None


def remark(found: DeploymentsState) -> str:
    """Why what serves should not, or could not be deployed again; "" for nothing."""
    decision = (found.decisions.get(int(found.live["version"])) if found.live else None) or DecisionItem()
    if decision.get("removed_at"):
        return "deleted from the registry; it serves on, until another version is approved or ordered"
    if decision.get("status") == "Rejected":
        return "rejected; it serves on, because no other version is approved"
    return ""


def outcome_of(found: DeploymentsState, since: str, version: int) -> str | None:
    """How the deployment of a version that was decided at ``since`` or later ended; SconesError when badly."""
    for record in reversed(found.records):
        if record["decided_at"] >= since and version in (int(record["version"]), int(record["shadow_version"])):
            if record["outcome"] not in FINE:
                raise SconesError(f"version {version} was not deployed ({record['outcome']}): {record['detail']}")
            return str(record["outcome"])
    return None


def ended_order(found: DeploymentsState, at: str) -> str | None:
    """How an order ended: by its record, or because things were so already."""
    if not found.quiet:
        return None
    since = [record for record in found.records if record["started"] >= at]
    for record in since:
        if record["outcome"] not in FINE:
            raise SconesError(f"{record['action']} ended {record['outcome']}: {record['detail']}")
    return str(since[-1]["outcome"]) if since else None


def caller(connection: Connection) -> str:
    """Who gives orders here: the login name, and the identity that AWS knows."""
    identity = connection.client("sts").get_caller_identity()["Arn"]
    return f"{getpass.getuser()}, {identity}"


def text_of(moment: datetime) -> str:
    """A time as the table keeps it, so that texts compare as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def plain(item: Mapping[str, object]) -> dict[str, object]:
    """Return an item as JSON can hold it, without what only the table needs."""
    return {k: int(v) if isinstance(v, Decimal) else v for k, v in item.items() if k not in ("kind", "key")}


def _endpoint(connection: Connection) -> DescribeEndpointOutputTypeDef | None:
    try:
        return connection.client("sagemaker").describe_endpoint(EndpointName=connection.names.endpoint)
    except ClientError as error:
        if "Could not find" in str(error):
            return None
        raise


def _items(connection: Connection, kind: str) -> list[dict[str, object]]:
    pages = connection.client("dynamodb").get_paginator("query")
    deserialize = TypeDeserializer().deserialize
    try:
        found = [
            item
            for page in pages.paginate(
                TableName=connection.names.deployments_table,
                KeyConditionExpression="kind = :kind",
                ExpressionAttributeValues={":kind": {"S": kind}},
                ConsistentRead=True,
            )
            for item in page["Items"]
        ]
    except ClientError as error:
        raise _unless_deployed(connection, error) from error
    return [{key: deserialize(value) for key, value in item.items()} for item in found]


def _unless_deployed(connection: Connection, error: ClientError) -> SconesError:
    if error.response["Error"]["Code"] != "ResourceNotFoundException":
        raise error
    stage = connection.settings.stage
    return SconesError(f"stage {stage!r} has no table of deployments: run `scones deploy` first")
