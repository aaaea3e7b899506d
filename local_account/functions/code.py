"""Where a function's code lies on disk: deployed zips and layers, unpacked once a content hash.

Runs in the server process; writes ``<state>/functions/<sha256>/`` (a zip's files), ``<state>/functions/runtime/``
(boto3 and what it needs, as AWS's Python runtimes bring them) and one folder for each layer of ``functions.layers``.
The latter two hold symbolic links into this interpreter's packages, so that a function sees these and nothing else that
happens to be installed beside the account.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from local_account.base.archives.zips import ZipError, ZipLimits, ZipTooLargeError, extract_zip

# The unzipped size that AWS allows a function with its layers: lambda/latest/dg/gettingstarted-limits.html. The number
# of files is a cap of the stand-in's own.
LIMITS = ZipLimits(250 * 1024 * 1024, 200_000)
RUNTIME_DISTRIBUTIONS = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")


class CodeError(Exception):
    """A zip that cannot be a function's code; the message says why."""


class CodeStore:
    """Unpacks zips, each only once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._linked: set[str] = set()

    def unpack(self, digest: str, content: bytes) -> Path:
        """The folder with the files of the zip ``content``, whose SHA-256 is ``digest`` (hexadecimal)."""
        target = self.folder / digest
        with self._lock:
            if not target.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.folder))
                try:
                    _extract(content, partial)
                    partial.rename(target)
                except BaseException:
                    shutil.rmtree(partial, ignore_errors=True)
                    raise
        return target

    def layer_paths(self, folder: Path) -> list[Path]:
        """The folders of an unpacked layer that Python looks into."""
        candidates = [folder / "python", *sorted(folder.glob("python/lib/python3.*/site-packages"))]
        return [path for path in candidates if path.is_dir()]

    def runtime_packages(self) -> Path:
        """The folder with what AWS's runtime brings: boto3 and its dependencies."""
        return self.installed("runtime", RUNTIME_DISTRIBUTIONS)

    def installed(self, name: str, distributions: tuple[str, ...]) -> Path:
        """The folder ``name`` with links to packages that are installed beside the account."""
        folder = self.folder / name
        with self._lock:
            if name not in self._linked:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True, mode=0o700)
                for distribution in distributions:
                    _link_distribution(distribution, folder)
                self._linked.add(name)
        return folder


def _link_distribution(name: str, folder: Path) -> None:
    distribution = importlib.metadata.distribution(name)
    tops = {PurePosixPath(file).parts[0] for file in distribution.files or [] if not str(file).startswith("..")}
    for top in tops - {"__pycache__"}:
        with suppress(FileExistsError):
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())


def _extract(content: bytes, folder: Path) -> None:
    try:
        extract_zip(io.BytesIO(content), folder, LIMITS)
    except ZipTooLargeError as error:
        message = f"Unzipped size must be smaller than {LIMITS.total_bytes} bytes, but it is {error.total_bytes} bytes"
        raise CodeError(message) from error
    except ZipError as error:
        message = "Could not unzip uploaded file. Please check your file, then try to upload again"
        said = f"{message}." if not zipfile.is_zipfile(io.BytesIO(content)) else f"{message}: it {error}"
        raise CodeError(said) from error


def check_together(function: bytes, layers: Iterable[bytes]) -> None:
    """Refuse a function whose zip and layers are too large together. They were unpacked before; raises CodeError."""
    size = sum(unpacked_bytes(content) for content in (function, *layers))
    if size > LIMITS.total_bytes:
        raise CodeError(
            f"Function code combined with layers exceeds the maximum allowed size of {LIMITS.total_bytes} bytes. "
            f"The actual size is {size} bytes."
        )


def unpacked_bytes(content: bytes) -> int:
    """The size of a zip's files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(member.file_size for member in archive.infolist())


def wrapper(variables: Mapping[str, str], folder: Path, layers: Iterable[Path]) -> tuple[str, ...]:
    """The command that starts the runtime, where AWS_LAMBDA_EXEC_WRAPPER names a script of the zip or of a layer.

    Raises CodeError for one that neither has. Source: lambda/latest/dg/runtimes-modify.html, "Wrapper scripts".
    """
    path = str(variables.get("AWS_LAMBDA_EXEC_WRAPPER", ""))
    if not path:
        return ()
    kept = list(layers)
    roots = [("/var/task/", folder), *(("/opt/", layer) for layer in kept)]
    places = (root / path.removeprefix(start) for start, root in roots if path.startswith(start))
    inside = (place for place in places if any(place.resolve().is_relative_to(root) for _, root in roots))
    script = next((place for place in inside if place.is_file()), None)
    if script is None:
        raise CodeError(f"AWS_LAMBDA_EXEC_WRAPPER names {path}, which neither the function's zip nor a layer has")
    return (str(script),) if os.access(script, os.X_OK) else ("/bin/bash", str(script))
