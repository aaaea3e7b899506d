"""What a variant serves: its container definition, taken from the model, and the model data, brought to its folder.

Runs in the server process; reads S3 through the account's own client, writes below the folder it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.base.archives.tars import ArchiveError, extract_tar
from local_account.base.images import repository
from local_account.protocol.actions import ServiceError
from local_account.sagemaker.records import Container, ModelPackageRecord
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_sagemaker.type_defs import (
        ContainerDefinitionOutputTypeDef,
        ModelPackageContainerDefinitionOutputTypeDef,
    )

    Definition = ContainerDefinitionOutputTypeDef | ModelPackageContainerDefinitionOutputTypeDef


class StartError(Exception):
    """A variant cannot start; the message becomes the endpoint's FailureReason."""


def container_of(sagemaker: SageMaker, model_name: str) -> Container:
    """The container of ``CreateModel``; one made from a model package takes what the package's specification says."""
    model = sagemaker.models.get(model_name)
    if model is None:
        raise ServiceError(f'Could not find model "{sagemaker.arn("model/" + model_name)}".')
    definitions = [model["PrimaryContainer"]] if "PrimaryContainer" in model else model.get("Containers", [])
    if len(definitions) != 1:
        raise ServiceError(
            f"Model {model_name} has {len(definitions)} containers; the stand-in account serves only one."
        )
    named = definitions[0]
    definition: Definition = _from_package(sagemaker, named) if "ModelPackageName" in named else named
    source = definition["ModelDataSource"].get("S3DataSource") if "ModelDataSource" in definition else None
    image = sagemaker.account.images.get(repository(definition.get("Image", "")))
    return Container(
        image=definition.get("Image", ""),
        model_data=source["S3Uri"] if source else definition.get("ModelDataUrl", ""),
        compressed=source is None or source["CompressionType"] == "Gzip",
        environment={**(image.serving_environment() if image else {}), **definition.get("Environment", {})},
        role=model.get("ExecutionRoleArn", ""),
        isolated=bool(model.get("EnableNetworkIsolation")),
    )


def _from_package(
    sagemaker: SageMaker, definition: ContainerDefinitionOutputTypeDef
) -> ModelPackageContainerDefinitionOutputTypeDef:
    name = definition["ModelPackageName"]
    packages = sagemaker.model_packages
    package = packages.get(name) or packages.get(sagemaker.arn(f"model-package/{name}"))
    if package is None:
        raise ServiceError(f"ModelPackage {name} does not exist.")
    containers = _containers(package, definition.get("InferenceSpecificationName", ""))
    if len(containers) != 1:
        raise ServiceError(
            f"Model package {name} has {len(containers)} containers; the stand-in account serves one container."
        )
    environment = containers[0].get("Environment", {}) | definition.get("Environment", {})
    return {**containers[0], "Environment": environment}


def _containers(package: ModelPackageRecord, name: str) -> list[ModelPackageContainerDefinitionOutputTypeDef]:
    """Those of the package's specification, or of the additional one that is named."""
    if name:
        others = package.get("AdditionalInferenceSpecifications", [])
        return next((one["Containers"] for one in others if one["Name"] == name), [])
    return package["InferenceSpecification"]["Containers"] if "InferenceSpecification" in package else []


def fetch_model_data(account: Account, container: Container, root: Path) -> Path:
    """Bring the model data to ``root``/model and return that folder; raises StartError."""
    folder = root / "model"
    folder.mkdir(parents=True)
    address = urlsplit(container["model_data"])
    if not container["model_data"]:
        return folder
    if address.scheme != "s3":
        raise StartError(f"Model data must lie in S3, its location is {container['model_data']!r}.")
    key = address.path.lstrip("/")
    client = account.client("s3", container.get("role", ""))  # state of an older version has none
    try:
        if not container["compressed"]:
            _fetch_folder(client, address.netloc, key, folder)
            return folder
        archive = root / "model.tar.gz"
        client.download_file(address.netloc, key, str(archive))
    except (BotoCoreError, ClientError) as error:
        raise _not_found("model data", container["model_data"], error) from error
    _extract("model data archive", container["model_data"], archive, folder)
    return folder


def fetch_code(account: Account, container: Container, root: Path) -> None:
    """Bring a script that does not lie in the model archive to ``root``/code; raises StartError.

    The images of scikit-learn and XGBoost fetch what SAGEMAKER_SUBMIT_DIRECTORY names in S3 (``sourcedir.tar.gz``);
    for other frameworks the SageMaker SDK packs the script into the model archive, and that one counts.
    """
    uri, program = container["environment"].get("SAGEMAKER_SUBMIT_DIRECTORY", ""), _program(container)
    if not uri.startswith("s3://") or (root / "model" / "code" / program).is_file():
        return
    archive, address = root / "sourcedir.tar.gz", urlsplit(uri)
    try:
        client = account.client("s3", container.get("role", ""))
        client.download_file(address.netloc, address.path.lstrip("/"), str(archive))
    except (BotoCoreError, ClientError) as error:
        raise _not_found("the script's archive", uri, error) from error
    _extract("archive of the script", uri, archive, root / "code")


def _not_found(what: str, uri: str, error: Exception) -> StartError:
    return StartError(
        f"Could not find {what} at {uri}. Please ensure that the object exists and that the role can read it. ({error})"
    )


def _extract(what: str, uri: str, archive: Path, folder: Path) -> None:
    try:
        extract_tar(archive, folder)
    except (ArchiveError, OSError) as error:
        raise StartError(
            f"Failed to extract {what} from {uri}. Please ensure that it is a valid tar.gz file: {error}"
        ) from error
    archive.unlink()


def _program(container: Container) -> str:
    return container["environment"].get("SAGEMAKER_PROGRAM") or "inference.py"


def _fetch_folder(client: S3Client, bucket: str, prefix: str, folder: Path) -> None:
    found = False
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            relative = entry["Key"].removeprefix(prefix).lstrip("/") or Path(entry["Key"]).name
            target = folder / relative
            if entry["Key"].endswith("/") or not target.resolve().is_relative_to(folder.resolve()):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, entry["Key"], str(target))
            found = True
    if not found:
        raise StartError(f"Could not find model data at s3://{bucket}/{prefix}: there are no objects below it.")


def script_of(container: Container, model: Path) -> dict[str, str]:
    """The environment that names the script, as the toolkit defaults it; StartError when the archive lacks it."""
    program = _program(container)
    directory = container["environment"].get("SAGEMAKER_SUBMIT_DIRECTORY") or "/opt/ml/model/code"
    if directory.startswith("s3://") and (model.parent / "code").is_dir():
        directory = "/opt/ml/code"
    elif directory.startswith(("s3://", "file://")):
        directory = "/opt/ml/model/code"  # the SageMaker SDK repacks the script into the archive before it deploys
    here = (
        model.parent / Path(directory).relative_to("/opt/ml") if directory.startswith("/opt/ml/") else Path(directory)
    )
    if not (here / program).is_file():
        raise StartError(
            f"The model archive {container['model_data'] or '(none)'} has no {Path(directory).name}/{program}, and the "
            f"stand-in account cannot run the image {container['image'] or '(none)'} without it: add the script, or "
            "name it in SAGEMAKER_PROGRAM and SAGEMAKER_SUBMIT_DIRECTORY."
        )
    return {"SAGEMAKER_PROGRAM": program, "SAGEMAKER_SUBMIT_DIRECTORY": directory}
