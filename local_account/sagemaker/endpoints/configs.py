"""Endpoint configurations: CreateEndpointConfig, Describe, List, Delete.

Runs in the server process. What the stand-in account cannot serve (asynchronous inference, inference components) is
refused here, before an endpoint promises it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import chosen, record_of, without
from local_account.protocol.service import now
from local_account.sagemaker.endpoints.archive import container_of
from local_account.sagemaker.network import check_key
from local_account.sagemaker.records import EndpointConfigRecord
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateEndpointConfigInputTypeDef,
        DeleteEndpointConfigInputTypeDef,
        DescribeEndpointConfigInputTypeDef,
        ListEndpointConfigsInputTypeDef,
        ProductionVariantUnionTypeDef,
    )


class EndpointConfigs:
    """The actions on endpoint configurations; ``tables["endpoint-configs"]`` holds Describe's shapes by name."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker

    def get(self, name: str) -> EndpointConfigRecord:
        """A configuration by its name.

        Raises ServiceError when there is none.
        """
        config = self._sagemaker.endpoint_configs.get(name)
        if config is None:
            raise ServiceError(f'Could not find endpoint configuration "{self._arn(name)}".')
        return config

    def _arn(self, name: str) -> str:
        return self._sagemaker.arn(f"endpoint-config/{name.lower()}")

    @action("CreateEndpointConfig")
    def create(self, request: CreateEndpointConfigInputTypeDef) -> Reply:
        """Raises ServiceError for a name that is taken, and for what the account cannot serve."""
        name = request["EndpointConfigName"]
        _check(request)
        check_key(self._sagemaker.account, request, "KmsKeyId")
        if "DataCaptureConfig" in request:
            check_key(self._sagemaker.account, request["DataCaptureConfig"], "KmsKeyId")
        with self._sagemaker.lock:
            configs = self._sagemaker.endpoint_configs
            if name in configs:
                raise ServiceError(f'Cannot create already existing endpoint configuration "{self._arn(name)}".')
            for variant in _variants(request):
                container_of(self._sagemaker, variant["ModelName"])
                self._check_place(variant)
            config = configs[name] = record_of(
                EndpointConfigRecord,
                without(request, "Tags"),
                {kind: [_weighted(v) for v in variants] for kind, variants in _kinds(request).items()},
                {"EndpointConfigArn": self._arn(name), "CreationTime": now()},
            )
            if "DataCaptureConfig" in config:
                config["DataCaptureConfig"] = {"EnableCapture": False, **config["DataCaptureConfig"]}
            set_tags(self._sagemaker, config["EndpointConfigArn"], request.get("Tags"))
        self._sagemaker.changed()
        self._emit(config)
        return {"EndpointConfigArn": config["EndpointConfigArn"]}

    def _check_place(self, variant: ProductionVariantUnionTypeDef) -> None:
        """Serverless inference excludes networks of the account's own (Developer Guide, "Feature exclusions")."""
        model = self._sagemaker.models[variant["ModelName"]]
        if "ServerlessConfig" in variant and ("VpcConfig" in model or model["EnableNetworkIsolation"]):
            raise ServiceError(
                f"Serverless variant {variant['VariantName']} cannot serve model {variant['ModelName']}, which has a "
                "VpcConfig or network isolation."
            )

    @action("DescribeEndpointConfig")
    def describe(self, request: DescribeEndpointConfigInputTypeDef) -> Reply:
        """Answers the configuration as it was created."""
        return {"EnableNetworkIsolation": False, **self.get(request["EndpointConfigName"])}

    @action("ListEndpointConfigs")
    def list(self, request: ListEndpointConfigsInputTypeDef) -> Reply:
        """Answers a page of configurations, the newest first."""
        return listing(
            self._sagemaker.endpoint_configs.values(),
            request,
            key="EndpointConfigs",
            fields=["EndpointConfigName", "EndpointConfigArn", "CreationTime"],
            name_field="EndpointConfigName",
        )

    @action("DeleteEndpointConfig")
    def delete(self, request: DeleteEndpointConfigInputTypeDef) -> None:
        """Endpoints keep what they were made from, so that a configuration in use may go, as on AWS."""
        with self._sagemaker.lock:
            config = self.get(request["EndpointConfigName"])
            del self._sagemaker.endpoint_configs[request["EndpointConfigName"]]
            drop_tags(self._sagemaker, config["EndpointConfigArn"])
        self._emit(config)

    def _emit(self, config: EndpointConfigRecord) -> None:
        detail = chosen(config, ("EndpointConfigName", "EndpointConfigArn", "ProductionVariants"))
        detail |= {"CreationTime": int(config["CreationTime"] * 1000), "Tags": {}}
        self._sagemaker.emit("SageMaker Endpoint Config State Change", detail, [config["EndpointConfigArn"]])


def _check(request: CreateEndpointConfigInputTypeDef) -> None:
    names = [variant["VariantName"] for variant in _variants(request)]
    if len(set(names)) < len(names):
        raise ServiceError(f"Production variant names must be unique, they are {', '.join(names)}.")
    for variant in _variants(request):
        if "ModelName" not in variant:
            raise ServiceError(
                f"Production variant {variant['VariantName']} names no model: the stand-in account does not "
                "implement inference components."
            )
        instances = "InstanceType" in variant and "InitialInstanceCount" in variant
        if instances == ("ServerlessConfig" in variant):
            raise ServiceError(
                f"Production variant {variant['VariantName']} needs either InstanceType and InitialInstanceCount, "
                "or ServerlessConfig."
            )
    _check_shadows(request)
    _check_serverless(request)
    capture = request.get("DataCaptureConfig")
    if capture and not capture["DestinationS3Uri"].startswith("s3://"):
        raise ServiceError(f"DestinationS3Uri must be an s3:// URI, it is {capture['DestinationS3Uri']!r}.")


def _kinds(request: CreateEndpointConfigInputTypeDef) -> dict[str, Sequence[ProductionVariantUnionTypeDef]]:
    kinds = {"ProductionVariants": request["ProductionVariants"]}
    if "ShadowProductionVariants" in request:
        kinds["ShadowProductionVariants"] = request["ShadowProductionVariants"]
    return kinds


def _variants(request: CreateEndpointConfigInputTypeDef) -> list[ProductionVariantUnionTypeDef]:
    return [variant for variants in _kinds(request).values() for variant in variants]


def _weighted(variant: ProductionVariantUnionTypeDef) -> Mapping[str, object]:
    return {"InitialVariantWeight": 1.0, **variant}


def _check_shadows(request: CreateEndpointConfigInputTypeDef) -> None:
    shadows = request.get("ShadowProductionVariants", [])
    if shadows and (len(shadows) > 1 or len(request["ProductionVariants"]) > 1):
        raise ServiceError(
            "With ShadowProductionVariants there can be only one variant in ProductionVariants and one in "
            f"ShadowProductionVariants, there are {len(request['ProductionVariants'])} and {len(shadows)}."
        )


def _check_serverless(request: CreateEndpointConfigInputTypeDef) -> None:
    """What serverless inference excludes (Developer Guide, "Feature exclusions")."""
    serverless = [variant for variant in _variants(request) if "ServerlessConfig" in variant]
    if not serverless:
        return
    if len(_variants(request)) > 1:
        raise ServiceError("A serverless variant must be the only variant of its endpoint configuration.")
    if "DataCaptureConfig" in request:
        raise ServiceError("Data capture is not supported for serverless variants: omit DataCaptureConfig.")
    config = serverless[0]["ServerlessConfig"]
    if config["MemorySizeInMB"] % 1024:
        raise ServiceError(f"MemorySizeInMB must be a multiple of 1024, it is {config['MemorySizeInMB']}.")
    if config.get("ProvisionedConcurrency", 0) > config["MaxConcurrency"]:
        raise ServiceError("ProvisionedConcurrency must be less than or equal to MaxConcurrency.")
