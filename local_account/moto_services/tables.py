"""Registers what the account acts on of the requests to services that moto answers, see `protocol.members`.

Runs in the server process.
"""

from __future__ import annotations

from pathlib import Path

from local_account.account import Account
from local_account.protocol.members import register_folder


def install(_account: Account) -> None:
    """Called once, before the first request."""
    register_folder(Path(__file__).with_name("members"))
