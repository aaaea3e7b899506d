"""Prints what the account replaces and extends in moto: ``python -m local_account.server.replaced [--write FILE]``.

Installs all services of an account in an empty folder, without serving, and asks the register. ``--write`` puts the
lists into a Markdown file, between the two lines that mark them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from local_account.account import Account
from local_account.base.errors import AccountError
from local_account.base.replacements import table
from local_account.server.application import Application
from local_account.server.main import make_application

MARK = "printed by `python -m local_account.server.replaced`"
END = "<!-- end -->\n"
PORT = 5055  # nobody listens


def between_marks(page: str, mark: str, lists: str) -> str:
    """A page with the lists between its line ``<!-- mark -->`` and the next ``<!-- end -->``.

    Raises AccountError when it lacks one of them.
    """
    before, begin, rest = page.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise AccountError(f"the page lacks the line {END.strip() if begin else f'<!-- {mark} -->'} for the lists")
    return f"{before}{begin}{lists}{end}{after}"


def tell(module: str, doc: str | None, write: Callable[[Application, Path | None], None]) -> None:
    """Run a command that says something of the account: install it in an empty folder, then ``write`` and end.

    ``write`` is given the page of the option ``--write``, or None to print.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    parser.add_argument("--write", type=Path, help="the page that has the lists")
    page: Path | None = parser.parse_args().write
    with tempfile.TemporaryDirectory(prefix="scones-lists-") as folder:
        try:
            write(make_application(Account(Path(folder), PORT)), page)
        except AccountError as error:
            sys.exit(f"local_account: {error}")
    sys.stdout.flush()
    os._exit(0)  # the services' threads still run


def write_lists(application: Application, page: Path | None) -> None:
    """Print the lists, or write them; some services have their part once they are loaded."""
    application.warm_up()
    if page is None:
        sys.stdout.write(table())
    else:
        page.write_text(between_marks(page.read_text(encoding="utf-8"), MARK, table()), encoding="utf-8")


if __name__ == "__main__":
    tell("local_account.server.replaced", __doc__, write_lists)
