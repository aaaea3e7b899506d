"""Fixtures: the account that foreign projects run in."""

from __future__ import annotations

from tests.local.conftest import account, fresh_account

__all__ = ["account", "fresh_account"]
