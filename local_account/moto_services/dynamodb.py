"""DynamoDB: moto keeps tables and items; here each call is made whole.

Runs in the server process. DynamoDB checks a condition and writes in one step (developer guide, condition expressions);
moto does one after the other, so that of two clients that ask at once both might be told that the condition held.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from moto.dynamodb import urls
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.responses import DynamoHandler

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, use_backend

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

    from local_account.base.replacements import Handlers

_ONE_AT_A_TIME = threading.RLock()


def install(_account: Account) -> None:
    """One call after another."""
    use_backend(dynamodb_backends, WholeTables)


@extends
class WholeTables(DynamoDBBackend):
    """moto's tables, answered by `WholeCalls`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(WholeCalls, urls.url_paths)


@extends
class WholeCalls(DynamoHandler):
    """moto's answers, one at a time."""

    def call_action(self) -> TYPE_RESPONSE:
        """Answer the call while no other is answered."""
        with _ONE_AT_A_TIME:
            answer: TYPE_RESPONSE = super().call_action()
            return answer
