"""The table of deployments: decisions, orders, the lease, the deployment in progress, what came of each.

Runs in Lambda. Reads and writes one DynamoDB table, whose items have the keys ``kind`` and ``key``:
``decision``/<version>, ``order``/endpoint, ``lease``/endpoint, ``current``/endpoint (the deployment in progress),
``live``/endpoint, ``version``/<number> (what is known of a version, from the moment its deployment begins),
``made``/<kind>#<name> (what has to be deleted one day) and ``record``/<time>#<version>. Every write that two
invocations could make at once has a condition. `scones.serving_versions.deployments` reads and writes the same items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypedDict, TypeVar

from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from lambdas.deployment.desired_state import Order, VersionDecision
from lambdas.deployment.records import LiveDeployment, ModelDeployment, Record
from lambdas.deployment.version import ServableVersion, number_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_dynamodb.type_defs import (
        TableAttributeValueTypeDef,
        TransactWriteItemTypeDef,
    )

_Kind = TypeVar("_Kind", bound="DataclassInstance")
ENDPOINT = "endpoint"


class Ledger:
    """The table's items as values."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # Decisions and orders.
    def decisions(self) -> dict[int, VersionDecision]:
        """Read what was decided on each version, by its number."""
        found = [_value(VersionDecision, item) for item in self._query("decision")]
        return {decision.version: decision for decision in found}

    def put_decision(self, decision: VersionDecision) -> bool:
        """Keep a decision unless a newer one on the version is known; whether it was kept."""
        item = {**_item("decision", number_text(decision.version), decision), "decided": decision.at}
        return self._put(item, "attribute_not_exists(kind) OR decided <= :at", {":at": decision.at})

    def order(self) -> Order | None:
        """Read the newest order; None when there never was one."""
        return self._get(Order, "order")

    def put_order(self, order: Order) -> bool:
        """Keep an order unless there is a newer one."""
        return self._put(_order_item(order), "attribute_not_exists(kind) OR given <= :at", {":at": order.at})

    def update_order(self, order: Order) -> None:
        """Replace an order by what has become of it, unless there is a newer one."""
        self._put(_order_item(order), "given = :at", {":at": order.at})

    # Versions, as they were when their deployment began.
    def version(self, number: int) -> ServableVersion | None:
        """Read what is known of a version; None for one of before this was kept."""
        return self._get(ServableVersion, "version", number_text(number))

    def put_version(self, version: ServableVersion) -> None:
        """Keep what is known of a version."""
        self._table.put_item(Item=_item("version", number_text(version.version), version))

    # The lease: one invocation at a time works on the endpoint.
    def acquire_lease(self, owner: str, now_s: int, until_s: int) -> bool:
        """Take the lease; False while somebody else has it, who is then told to look once more before it ends."""
        item: dict[str, TableAttributeValueTypeDef] = {
            "kind": "lease",
            "key": ENDPOINT,
            "owner": owner,
            "until": until_s,
            "again": False,
        }
        free = "attribute_not_exists(kind) OR #until < :now OR #owner = :owner"
        names = {"#until": "until", "#owner": "owner"}
        while not self._put(item, free, {":now": now_s, ":owner": owner}, names):
            if self._update("lease", "SET again = :yes", "#until >= :now", {":yes": True, ":now": now_s}, names):
                return False
        return True

    def release_lease(self, owner: str) -> bool:
        """Give the lease back; False when somebody came meanwhile, and the owner has to look once more."""
        names = {"#owner": "owner"}
        mine: dict[str, TableAttributeValueTypeDef] = {":owner": owner}
        if self._update("lease", "SET again = :no", "#owner = :owner AND again = :yes", mine | _YES_NO, names):
            return False
        try:
            self._table.delete_item(
                Key={"kind": "lease", "key": ENDPOINT},
                ConditionExpression="#owner = :owner AND again = :no",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={**mine, ":no": False},
            )
        except ClientError as error:
            _unless_refused(error)
            lease = self._table.get_item(Key={"kind": "lease", "key": ENDPOINT}, ConsistentRead=True).get("Item")
            return not lease or lease["owner"] != owner  # lost to somebody else, who looks anyway
        return True

    # The deployment in progress, and what serves.
    def in_progress(self) -> ModelDeployment | None:
        """Read the deployment in progress; None when nothing is changing."""
        return self._get(ModelDeployment, "current")

    def begin(self, deployment: ModelDeployment) -> bool:
        """Keep a deployment as the one in progress; False when there is another already."""
        return self._put(_item("current", ENDPOINT, deployment), "attribute_not_exists(kind)", {})

    def advance(self, deployment: ModelDeployment) -> bool:
        """Keep how far the deployment has come; False when somebody else has ended it."""
        return self._put(_item("current", ENDPOINT, deployment), "id = :id", {":id": deployment.id})

    def live(self) -> LiveDeployment | None:
        """Read what serves; None when nothing does."""
        return self._get(LiveDeployment, "live")

    def put_live(self, live: LiveDeployment) -> None:
        """Keep what serves."""
        self._table.put_item(Item=_item("live", ENDPOINT, live))

    def end(self, record: Record, live: LiveDeployment | None, failed: VersionDecision | None = None) -> bool:
        """Write the record of a deployment with all that follows from it; False when it was written before."""
        table = self._table.name
        follows: list[TransactWriteItemTypeDef] = [
            {"Delete": {"TableName": table, "Key": {"kind": "current", "key": ENDPOINT}}}
        ]
        if failed:
            blame: TransactWriteItemTypeDef = {
                "Update": {
                    "TableName": table,
                    "Key": {"kind": "decision", "key": number_text(failed.version)},
                    "UpdateExpression": "SET failed = :why, failed_at = :at",
                    "ExpressionAttributeValues": {":why": failed.failed, ":at": failed.failed_at},
                }
            }
            follows.append(blame)
        return self._record(record, live, follows)

    def note(self, record: Record, live: LiveDeployment | None, order: Order | None = None) -> bool:
        """Write a record of something that is no deployment, what serves after it, and what became of an order."""
        return self._record(record, live, [self._put_write(_order_item(order))] if order else [])

    def _put_write(self, item: dict[str, TableAttributeValueTypeDef]) -> TransactWriteItemTypeDef:
        return {"Put": {"TableName": self._table.name, "Item": item}}

    def _record(self, record: Record, live: LiveDeployment | None, follows: list[TransactWriteItemTypeDef]) -> bool:
        """All in one transaction, or nothing; False when the record was written before."""
        new = self._put_write(_item("record", record.id, record))
        new["Put"]["ConditionExpression"] = "attribute_not_exists(kind)"
        nothing: TransactWriteItemTypeDef = {
            "Delete": {"TableName": self._table.name, "Key": {"kind": "live", "key": ENDPOINT}}
        }
        request = [new, *follows, self._put_write(_item("live", ENDPOINT, live)) if live else nothing]
        try:
            self._table.meta.client.transact_write_items(TransactItems=request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            if not self._table.get_item(Key={"kind": "record", "key": record.id}, ConsistentRead=True).get("Item"):
                raise  # cancelled for another reason than that it was written before
            return False
        return True

    # Models and configurations that have to be deleted one day: written before they are created.
    def creations(self) -> set[tuple[str, str]]:
        """Read what was made and is not deleted yet: pairs of ``model`` or ``config`` and a name."""
        keys = [str(item["key"]) for item in self._query("made")]
        return {(kind, name) for kind, _, name in (key.partition("#") for key in keys)}

    def record_creation(self, kind: str, name: str) -> None:
        """Keep that something is about to be made."""
        self._table.put_item(Item={"kind": "made", "key": f"{kind}#{name}"})

    def forget_creation(self, kind: str, name: str) -> None:
        """Forget what is deleted."""
        self._table.delete_item(Key={"kind": "made", "key": f"{kind}#{name}"})

    def _get(self, kind: type[_Kind], name: str, key: str = ENDPOINT) -> _Kind | None:
        item = self._table.get_item(Key={"kind": name, "key": key}, ConsistentRead=True).get("Item")
        return _value(kind, item) if item else None

    def _query(self, kind: str) -> list[dict[str, TableAttributeValueTypeDef]]:
        return query_all(self._table, kind)

    def _put(
        self,
        item: Mapping[str, TableAttributeValueTypeDef],
        condition: str,
        values: dict[str, TableAttributeValueTypeDef],
        names: dict[str, str] | None = None,
    ) -> bool:
        used: _Substitutes = {}
        if values:
            used["ExpressionAttributeValues"] = values
        if names:
            used["ExpressionAttributeNames"] = names
        return _accepted(lambda: self._table.put_item(Item=item, ConditionExpression=condition, **used))

    def _update(
        self,
        kind: str,
        change: str,
        condition: str,
        values: dict[str, TableAttributeValueTypeDef],
        names: dict[str, str],
    ) -> bool:
        used = {name: value for name, value in names.items() if name in f"{change} {condition}"}
        return _accepted(
            lambda: self._table.update_item(
                Key={"kind": kind, "key": ENDPOINT},
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeNames=used,
                ExpressionAttributeValues=values,
            )
        )


class _Substitutes(TypedDict, total=False):
    """What stands for the names and values of a condition."""

    ExpressionAttributeNames: dict[str, str]
    ExpressionAttributeValues: dict[str, TableAttributeValueTypeDef]


def query_all(table: Table, kind: str) -> list[dict[str, TableAttributeValueTypeDef]]:
    """Read every item of a kind, in the order of their keys."""
    condition = Key("kind").eq(kind)
    answer = table.query(KeyConditionExpression=condition, ConsistentRead=True)
    items = answer["Items"]
    while "LastEvaluatedKey" in answer:
        answer = table.query(
            KeyConditionExpression=condition, ConsistentRead=True, ExclusiveStartKey=answer["LastEvaluatedKey"]
        )
        items += answer["Items"]
    return items


def _accepted(write: Callable[[], object]) -> bool:
    """Write; whether the condition held."""
    try:
        write()
    except ClientError as error:
        _unless_refused(error)
        return False
    return True


_YES_NO: dict[str, TableAttributeValueTypeDef] = {":yes": True, ":no": False}


def _unless_refused(error: ClientError) -> None:
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error


def _order_item(order: Order) -> dict[str, TableAttributeValueTypeDef]:
    return {**_item("order", ENDPOINT, order), "given": order.at}


def _item(kind: str, key: str, value: DataclassInstance) -> dict[str, TableAttributeValueTypeDef]:
    return {**dataclasses.asdict(value), "kind": kind, "key": key}


def _value(kind: type[_Kind], item: Mapping[str, TableAttributeValueTypeDef]) -> _Kind:
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    known = {name: item[name] for name in fields if name in item}
    return kind(**{name: int(str(v)) if fields[name] == "int" else v for name, v in known.items()})
