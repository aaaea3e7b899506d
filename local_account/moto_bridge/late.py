"""Parts of ours in services of moto that take half a second to import: put there when the service is first needed.

Runs in the server process. Whoever may be the first to load such a service calls `prepare` before.
"""

from __future__ import annotations

import importlib
import threading

from local_account.account import Account

_LATE = {"ssm": "moto_services.safekeeping.parameters"}
"""Rooms by the service, as it is named where its requests are signed and where its state is kept."""
_lock = threading.Lock()
_prepared: set[str] = set()


def prepare(service: str, account: Account) -> None:
    """Put our part into a service, once."""
    with _lock:
        if service in _LATE and service not in _prepared:
            importlib.import_module(f"local_account.{_LATE[service]}").install(account)
            _prepared.add(service)
