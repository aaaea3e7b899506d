"""The account owner's credentials: one pair of keys for each state folder, which only its user can read.

Made by the server or by ``scones account env``, whichever comes first; lies in ``<state>/client/owner.json``. Requests
are signed with the secret key and never carry it, so it reaches neither a log nor whoever listens on the port instead.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from local_account.base.client_environment import FOLDER
from local_account.base.clients import Keys
from local_account.base.errors import AccountError

FILE = "owner.json"
# Long-term keys begin with AKIA (IAM User Guide, unique identifiers); the rest tells ours from real ones.
KEY_PREFIX = "AKIASTANDIN"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def owner_keys(state_dir: Path) -> Keys:
    """The keys of this state folder, made when there are none; AccountError for a file that holds none."""
    path = state_dir / FOLDER / FILE
    if not path.exists():
        _make(path)
    try:
        kept = json.loads(path.read_text(encoding="ascii"))
        return Keys(str(kept["access_key"]), str(kept["secret_key"]))
    except (ValueError, KeyError, TypeError) as error:
        raise AccountError(f"{path} does not hold the account's keys; remove it, and new ones are made") from error


def _make(path: Path) -> None:
    """Write new keys; whoever is first wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    access_key = KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(20 - len(KEY_PREFIX)))
    partial = path.with_name(f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"access_key": access_key, "secret_key": secrets.token_urlsafe(30)}, file)
    with suppress(FileExistsError):
        os.link(partial, path)
    partial.unlink()
