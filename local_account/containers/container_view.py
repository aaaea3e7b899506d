"""What a container has left below ``/opt/ml``, as the container itself sees it: links lead where they led inside.

Runs in the server process, after the container or beside it. Nothing outside the job's own ``/opt/ml`` is read: what a
link names elsewhere was the container's, and is gone with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

OPT_ML = Path("/opt/ml")
MAX_LINKS = 40  # as many as Linux follows


class LinkError(Exception):
    """A link that leads to nothing which could be read; the message says which and where it leads."""


class ContainerView:
    """The folder ``root`` on this machine as a container's ``/opt/ml``."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def real(self, path: Path) -> Path:
        """Where on this machine the file lies that the container sees at ``path``; raises LinkError."""
        followed = 0
        left = list(reversed(path.relative_to(self._root).parts))
        at = self._root
        while left:
            part = left.pop()
            at = at.parent if part == ".." else at / part
            if not at.is_relative_to(self._root):
                raise self._error(path, "leads out of /opt/ml, of which alone files are kept")
            if not at.is_symlink():
                continue
            followed += 1
            if followed > MAX_LINKS:
                raise self._error(path, "leads around in a circle")
            target = at.readlink()
            at = at.parent
            if target.is_absolute():
                target, at = self._below(path, target), self._root
            left += reversed(target.parts)
        return at

    def _below(self, path: Path, target: Path) -> Path:
        """An absolute target below ``/opt/ml``; without mounts of its own a container knows ``root`` by its name."""
        for base in (OPT_ML, self._root):
            if target.is_relative_to(base):
                return target.relative_to(base)
        raise self._error(path, f"leads to {target}, out of /opt/ml, of which alone files are kept")

    def _error(self, path: Path, what: str) -> LinkError:
        return LinkError(f"the link {OPT_ML / path.relative_to(self._root)} {what}")

    def files(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Every file the container sees below ``folder``: where it lies here, and its name below the folder, sorted.

        Raises LinkError for a link that leads nowhere, or out of ``/opt/ml``.
        """
        return (found for found in self._walk(folder, "", ()) if found[0].is_file())

    def members(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """What an archive of ``folder`` holds: files, folders, and those links that lead to something beside them."""
        return self._walk(folder, "", (), kept_below=self.real(folder))

    def _walk(
        self, folder: Path, prefix: str, above: tuple[Path, ...], kept_below: Path | None = None
    ) -> Iterator[tuple[Path, str]]:
        here = self.real(folder)
        if here in above:
            raise self._error(folder, "leads to a folder that it lies in")
        for path in sorted(here.iterdir()):
            real, name = (self.real(path) if path.is_symlink() else path), f"{prefix}{path.name}"
            if path.is_symlink() and not real.exists():
                raise self._error(path, "leads to nothing")
            if kept_below and real != path and (kept_below / name) == path and _stays_beside(path, real, kept_below):
                yield path, name
            elif real.is_dir():
                yield real, name
                yield from self._walk(path, f"{name}/", (*above, here), kept_below)
            elif real.is_file():
                yield real, name


def _stays_beside(link: Path, real: Path, folder: Path) -> bool:
    """Whether a link means the same in an archive of ``folder``."""
    return not link.readlink().is_absolute() and real.is_relative_to(folder)
