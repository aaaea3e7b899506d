"""What the account says of itself at its own address, and its clock, which its owner may move there.

Runs in the server process, called by ``application``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.clock import CLOCK

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

HEALTH_PATH = "/_account/health"
CLOCK_PATH = "/_account/clock"


def health(account: Account, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """What the account is, after its clock was moved by ``{"advance_s": 3600}``, where that is asked."""
    if environ["PATH_INFO"] == CLOCK_PATH:
        try:
            by = timedelta(seconds=float(json.loads(environ["wsgi.input"].read())["advance_s"]))
            account.advance_clock(by)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            return answer_json(start_response, {"message": str(error)}, "400 Bad Request")
    return answer_json(
        start_response,
        {
            "status": "running",
            "pid": os.getpid(),
            "region": account.region,
            "account_id": account.account_id,
            "state_dir": str(account.state_dir),
            "time_scale": account.time_scale,
            "chaos": account.chaos,
            "durable": account.durable,
            "trouble": account.snapshots.trouble(),
            "loss_s": round(account.snapshots.loss_s(), 2),
            "unsaved_s": round(account.snapshots.unsaved_s(), 2),
            "clock": {"now": CLOCK.now().isoformat(), "speed": CLOCK.speed, "movable": CLOCK.movable},
            "version": version("scones-mlops"),
        },
    )


def answer_json(start_response: StartResponse, document: Mapping[str, object], status: str = "200 OK") -> list[bytes]:
    """Answer a document."""
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(document).encode()]
