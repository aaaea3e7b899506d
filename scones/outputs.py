"""Whether results can be written where the user wants them: asked before the work that leads to them.

Runs on a laptop or in CodeBuild. Leaves nothing behind but what was there before.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from scones.errors import SconesError


def check_folder(folder: Path) -> None:
    """SconesError unless files can be written into ``folder``, which need not exist yet."""
    folder = folder.absolute()
    made: list[Path] = []
    try:
        for part in [p for p in (*reversed(folder.parents), folder) if not p.exists()]:
            part.mkdir()
            made.append(part)
        # Tried, because permissions alone do not tell: the disk may be read-only, the user may be root.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SconesError(f"{folder} cannot be written to ({error.strerror}): name another folder") from error
    finally:
        for part in reversed(made):
            part.rmdir()


def check_file(path: Path) -> None:
    """SconesError unless ``path`` can become a file."""
    if path.is_dir():
        raise SconesError(f"{path} is a folder: name a file")
    check_folder(path.parent)
