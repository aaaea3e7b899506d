"""Models: which container and which model archive (or model package) an endpoint runs.

Runs in the server process; state: the table ``models``. Who starts them is ``endpoints``.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from local_account.authority.authority import AccessDeniedError
from local_account.sagemaker.jobs.files import TransferError, split_uri
from local_account.sagemaker.network import check_network
from local_account.sagemaker.service import Resource, SageMaker, SageMakerError, listing, not_found, now
from local_account.sagemaker.tags import drop_tags, set_tags


def check_model_data(sagemaker: SageMaker, container: dict[str, Any], role: str = "") -> None:
    """Refuse a container whose model archive does not exist, or that the role may not read, as AWS does."""
    uri = container.get("ModelDataUrl")
    if uri is None or container.get("Mode") == "MultiModel":
        return
    try:
        bucket, key = split_uri(uri)
        sagemaker.account.client("s3").head_object(Bucket=bucket, Key=key)
        if role:
            sagemaker.account.authority.demand(role, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
    except AccessDeniedError as error:
        raise SageMakerError(
            f'Could not access model data at {uri}. Please ensure that the role "{role}" exists and that its trust '
            'relationship policy allows the action "sts:AssumeRole" for the service principal '
            '"sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the object '
            f"is located in {sagemaker.account.region}. ({error.message})"
        ) from error
    except (TransferError, ClientError) as error:
        raise SageMakerError(f"Could not find model data at {uri}.") from error


def _check_container(sagemaker: SageMaker, container: dict[str, Any], role: str) -> None:
    arn = container.get("ModelPackageName")
    if arn is None:
        if "Image" not in container:
            raise SageMakerError("A container needs an Image or a ModelPackageName.")
        check_model_data(sagemaker, container, role)
        return
    package = sagemaker.table("model-packages").get(arn) or sagemaker.table("model-packages").get(
        sagemaker.arn(f"model-package/{arn}")
    )
    if package is None:
        raise not_found(f'model package "{arn}"')
    if package.get("ModelApprovalStatus", "Approved") != "Approved":
        raise SageMakerError(
            f"Model package {package['ModelPackageArn']} is {package['ModelApprovalStatus']}; only a model package "
            "that is Approved can be deployed."
        )


def install(sagemaker: SageMaker) -> None:
    models = "models"

    def find(name: str) -> Resource:
        model = sagemaker.table(models).get(name)
        if model is None:
            raise not_found(f'model "{sagemaker.arn(f"model/{name}")}"')
        return model

    def create(request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelName"]
        if ("Containers" in request) == ("PrimaryContainer" in request):
            raise SageMakerError("Expected either PrimaryContainer or Containers.")
        check_network(request)
        containers = request.get("Containers") or [request.get("PrimaryContainer", {})]
        for container in containers:
            _check_container(sagemaker, container, request.get("ExecutionRoleArn", ""))
        arn = sagemaker.arn(f"model/{name}")
        with sagemaker.lock:
            if name in sagemaker.table(models):
                raise SageMakerError(f'Cannot create already existing model "{arn}".')
            sagemaker.table(models)[name] = {
                "EnableNetworkIsolation": False,
                **{k: v for k, v in request.items() if k != "Tags"},
                "ModelArn": arn,
                "CreationTime": now(),
            }
            set_tags(sagemaker, arn, request.get("Tags"))
            sagemaker.changed()
        return {"ModelArn": arn}

    def describe(request: dict[str, Any]) -> dict[str, Any]:
        return find(request["ModelName"])

    def list_models(request: dict[str, Any]) -> dict[str, Any]:
        fields = ["ModelName", "ModelArn", "CreationTime"]
        return listing(sagemaker.table(models).values(), request, key="Models", fields=fields, name_field="ModelName")

    def delete(request: dict[str, Any]) -> None:
        with sagemaker.lock:
            model = find(request["ModelName"])
            del sagemaker.table(models)[model["ModelName"]]
            drop_tags(sagemaker, model["ModelArn"])
            sagemaker.changed()

    sagemaker.implement(
        {"CreateModel": create, "DescribeModel": describe, "ListModels": list_models, "DeleteModel": delete}
    )
