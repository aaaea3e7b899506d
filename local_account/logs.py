"""CloudWatch Logs of the account: moto's."""

from __future__ import annotations

from local_account.account import Account


def install(account: Account) -> None:
    """Nothing to put right yet."""
