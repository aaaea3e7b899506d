"""DynamoDB: moto keeps tables and items; here each call is made whole.

Runs in the server process. DynamoDB checks a condition and writes in one step (developer guide, condition expressions);
moto does one after the other, so that of two clients that ask at once both might be told that the condition held.
"""

from __future__ import annotations

import threading
from typing import Any

from local_account.account import Account


def install(_account: Account) -> None:
    """One call after another."""
    from moto.dynamodb.responses import DynamoHandler

    lock = threading.RLock()
    call = DynamoHandler.call_action

    def one_at_a_time(handler: Any) -> Any:
        with lock:
            return call(handler)

    DynamoHandler.call_action = one_at_a_time
