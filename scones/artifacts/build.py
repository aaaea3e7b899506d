"""What a deployment uploads: a zip for each Lambda function, a source archive for all containers, documents.

Runs on a laptop or in CodeBuild. Reads the repository, writes an artifact folder and the artifact bucket. The same
files always give the same bytes, and every key carries a digest of its content, so that an upload of something that
is there already is skipped and a key never changes its meaning.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scones.errors import SconesError
from scones.stage.connection import object_exists
from scones.stage.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CONTAINER_PACKAGES = ("imaging", "monitoring", "processing", "reporting", "serving", "training")
"""The packages in the source archive, each at its repository path."""

TRAINING_REQUIREMENTS = "training/requirements.txt"
"""Copied to the archive's root, because SageMaker's training toolkit installs the requirements.txt it finds there."""

LAMBDA_FOLDER = "lambdas"
DIGEST_CHARACTERS = 16

# Zip cannot express an earlier time; tar could, but one constant is enough.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o644
_LEFT_OUT = {"__pycache__", "tests"}


class ArtifactError(SconesError):
    """The repository lacks something that has to be uploaded."""


@dataclass(frozen=True)
class Artifact:
    """One object to upload. ``sha256`` is the digest of its content; the key carries its first 16 characters."""

    key: str
    data: bytes
    sha256: str

    def uri(self, bucket: str) -> str:
        """Return its address in a bucket."""
        return f"s3://{bucket}/{self.key}"


@dataclass(frozen=True)
class Artifacts:
    """Everything a deployment uploads before the stack exists."""

    source: Artifact
    functions: Mapping[str, Artifact]
    """Handler name, such as ``serialize_image`` -> its zip."""
    documents: Mapping[str, Artifact]
    """Document name, such as ``inference-workflow`` -> the document."""

    def all(self) -> list[Artifact]:
        """List every object to upload."""
        return [self.source, *self.functions.values(), *self.documents.values()]


def build(workflows: Mapping[str, str], root: Path = PROJECT_ROOT) -> Artifacts:
    """Pack the repository at ``root`` and the given state machines (name -> Amazon States Language)."""
    return Artifacts(
        source=source_archive(root),
        functions={handler: function_zip(handler, root) for handler in handlers(root)},
        documents={name: document(f"workflows/{name}-{{}}.json", text) for name, text in workflows.items()},
    )


def write(artifacts: Artifacts, folder: Path) -> list[Path]:
    """Write every artifact below ``folder`` at its key, for somebody who wants to look inside; returns the paths."""
    paths = []
    for artifact in artifacts.all():
        path = folder / artifact.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(artifact.data)
        paths.append(path)
    return paths


def upload(artifacts: Iterable[Artifact], s3: S3Client, bucket: str) -> list[str]:
    """Upload what the bucket does not hold yet; returns the keys that were uploaded."""
    missing = [artifact for artifact in artifacts if not object_exists(s3, bucket, artifact.key)]
    for artifact in missing:
        s3.put_object(Bucket=bucket, Key=artifact.key, Body=artifact.data, ServerSideEncryption="AES256")
    return [artifact.key for artifact in missing]


def handlers(root: Path = PROJECT_ROOT) -> list[str]:
    """The names of the Lambda functions: one file each in ``lambdas/``."""
    return sorted(path.stem for path in (root / LAMBDA_FOLDER).glob("*.py") if path.stem != "__init__")


def function_zip(handler: str, root: Path = PROJECT_ROOT) -> Artifact:
    """The zip of one function: its file and what it imports of the package, at their repository paths."""
    return packed(f"lambdas/{handler}-{{}}.zip", _read(root, _function_files(handler, root)))


def _function_files(handler: str, root: Path) -> list[str]:
    """The handler's file, then the modules of the package that it and they import, each with its packages."""
    waiting, found = [f"{LAMBDA_FOLDER}.{handler}"], set[str]()
    while waiting:
        parts = waiting.pop().split(".")
        packages = {"/".join([*parts[:depth], "__init__.py"]) for depth in range(1, len(parts))}
        name = "/".join(parts) + ".py"
        if name not in found:
            found |= {name, *packages}
            tree = ast.parse(_read(root, [name])[name])
            modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
            waiting += [module for module in modules if module.startswith(f"{LAMBDA_FOLDER}.")]
    return sorted(found)


def packed(key_pattern: str, files: Mapping[str, bytes]) -> Artifact:
    """A zip of ``files``. Its digest is that of the contents, because zlib's versions compress to different bytes."""
    buffer, contents = io.BytesIO(), hashlib.sha256()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, wherever this runs; else the permissions would be read differently
            info.external_attr = _FILE_MODE << 16
            archive.writestr(info, data)
            contents.update(f"{name} {len(data)}\n".encode() + data)
    digest = contents.hexdigest()
    return Artifact(key_pattern.format(digest[:DIGEST_CHARACTERS]), buffer.getvalue(), digest)


def source_archive(root: Path = PROJECT_ROOT) -> Artifact:
    """``source.tar.gz``: the container packages, and training's requirements.txt once more at the root."""
    names = sorted(_container_files(root))
    files = {**_read(root, names), "requirements.txt": _read(root, [TRAINING_REQUIREMENTS])[TRAINING_REQUIREMENTS]}
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            info.mode = _FILE_MODE
            archive.addfile(info, io.BytesIO(files[name]))
    return _artifact("source/{}/source.tar.gz", buffer.getvalue())


def _container_files(root: Path) -> Iterable[str]:
    for package in CONTAINER_PACKAGES:
        if not (root / package).is_dir():
            raise ArtifactError(f"the source archive needs the folder {root / package}, which does not exist")
        for path in (root / package).rglob("*"):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") or part in _LEFT_OUT for part in parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                yield "/".join(parts)


def _read(root: Path, names: Iterable[str]) -> dict[str, bytes]:
    try:
        return {name: (root / name).read_bytes() for name in names}
    except FileNotFoundError as error:
        raise ArtifactError(f"a file that has to be uploaded does not exist: {error.filename}") from error


def document(key_pattern: str, text: str) -> Artifact:
    """A text to upload; ``key_pattern`` has a place for the digest."""
    return _artifact(key_pattern, text.encode())


def _artifact(key_pattern: str, data: bytes) -> Artifact:
    sha256 = hashlib.sha256(data).hexdigest()
    return Artifact(key_pattern.format(sha256[:DIGEST_CHARACTERS]), data, sha256)
