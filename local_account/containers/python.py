"""A container's Python: a throwaway virtual environment over the packages the account runs with.

Runs in the server process. ``pip install`` inside a container lands in the throwaway folder and never changes the
user's environment; packages that are already there count as installed, in a container also for a locked version. The
account's site-packages are put on the path as a plain folder, so that their ``.pth`` files are not read: an editable
install beside them stays invisible, as it would be in an image.
"""

from __future__ import annotations

import ensurepip
import importlib.util
import os
import site
import sys
from pathlib import Path

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_PIP = '#!/bin/sh\nexec "$(dirname "$0")/python3" -m pip "$@"\n'


def make_environment(folder: Path) -> None:
    """Make the environment in ``folder`` (a millisecond; ``python -m venv`` starts an interpreter)."""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).absolute()  # what venv itself links to
    packages = folder / "lib" / f"python{_VERSION}" / "site-packages"
    packages.mkdir(parents=True)
    if sys.platform == "linux" and sys.maxsize > 2**32:
        (folder / "lib64").symlink_to("lib")
    scripts = folder / "bin"
    scripts.mkdir()
    for name in ("python", "python3", f"python{_VERSION}"):
        (scripts / name).symlink_to(executable)
    for name in ("pip", "pip3", f"pip{_VERSION}"):
        (scripts / name).write_text(_PIP)
        (scripts / name).chmod(0o755)
    (folder / "pyvenv.cfg").write_text(
        f"home = {executable.parent}\ninclude-system-site-packages = false\n"
        f"version = {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}\n"
    )
    (packages / "account.pth").write_text("".join(f"{path}\n" for path in _account_packages()))


def let_locked_packages_stand(folder: Path) -> None:
    """Have pip take the account's version of a package for the locked one: see ``containers.pip``."""
    package = folder / "lib" / f"python{_VERSION}" / "site-packages" / "pip"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").symlink_to(Path(__file__).with_name("pip.py").absolute())


def _account_packages() -> list[str]:
    """The folders the account imports installed packages from, and pip's bundled wheel where pip is not installed."""
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    found = [folder for folder in folders if os.path.isdir(folder)]  # noqa: PTH112  # site answers strings
    if importlib.util.find_spec("pip") is None:
        found += [str(wheel) for wheel in Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")]
    return found
