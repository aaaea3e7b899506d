"""What a build hands back: its artifacts in S3. Runs in the server process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from local_account.base.arns import last_part
from local_account.base.clients import ServiceClients
from local_account.codebuild.buildspec import Buildspec
from local_account.codebuild.files import FilesError, select, zip_files
from local_account.codebuild.records import BuildProjectRecord, BuildRecord

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import PutObjectRequestTypeDef


def upload_artifacts(
    build: BuildRecord, project: BuildProjectRecord, spec: Buildspec, folder: Path, clients: ServiceClients
) -> str:
    """Put the artifacts where the project wants them; their ARN in S3, or nothing for a project without any.

    ``folder`` is the build's. Raises FilesError when there are no files to put, ClientError as PutObject does.
    """
    target = project["artifacts"]
    if target["type"] == "NO_ARTIFACTS":
        return ""
    if spec.artifacts is None:
        raise FilesError("the project has artifacts, its buildspec says nothing of them")
    chosen = select(folder / "src", spec.artifacts)
    bucket, key = target["location"], _key(build, project)
    if target.get("packaging") == "ZIP":
        archive = folder / "artifacts.zip"
        zip_files(chosen, archive)
        chosen = [(archive, "")]
    for path, name in chosen:
        with path.open("rb") as file:
            request: PutObjectRequestTypeDef = {"Bucket": bucket, "Key": f"{key}/{name}" if name else key, "Body": file}
            if build.get("encryptionKey") and not target.get("encryptionDisabled"):
                request |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": build["encryptionKey"]}
            clients("s3").put_object(**request)
    return f"arn:aws:s3:::{bucket}/{key}"


def _key(build: BuildRecord, project: BuildProjectRecord) -> str:
    target = project["artifacts"]
    parts = [target.get("path", "").strip("/")]
    if target.get("namespaceType") == "BUILD_ID":
        parts.append(last_part(build["id"]))
    return "/".join(part for part in [*parts, target.get("name", build["projectName"])] if part)
