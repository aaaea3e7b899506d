"""Prints what the account replaces and extends in moto: ``python -m local_account.server.replaced [--write FILE]``.

Installs all services of an account in an empty folder, without serving, and asks the register. ``--write`` puts the
lists into a Markdown file, between the two lines that mark them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from local_account.account import Account
from local_account.base.errors import AccountError
from local_account.base.replacements import table
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


def main(argv: list[str] | None = None) -> None:
    """Print the lists, or write them."""
    parser = argparse.ArgumentParser(prog="python -m local_account.server.replaced", description=__doc__)
    parser.add_argument("--write", type=Path, help="the page that has the lists")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="scones-replaced-") as folder:
        try:
            make_application(Account(Path(folder), PORT))
            if arguments.write:
                page = arguments.write.read_text(encoding="utf-8")
                arguments.write.write_text(between_marks(page, MARK, table()), encoding="utf-8")
            else:
                sys.stdout.write(table())
        except AccountError as error:
            sys.exit(f"local_account: {error}")
    sys.stdout.flush()
    os._exit(0)  # the services' threads still run


if __name__ == "__main__":
    main()
