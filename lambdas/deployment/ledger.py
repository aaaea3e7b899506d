"""The table of deployments: decisions, orders, the lease, the deployment in progress, what came of each.

Runs in Lambda. Reads and writes one DynamoDB table, whose items have the keys ``kind`` and ``key``:
``decision``/<version>, ``order``/endpoint, ``lease``/endpoint, ``current``/endpoint (the deployment in progress),
``live``/endpoint, ``version``/<number> (what is known of a version, from the moment its deployment begins),
``made``/<kind>#<name> (what has to be deleted one day) and ``record``/<time>#<version>. Every write that two
invocations could make at once has a condition. `scones.serving_versions.deployments` reads and writes the same items.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from lambdas.deployment.desired_state import Order, VersionDecision
from lambdas.deployment.version import ServableVersion, number_text

_Kind = TypeVar("_Kind")
ENDPOINT = "endpoint"
PLANNED, CHANGING = "planned", "changing"


@dataclass(frozen=True)
class ModelDeployment:
    """A change of the endpoint that was begun: to which version, why, and from where.

    ``phase`` is ``planned`` until SageMaker took the change, then ``changing``.
    """

    id: str
    action: str
    version: int
    package_arn: str
    config: str
    by: str
    reason: str
    decided_at: str
    started: str
    previous_version: int = 0
    previous_config: str = ""
    shadow_version: int = 0
    shadow_arn: str = ""
    smoke_before: str = ""
    phase: str = PLANNED
    attempts: int = 0


@dataclass(frozen=True)
class LiveDeployment:
    """What serves, as far as deployments of ours brought it there, and where a rollback would go."""

    version: int
    package_arn: str
    config: str
    since: str
    shadow_version: int = 0
    previous_version: int = 0
    previous_config: str = ""
    scaled: bool = False
    refused_config: str = ""
    """Other settings for the same version, which SageMaker did not take."""
    unwanted: str = ""
    """Why the version should not serve, once that was told and there is no other."""
    removal_told: bool = False
    """Whether it was told that the version's entry in the registry is gone."""


@dataclass(frozen=True)
class Record:
    """One line of the history. ``outcome``: deployed, shadowing, rolled back, failed, deleted or kept."""

    id: str
    action: str
    outcome: str
    detail: str
    version: int
    package_arn: str
    by: str
    reason: str
    started: str
    ended: str
    config: str = ""
    decided_at: str = ""
    previous_version: int = 0
    shadow_version: int = 0
    smoke_before: str = ""
    smoke_after: str = ""


@dataclass(frozen=True)
class _Write:
    """One of a transaction: ``action`` is Put, Update or Delete."""

    action: str
    request: dict[str, Any]


class Ledger:
    """The table's items as values."""

    def __init__(self, table: Any) -> None:
        self._table = table

    # Decisions and orders.
    def decisions(self) -> dict[int, VersionDecision]:
        found = [_value(VersionDecision, item) for item in self._query("decision")]
        return {decision.version: decision for decision in found}

    def put_decision(self, decision: VersionDecision) -> bool:
        """Keep a decision unless a newer one on the version is known; whether it was kept."""
        item = {**_item("decision", number_text(decision.version), decision), "decided": decision.at}
        return self._put(item, "attribute_not_exists(kind) OR decided <= :at", {":at": decision.at})

    def order(self) -> Order | None:
        return self._get(Order, "order")

    def put_order(self, order: Order) -> bool:
        """Keep an order unless there is a newer one."""
        return self._put(_order_item(order), "attribute_not_exists(kind) OR given <= :at", {":at": order.at})

    def update_order(self, order: Order) -> None:
        """Replace an order by what has become of it, unless there is a newer one."""
        self._put(_order_item(order), "given = :at", {":at": order.at})

    # Versions, as they were when their deployment began.
    def version(self, number: int) -> ServableVersion | None:
        return self._get(ServableVersion, "version", number_text(number))

    def put_version(self, version: ServableVersion) -> None:
        self._table.put_item(Item=_item("version", number_text(version.version), version))

    # The lease: one invocation at a time works on the endpoint.
    def acquire_lease(self, owner: str, now_s: int, until_s: int) -> bool:
        """Take the lease; False while somebody else has it, who is then told to look once more before it ends."""
        item = {"kind": "lease", "key": ENDPOINT, "owner": owner, "until": until_s, "again": False}
        free = "attribute_not_exists(kind) OR #until < :now OR #owner = :owner"
        names = {"#until": "until", "#owner": "owner"}
        while not self._put(item, free, {":now": now_s, ":owner": owner}, names):
            if self._update("lease", "SET again = :yes", "#until >= :now", {":yes": True, ":now": now_s}, names):
                return False
        return True

    def release_lease(self, owner: str) -> bool:
        """Give the lease back; False when somebody came meanwhile, and the owner has to look once more."""
        names, mine = {"#owner": "owner"}, {":owner": owner}
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
        return self._get(ModelDeployment, "current")

    def begin(self, deployment: ModelDeployment) -> bool:
        return self._put(_item("current", ENDPOINT, deployment), "attribute_not_exists(kind)", {})

    def advance(self, deployment: ModelDeployment) -> bool:
        """Keep how far the deployment has come; False when somebody else has ended it."""
        return self._put(_item("current", ENDPOINT, deployment), "id = :id", {":id": deployment.id})

    def live(self) -> LiveDeployment | None:
        return self._get(LiveDeployment, "live")

    def put_live(self, live: LiveDeployment) -> None:
        self._table.put_item(Item=_item("live", ENDPOINT, live))

    def end(self, record: Record, live: LiveDeployment | None, failed: VersionDecision | None = None) -> bool:
        """Write the record of a deployment with all that follows from it; False when it was written before."""
        follows = [_Write("Delete", {"Key": {"kind": "current", "key": ENDPOINT}})]
        if failed:
            blame = {
                "Key": {"kind": "decision", "key": number_text(failed.version)},
                "UpdateExpression": "SET failed = :why, failed_at = :at",
                "ExpressionAttributeValues": {":why": failed.failed, ":at": failed.failed_at},
            }
            follows.append(_Write("Update", blame))
        return self._record(record, live, follows)

    def note(self, record: Record, live: LiveDeployment | None, order: Order | None = None) -> bool:
        """Write a record of something that is no deployment, what serves after it, and what became of an order."""
        put = {"Item": _order_item(order)} if order else {}
        return self._record(record, live, [_Write("Put", put)] if order else [])

    def _record(self, record: Record, live: LiveDeployment | None, follows: list[_Write]) -> bool:
        """All in one transaction, or nothing; False when the record was written before."""
        new = {"Item": _item("record", record.id, record), "ConditionExpression": "attribute_not_exists(kind)"}
        nothing = _Write("Delete", {"Key": {"kind": "live", "key": ENDPOINT}})
        serves = _Write("Put", {"Item": _item("live", ENDPOINT, live)}) if live else nothing
        writes = [_Write("Put", new), *follows, serves]
        request = [{write.action: {"TableName": self._table.name, **write.request}} for write in writes]
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
        keys = [str(item["key"]) for item in self._query("made")]
        return {(kind, name) for kind, _, name in (key.partition("#") for key in keys)}

    def record_creation(self, kind: str, name: str) -> None:
        self._table.put_item(Item={"kind": "made", "key": f"{kind}#{name}"})

    def forget_creation(self, kind: str, name: str) -> None:
        self._table.delete_item(Key={"kind": "made", "key": f"{kind}#{name}"})

    def _get(self, kind: type[_Kind], name: str, key: str = ENDPOINT) -> _Kind | None:
        item = self._table.get_item(Key={"kind": name, "key": key}, ConsistentRead=True).get("Item")
        return _value(kind, item) if item else None

    def _query(self, kind: str) -> list[dict[str, Any]]:
        request: dict[str, Any] = {"KeyConditionExpression": Key("kind").eq(kind), "ConsistentRead": True}
        items: list[dict[str, Any]] = []
        while True:
            answer = self._table.query(**request)
            items += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return items
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _put(
        self, item: dict[str, Any], condition: str, values: dict[str, Any], names: dict[str, str] | None = None
    ) -> bool:
        request: dict[str, Any] = {"Item": item, "ConditionExpression": condition}
        if values:
            request["ExpressionAttributeValues"] = values
        if names:
            request["ExpressionAttributeNames"] = names
        return self._accepted(self._table.put_item, request)

    def _update(self, kind: str, change: str, condition: str, values: dict[str, Any], names: dict[str, str]) -> bool:
        used = {name: value for name, value in names.items() if name in f"{change} {condition}"}
        request = {
            "Key": {"kind": kind, "key": ENDPOINT},
            "UpdateExpression": change,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": used,
            "ExpressionAttributeValues": values,
        }
        return self._accepted(self._table.update_item, request)

    @staticmethod
    def _accepted(write: Any, request: dict[str, Any]) -> bool:
        try:
            write(**request)
        except ClientError as error:
            _unless_refused(error)
            return False
        return True


_YES_NO = {":yes": True, ":no": False}


def _unless_refused(error: ClientError) -> None:
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error


def _order_item(order: Order) -> dict[str, Any]:
    return {**_item("order", ENDPOINT, order), "given": order.at}


def _item(kind: str, key: str, value: Any) -> dict[str, Any]:
    return {**dataclasses.asdict(value), "kind": kind, "key": key}


def _value(kind: type[_Kind], item: dict[str, Any]) -> _Kind:
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    known = {name: item[name] for name in fields if name in item}
    return kind(**{name: int(v) if fields[name] == "int" else v for name, v in known.items()})
