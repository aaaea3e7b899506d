"""What moto does anew for every request, done once or at less cost.

Runs in the server process; changes nothing of what is answered.
"""

from __future__ import annotations

import string
from functools import cache
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.replacements import replace

if TYPE_CHECKING:
    from flask import Flask
    from moto.moto_api._internal.moto_random import MotoRandom


def install(_account: Account) -> None:
    """Called once, before the first request."""
    from moto.core import responses
    from moto.core.utils import camelcase_to_underscores, method_names_from_class
    from moto.moto_api._internal.moto_random import MotoRandom
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
        responses,
        "camelcase_to_underscores",
        cache(camelcase_to_underscores),
        why="the names of actions are few, and each request has one",
        upstream="005-list-the-actions-of-a-service-once.md",
    )
    replace(
        MotoRandom,
        "get_random_string",
        _random_string,
        why="it draws each character of a request's id by a call of its own",
        upstream="006-draw-random-strings-at-once.md",
    )
    replace(
        sqs,
        "Queue",
        AccountQueue,
        why="all messages of a queue are counted for each one sent to it",
        upstream="007-count-messages-when-asked.md",
    )


def configure(application: Flask) -> None:
    """Take moto's Flask application out of debug mode, in which it makes a class for each request's form."""
    application.debug = False
    application.config["PROPAGATE_EXCEPTIONS"] = True  # to our front, as in debug mode


def _random_string(self: MotoRandom, length: int = 20, include_digits: bool = True, lower_case: bool = False) -> str:
    pool = string.ascii_letters + (string.digits if include_digits else "")
    text = "".join(self.choices(pool, k=length))
    return text.lower() if lower_case else text
