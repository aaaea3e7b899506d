"""Walks every operation that the account answers: ``python -m tests.unit.protocol.walks SEED NUMBER [SERVICE...]``.

Runs an account inside this process, without a port, sends it generated requests as its owner, and prints each answer
that no service of AWS would give as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from itertools import chain
from pathlib import Path

from botocore.credentials import Credentials

from local_account.account import Account
from local_account.server.application import MOTO_MODULES
from local_account.server.main import make_application
from tests.unit.protocol.foreign_walk import walk_elsewhere
from tests.unit.protocol.walk import FrontDoor, prepare, walk


def main(arguments: list[str]) -> None:
    seed, number, *services = arguments
    with tempfile.TemporaryDirectory(prefix="scones-walk-") as folder:
        account = Account(Path(folder), 5055)
        application = make_application(account)
        threading.Thread(target=account.snapshots.run, args=(account.stopping,), daemon=True).start()
        door = FrontDoor(application, Credentials(account.owner.access_key, account.owner.secret_key))
        prepare(door)
        chosen = services or [*MOTO_MODULES, *application.own]
        requests = 0
        elsewhere = walk_elsewhere(application, door, chosen)
        for found in chain(elsewhere, walk(application, door, int(seed), int(number), chosen)):
            requests += 1
            if found:
                sys.stdout.write(f"{found.line()}\n")
                sys.stdout.flush()
        sys.stdout.write(json.dumps({"requests": requests}) + "\n")
        account.children.stop_all()
        sys.stdout.flush()
        os._exit(0)  # the services' threads still run


if __name__ == "__main__":
    main(sys.argv[1:])
