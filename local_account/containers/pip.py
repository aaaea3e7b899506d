"""``python3 -m pip`` inside a container: what is locked there and installed here counts as installed.

Runs in containers, as ``pip/__main__.py`` of their environment (see ``container_python``); standard library only. On
AWS a locked requirements file, each line with digests, is for the image's Python. Here the image is this machine's
Python with the account's packages: one of these stands for the locked version, and the log says which. Any other line
is pip's own to install, digests included.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import runpy
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;]+).*--hash=", re.DOTALL)
_FILE_OPTIONS = ("-r", "--requirement")


def requirements(text: str) -> Iterator[str]:
    """The lines of a requirements file without its comments, continued ones joined."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        wanted = re.sub(r"(^|\s)#.*", "", line).strip()
        if wanted:
            yield wanted


def missing(text: str) -> list[str]:
    """What of a requirements file is left to pip; tells of each package that stands for another version."""
    left = []
    for wanted in requirements(text):
        pin = _PIN.match(wanted)
        here = _installed(pin[1]) if pin else None
        if pin is None or here is None:
            left.append(wanted)
        elif here.partition("+")[0] != pin[2].partition("+")[0]:
            sys.stdout.write(
                f"{pin[1]} {here} stands for the locked {pin[2]}: this machine's packages are the image's\n"
            )
    return left


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def arguments(given: list[str], folder: Path) -> list[str] | None:
    """The arguments for pip, with files in ``folder`` in place of locked ones; None when nothing is left to install."""
    if given[:1] != ["install"]:
        return given
    new: list[str] = []
    satisfied = False
    for number, argument in enumerate(given):
        file = Path(argument) if number and given[number - 1] in _FILE_OPTIONS else None
        text = file.read_text(encoding="utf-8") if file and file.is_file() else ""
        if "--hash=" not in text:
            new.append(argument)
        elif left := missing(text):
            rest = folder / f"{number}.txt"
            rest.write_text("\n".join(left) + "\n", encoding="utf-8")
            new.append(str(rest))
        else:
            new.pop()
            satisfied = True
    nothing = satisfied and not set(new) & set(_FILE_OPTIONS) and all(word.startswith("-") for word in new[1:])
    return None if nothing else new


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        chosen = arguments(sys.argv[1:], Path(folder))
        if chosen is None:
            return
        sys.argv[1:] = chosen
        _import_the_other_pip()
        runpy.run_module("pip.__main__", run_name="__main__", alter_sys=True)


def _import_the_other_pip() -> None:
    """Import the account's pip, which stands behind this one on the path."""
    path, own = sys.path, str(Path(__file__).absolute().parent.parent)
    sys.path = [folder for folder in path if folder != own]
    sys.modules.pop("pip", None)
    importlib.import_module("pip")
    sys.path = path


if __name__ == "__main__":
    main()
