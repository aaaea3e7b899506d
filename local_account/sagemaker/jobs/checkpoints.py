"""What goes to S3 while a job runs: checkpoints, which come back, and outputs; and the interruption of a spot job.

Runs in the server process, in the job's thread. AWS copies ``CheckpointConfig.S3Uri`` into ``LocalPath`` before the
container starts and everything that changes there back to S3 while it runs (SageMaker developer guide, "Checkpoints in
Amazon SageMaker AI"). A file that is deleted in the folder stays in S3.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from local_account.containers.container_view import LinkError
from local_account.sagemaker.job_records import TrainingJobRecord
from local_account.sagemaker.jobs.checks import CHECKPOINTS_PATH
from local_account.sagemaker.jobs.cluster import Host
from local_account.sagemaker.jobs.files import JobFiles, TransferError
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import CheckpointConfigTypeDef

# Here nobody takes an instance back, so this tag on a running job does: `aws sagemaker add-tags --resource-arn ARN
# --tags Key=local-account:spot-interruption,Value=now`. The account removes it again. On AWS a tag changes nothing;
# there the Fault Injection Service interrupts.
INTERRUPTION_TAG = "local-account:spot-interruption"
SETTLED_S = 0.2


def streams(job: TrainingJobRecord) -> list[CheckpointConfigTypeDef]:
    """What a container writes for TensorBoard and the debugger, and where SageMaker keeps it while the job runs.

    The SageMaker SDK looks for it there (``latest_job_tensorboard_artifacts_path``, ``..._debugger_artifacts_path``).
    """
    found: list[CheckpointConfigTypeDef] = []
    for config, folder, name in (
        (job.get("TensorBoardOutputConfig"), "/opt/ml/output/tensorboard", "tensorboard-output"),
        (job.get("DebugHookConfig"), "/opt/ml/output/tensors", "debug-output"),
    ):
        if config:
            uri = f"{config['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/{name}"
            found.append({"S3Uri": uri, "LocalPath": config.get("LocalPath", folder)})
    return found


class Checkpoints:
    """The folder of one host and the S3 prefix that it is kept in, together with those of its peers."""

    def __init__(self, files: JobFiles, host: Host, config: CheckpointConfigTypeDef, kms_key: str = "") -> None:
        self._files, self._view = files, host.view
        self._folder = host.root / Path(config.get("LocalPath", CHECKPOINTS_PATH)).relative_to("/opt/ml")
        self._uri, self._kms_key = config["S3Uri"].rstrip("/"), kms_key
        self._saved: dict[str, tuple[int, int]] = {}

    def restore(self) -> None:
        """Fill the folder from S3. Raises TransferError."""
        # The slash, because without one a prefix names its neighbours too.
        self._files.download(f"{self._uri}/", self._folder, may_be_empty=True)
        self._saved = {name: (path.stat().st_mtime_ns, path.stat().st_size) for path, name in self._look(last=True)}

    def save(self, *, last: bool = False) -> None:
        """Upload what changed; unless it is the last time, not what may still be in the middle of being written."""
        settled_ns = time.time_ns() - (0 if last else int(SETTLED_S * 1e9))
        for path, name in self._look(last=last):
            with suppress(FileNotFoundError):  # renamed while we looked: the next look finds its new name
                version = path.stat().st_mtime_ns, path.stat().st_size
                if self._saved.get(name) != version and version[0] <= settled_ns:
                    self._files.upload_object(path, f"{self._uri}/{name}", self._kms_key)
                    self._saved[name] = version

    def _look(self, *, last: bool) -> Iterator[tuple[Path, str]]:
        """The files that the container sees; what changes under the look is left for the next one, if there is one."""
        try:
            yield from self._view.files(self._folder)
        except FileNotFoundError:
            return
        except LinkError as error:
            if last:
                raise TransferError(f"ClientError: Data upload failed: {error}") from error


def take_interruption(sagemaker: SageMaker, arn: str) -> bool:
    """Whether somebody asked to interrupt this job since the last call."""
    with sagemaker.lock:
        tags = sagemaker.tags.get(arn, {})
        if INTERRUPTION_TAG not in tags:
            return False
        del tags[INTERRUPTION_TAG]
        sagemaker.changed()
    return True
