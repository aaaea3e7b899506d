"""What moto does anew for every request, done once or at less cost.

Runs in the server process; changes nothing of what is answered.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.replacements import replace

if TYPE_CHECKING:
    from flask import Flask


def install(_account: Account) -> None:
    """Called once, before the first request."""
    from moto.core import responses
    from moto.core.utils import method_names_from_class
    from moto.sqs import models as sqs

    from local_account.moto_bridge.queues import AccountQueue

    replace(
        responses,
        "method_names_from_class",
        cache(method_names_from_class),
        why="it looks at every member of the service's class for each request",
        upstream="005-list-the-actions-of-a-service-once.md",
    )
    replace(
        sqs,
        "Queue",
        AccountQueue,
        why="all messages of a queue are counted for each one sent to it",
        upstream="006-count-messages-when-asked.md",
    )


def configure(application: Flask) -> None:
    """Take moto's Flask application out of debug mode, in which it makes a class for each request's form."""
    application.debug = False
    application.config["PROPAGATE_EXCEPTIONS"] = True  # to our front, as in debug mode
