"""A DynamoDB table in memory, with as much of conditions and updates as `lambdas.deployment.ledger` uses.

That DynamoDB, as moto knows it, takes the same requests, `test_deployment` checks beside it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}
_ATOM = re.compile(r"(?:attribute_not_exists\((\S+)\))|(?:(\S+) (=|<=|>=|<) (:\S+))")


class FakeTable:
    """The table's resource, and (``meta.client``) its client."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._items: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def meta(self) -> FakeTable:
        return self

    @property
    def client(self) -> FakeTable:
        return self

    def scan(self) -> dict[str, Any]:
        return {"Items": [dict(item) for item in self._items.values()]}

    def get_item(self, **request: Any) -> dict[str, Any]:
        item = self._items.get(_key(request["Key"]))
        return {"Item": dict(item)} if item else {}

    def query(self, **request: Any) -> dict[str, Any]:
        kind = request["KeyConditionExpression"].get_expression()["values"][1]
        return {"Items": [dict(item) for (found, _), item in sorted(self._items.items()) if found == kind]}

    def put_item(self, **request: Any) -> None:
        self._check(request, _key(request["Item"]))
        self._items[_key(request["Item"])] = dict(request["Item"])

    def delete_item(self, **request: Any) -> None:
        self._check(request, _key(request["Key"]))
        self._items.pop(_key(request["Key"]), None)

    def update_item(self, **request: Any) -> None:
        key = _key(request["Key"])
        self._check(request, key)
        item = self._items.setdefault(key, dict(request["Key"]))
        for change in request["UpdateExpression"].removeprefix("SET ").split(", "):
            name, value = change.split(" = ")
            item[name] = request["ExpressionAttributeValues"][value]

    def transact_write_items(self, **request: Any) -> None:
        actions = {"Put": self.put_item, "Delete": self.delete_item, "Update": self.update_item}
        before = dict(self._items)
        try:
            for write in request["TransactItems"]:
                for name, content in write.items():
                    actions[name](**content)
        except ClientError as error:
            self._items = before
            raise _refused("TransactionCanceledException") from error

    def _check(self, request: dict[str, Any], key: tuple[str, str]) -> None:
        condition, item = request.get("ConditionExpression"), self._items.get(key, {})
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})

        def holds(atom: str) -> bool:
            found = _ATOM.fullmatch(atom)
            assert found, atom
            absent, name, comparison, value = found.groups()
            if absent:
                return absent not in item
            name = names.get(name, name)
            return name in item and _COMPARE[comparison](item[name], values[value])

        alternatives = condition.split(" OR ") if condition else []
        if condition and not any(all(map(holds, alternative.split(" AND "))) for alternative in alternatives):
            raise _refused("ConditionalCheckFailedException")


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return str(item["kind"]), str(item["key"])


def _refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "refused"}}, "Test")
