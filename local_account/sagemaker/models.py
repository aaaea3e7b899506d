"""Models: which container and which model archive (or model package) an endpoint runs.

Runs in the server process; state: the table ``models``. Who starts them is ``endpoints``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.authority.authority import AccessDeniedError
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import record_of, without
from local_account.protocol.service import now
from local_account.sagemaker.jobs.files import TransferError, split_uri
from local_account.sagemaker.network import check_network
from local_account.sagemaker.records import ModelRecord
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        ContainerDefinitionOutputTypeDef,
        ContainerDefinitionUnionTypeDef,
        CreateModelInputTypeDef,
        DeleteModelInputTypeDef,
        DescribeModelInputTypeDef,
        ListModelsInputTypeDef,
        ModelPackageContainerDefinitionUnionTypeDef,
    )


def check_model_data(
    sagemaker: SageMaker,
    container: ContainerDefinitionUnionTypeDef | ModelPackageContainerDefinitionUnionTypeDef,
    role: str = "",
) -> str:
    """Refuse a container whose model archive does not exist, or that the role may not read, as AWS does.

    Answers the archive's ETag, empty without an archive. Raises ServiceError.
    """
    uri = container.get("ModelDataUrl")
    if uri is None:
        return ""
    try:
        bucket, key = split_uri(uri)
        found = sagemaker.account.client("s3").head_object(Bucket=bucket, Key=key)
        if role:
            sagemaker.account.authority.demand(role, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
        return found["ETag"].strip('"')
    except AccessDeniedError as error:
        raise ServiceError(
            f'Could not access model data at {uri}. Please ensure that the role "{role}" exists and that its trust '
            'relationship policy allows the action "sts:AssumeRole" for the service principal '
            '"sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the object '
            f"is located in {sagemaker.account.region}. ({error.message})"
        ) from error
    except (TransferError, ClientError) as error:
        raise ServiceError(f"Could not find model data at {uri}.") from error


def _check_container(sagemaker: SageMaker, container: ContainerDefinitionUnionTypeDef, role: str) -> None:
    arn = container.get("ModelPackageName")
    if arn is None:
        if "Image" not in container:
            raise ServiceError("A container needs an Image or a ModelPackageName.")
        check_model_data(sagemaker, container, role)
        return
    package = sagemaker.model_packages.get(arn) or sagemaker.model_packages.get(sagemaker.arn(f"model-package/{arn}"))
    if package is None:
        raise ServiceError(f'Could not find model package "{arn}".')
    name = container.get("InferenceSpecificationName")
    if name and name not in [one.get("Name") for one in package.get("AdditionalInferenceSpecifications", [])]:
        raise ServiceError(f"Model package {package['ModelPackageArn']} has no inference specification {name!r}.")
    if package.get("ModelApprovalStatus", "Approved") != "Approved":
        raise ServiceError(
            f"Model package {package['ModelPackageArn']} is {package['ModelApprovalStatus']}; only a model package "
            "that is Approved can be deployed."
        )


def _shown(container: ContainerDefinitionOutputTypeDef) -> Reply:
    """A container with its defaults; an archive is told as ModelDataSource as well."""
    told: dict[str, object] = {"Mode": "SingleModel", **container} if "Image" in container else {**container}
    if "ModelDataUrl" in container:
        source = {"S3Uri": container["ModelDataUrl"], "S3DataType": "S3Object", "CompressionType": "Gzip"}
        told.setdefault("ModelDataSource", {"S3DataSource": source})
    return told


class Models:
    """The actions on models."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker

    @action("CreateModel")
    def create(self, request: CreateModelInputTypeDef) -> Reply:
        """A model that could not run is refused here, not when an endpoint starts it."""
        name = request["ModelName"]
        if ("Containers" in request) == ("PrimaryContainer" in request):
            raise ServiceError("Expected either PrimaryContainer or Containers.")
        containers = list(request.get("Containers", ()))
        if "PrimaryContainer" in request:
            containers.append(request["PrimaryContainer"])
        if not containers:
            raise ServiceError("A model needs at least one container.")
        check_network(request)
        for container in containers:
            _check_container(self._sagemaker, container, request.get("ExecutionRoleArn", ""))
        arn = self._arn(name)
        with self._sagemaker.lock:
            if name in self._sagemaker.models:
                raise ServiceError(f'Cannot create already existing model "{arn}".')
            self._sagemaker.models[name] = record_of(
                ModelRecord,
                {"EnableNetworkIsolation": False},
                without(request, "Tags"),
                {"ModelArn": arn, "CreationTime": now()},
            )
            set_tags(self._sagemaker, arn, request.get("Tags"))
            self._sagemaker.changed()
        return {"ModelArn": arn}

    @action("DescribeModel")
    def describe(self, request: DescribeModelInputTypeDef) -> Reply:
        """Answers the model as it was created, with what its containers left out."""
        model = self._find(request["ModelName"])
        shown: dict[str, object] = dict(model)
        if "PrimaryContainer" in model:
            shown["PrimaryContainer"] = _shown(model["PrimaryContainer"])
        if "Containers" in model:
            shown["Containers"] = [_shown(container) for container in model["Containers"]]
        return shown

    @action("ListModels")
    def list(self, request: ListModelsInputTypeDef) -> Reply:
        """Answers a page of models, the newest first."""
        fields = ["ModelName", "ModelArn", "CreationTime"]
        return listing(self._sagemaker.models.values(), request, key="Models", fields=fields, name_field="ModelName")

    @action("DeleteModel")
    def delete(self, request: DeleteModelInputTypeDef) -> None:
        """Endpoints keep what they were made from, so that a model in use may go, as on AWS."""
        with self._sagemaker.lock:
            model = self._find(request["ModelName"])
            del self._sagemaker.models[model["ModelName"]]
            drop_tags(self._sagemaker, model["ModelArn"])
            self._sagemaker.changed()

    def _find(self, name: str) -> ModelRecord:
        model = self._sagemaker.models.get(name)
        if model is None:
            raise ServiceError(f'Could not find model "{self._arn(name)}".')
        return model

    def _arn(self, name: str) -> str:
        return self._sagemaker.arn(f"model/{name}")
