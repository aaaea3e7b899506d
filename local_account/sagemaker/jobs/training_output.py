"""What the hosts of a training job left, gathered in S3: of files that have the same name the first host's stays.

Runs in the server process, in the job's thread. Authority: SageMaker developer guide, "How Amazon SageMaker AI
Processes Training Output": what several containers write to ``/opt/ml/model`` becomes one archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_account.base.archives.tars import pack_tar
from local_account.containers.container_view import LinkError
from local_account.sagemaker.jobs.cluster import Cluster
from local_account.sagemaker.jobs.files import JobFiles, TransferError

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import OutputDataConfigTypeDef

RESULTS, MODEL = "output/data", "model"


@dataclass(frozen=True)
class TrainingOutput:
    """Where a job's archives go; ``scratch`` is a folder of the job that no host sees."""

    files: JobFiles
    cluster: Cluster
    config: OutputDataConfigTypeDef
    uri: str
    scratch: Path

    def upload_results(self) -> None:
        """Upload ``output.tar.gz`` where a host has results. Raises TransferError."""
        if any(True for _ in self._members(RESULTS)):
            self._upload_archive(RESULTS, "output.tar.gz")

    def upload_model(self) -> str:
        """Upload the model as an archive, or its files one by one; answers where it is. Raises TransferError."""
        if self.config.get("CompressionType") != "NONE":
            return self._upload_archive(MODEL, "model.tar.gz")
        uri = f"{self.uri}/model/"
        for host in reversed(self.cluster.hosts):
            self.files.upload(host.view, host.root / MODEL, uri, self._key)
        return uri

    @property
    def _key(self) -> str:
        return self.config.get("KmsKeyId", "")

    def _upload_archive(self, folder: str, name: str) -> str:
        archive, uri = self.scratch / name, f"{self.uri}/{name}"
        try:
            pack_tar(self._members(folder), archive)
        except LinkError as error:
            raise TransferError(f"ClientError: Data upload failed: {error}") from error
        self.files.upload_object(archive, uri, self._key)
        return uri

    def _members(self, folder: str) -> Iterator[tuple[Path, str]]:
        seen: set[str] = set()
        for host in self.cluster.hosts:
            if not host.view.real(host.root / folder).is_dir():
                continue
            for path, name in host.view.members(host.root / folder):
                if name not in seen:
                    seen.add(name)
                    yield path, name
