"""Drift of one resource: what its template states, compared with what it is.

Runs in the server process. Only properties that the template states count (CloudFormation User Guide, detecting
unmanaged configuration changes).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.cloudformation.drift.readers import READERS, Client, Properties
from local_account.cloudformation.drift.records import PropertyDifference, ResourceDrift
from local_account.cloudformation.language.functions import plain_text

if TYPE_CHECKING:
    from local_account.cloudformation.records import StackResource

_GONE = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist", "404")


def drift_of(client: Client, resource: StackResource, at: str) -> ResourceDrift | None:
    """How a resource differs from what was stated of it; None for a type whose drift is not checked."""
    reader = READERS.get(resource["ResourceType"])
    if reader is None:
        return None
    try:
        now = reader(client, resource["PhysicalResourceId"])
    except LookupError:
        return {"StackResourceDriftStatus": "DELETED", "Timestamp": at}
    except ClientError as error:
        if not any(word in error.response["Error"]["Code"] for word in _GONE):
            raise
        return {"StackResourceDriftStatus": "DELETED", "Timestamp": at}
    return _compared(resource["Properties"], now, at)


def _compared(stated: Properties, now: Properties, at: str) -> ResourceDrift:
    """The drift of a resource that is there; only what is stated, and what its service tells, is compared."""
    expected = {name: value for name, value in stated.items() if name in now}
    actual = {name: now[name] for name in expected if now[name] is not None}
    differences = list(_differences(expected, actual, ""))
    return {
        "StackResourceDriftStatus": "MODIFIED" if differences else "IN_SYNC",
        "Timestamp": at,
        "ExpectedProperties": json.dumps(expected, default=str),
        "ActualProperties": json.dumps(actual, default=str),
        "PropertyDifferences": differences,
    }


def _differences(expected: object, actual: object, path: str) -> Iterator[PropertyDifference]:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for name in [*expected, *(name for name in actual if name not in expected)]:
            where = f"{path}/{name}"
            if name not in actual:
                yield _difference(where, "REMOVE", expected[name], None)
            elif name not in expected:
                yield _difference(where, "ADD", None, actual[name])
            else:
                yield from _differences(expected[name], actual[name], where)
    elif not _same(_shown(expected), _shown(actual)):
        yield _difference(path, "NOT_EQUAL", expected, actual)


def _difference(path: str, kind: str, expected: object, actual: object) -> PropertyDifference:
    return {
        "PropertyPath": path,
        "ExpectedValue": "null" if expected is None else _shown(expected),
        "ActualValue": "null" if actual is None else _shown(actual),
        "DifferenceType": kind,
    }


def _same(expected: str, actual: str) -> bool:
    """Whether two texts are the same value: ``1`` and ``1.0`` are."""
    try:
        return expected == actual or float(expected) == float(actual)
    except ValueError:
        return False


def _shown(value: object) -> str:
    """A value as text: services tell numbers and booleans as templates do not write them."""
    if isinstance(value, Mapping | list):
        return json.dumps(value, sort_keys=True, default=str)
    return plain_text(value)
