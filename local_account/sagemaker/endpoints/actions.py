"""Endpoints: CreateEndpoint, UpdateEndpoint, UpdateEndpointWeightsAndCapacities, Describe, List, Delete.

Runs in the server process; ``tables["endpoints"]`` holds Describe's shapes by name. Members that begin with an
underscore are the account's own: what the endpoint was made from, for its configuration and models may be deleted.
What a call sets going runs in ``endpoints.changes``.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import record_of
from local_account.protocol.service import now
from local_account.sagemaker.endpoints.archive import container_of
from local_account.sagemaker.endpoints.capture import Capture
from local_account.sagemaker.endpoints.changes import EndpointChanges
from local_account.sagemaker.endpoints.configs import EndpointConfigs
from local_account.sagemaker.endpoints.deployment_config import (
    alarms_of,
    check_change,
    check_policies,
    plan_of,
    retain_properties,
)
from local_account.sagemaker.endpoints.fleet import Fleet
from local_account.sagemaker.endpoints.metrics import EndpointMetrics
from local_account.sagemaker.endpoints.rollout import check_alarms
from local_account.sagemaker.records import DeploymentConfig, EndpointRecord, EndpointSource, VariantRecord
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateEndpointInputTypeDef,
        DeleteEndpointInputTypeDef,
        DescribeEndpointInputTypeDef,
        DesiredWeightAndCapacityTypeDef,
        ListEndpointsInputTypeDef,
        ProductionVariantOutputTypeDef,
        UpdateEndpointInputTypeDef,
        UpdateEndpointWeightsAndCapacitiesInputTypeDef,
    )

MAX_INSTANCES = 20  # of one endpoint: each is a process of this machine; AWS has a quota of its own
_IN_PROGRESS = {"Creating", "Updating", "Deleting", "RollingBack", "SystemUpdating"}


class Endpoints:
    """The actions on endpoints."""

    def __init__(self, sagemaker: SageMaker, configs: EndpointConfigs) -> None:
        self._sagemaker = sagemaker
        self._account = sagemaker.account
        self._configs = configs
        self.capture = Capture(self._account)
        self.metrics = EndpointMetrics(self._account)
        self._changes = EndpointChanges(sagemaker, self.metrics)
        threading.Thread(target=self.metrics.run, name="endpoint-metrics", daemon=True).start()

    def get(self, name: str) -> EndpointRecord:
        """An endpoint by its name.

        Raises ServiceError when there is none.
        """
        endpoint = self._sagemaker.endpoints.get(name)
        if endpoint is None:
            raise ServiceError(f'Could not find endpoint "{self._arn(name)}".')
        return endpoint

    def _arn(self, name: str) -> str:
        return self._sagemaker.arn(f"endpoint/{name.lower()}")

    @contextmanager
    def serving(self, name: str) -> Iterator[Fleet | None]:
        """The fleet that answers the next request (or None), kept alive until the block ends."""
        with self._sagemaker.lock:
            traffic = self._changes.traffic.get(name)
            fleet = traffic.choose() if traffic else None
            if fleet:
                fleet.enter()
        try:
            yield fleet
        finally:
            if fleet:
                fleet.leave()

    def is_coming_up(self, name: str) -> bool:
        """Whether an endpoint that served before the account was started does not serve yet."""
        endpoint = self._sagemaker.endpoints.get(name)
        return endpoint is not None and endpoint["EndpointStatus"] == "Updating"

    @action("CreateEndpoint")
    def create(self, request: CreateEndpointInputTypeDef) -> Reply:
        """The endpoint comes up in the background.

        Raises ServiceError for a name that is taken, and for what could not be deployed.
        """
        name = request["EndpointName"]
        if "DeploymentConfig" in request:
            check_policies(request["DeploymentConfig"])
        with self._sagemaker.lock:
            if name in self._sagemaker.endpoints:
                raise ServiceError(f'Cannot create already existing endpoint "{self._arn(name)}".')
            source = self._source(request["EndpointConfigName"])
            endpoint: EndpointRecord = {
                "EndpointName": name,
                "EndpointArn": self._arn(name),
                "EndpointConfigName": request["EndpointConfigName"],
                "EndpointStatus": "Creating",
                "CreationTime": now(),
                "LastModifiedTime": now(),
                "_source": source,
            }
            if "DeploymentConfig" in request:
                endpoint["LastDeploymentConfig"] = record_of(DeploymentConfig, request["DeploymentConfig"])
            self._sagemaker.endpoints[name] = endpoint
            set_tags(self._sagemaker, endpoint["EndpointArn"], request.get("Tags"))
        self._changes.set(endpoint, "Creating")
        self._changes.run(endpoint, self._changes.bring_up)
        return {"EndpointArn": endpoint["EndpointArn"]}

    @action("UpdateEndpoint")
    def update(self, request: UpdateEndpointInputTypeDef) -> Reply:
        """The new fleet takes over in the background, as the DeploymentConfig says.

        Raises ServiceError for an endpoint that changes already, and for what could not be deployed.
        """
        deployment = self._deployment(request)
        with self._sagemaker.lock:
            source = self._source(request["EndpointConfigName"])
        check_alarms(self._account, source, alarms_of(deployment))  # a call: not under the lock
        with self._sagemaker.lock:
            endpoint = self._settled(request["EndpointName"])
            if request.get("RetainAllVariantProperties"):
                excluded = {p["VariantPropertyType"] for p in request.get("ExcludeRetainedVariantProperties", [])}
                retain_properties(endpoint, source, excluded)
            check_change(source, endpoint["_source"])
            plan_of(deployment, source, endpoint["_source"])
            endpoint["_pending"] = {
                "config": request["EndpointConfigName"], "source": source, "start": now(), "deployment": deployment,
            }  # fmt: skip
            if deployment:
                endpoint["LastDeploymentConfig"] = deployment
            self._changes.set(endpoint, "Updating", FailureReason=None)
        self._changes.run(endpoint, self._changes.replace)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def _deployment(self, request: UpdateEndpointInputTypeDef) -> DeploymentConfig:
        if not request.get("RetainDeploymentConfig"):
            return record_of(DeploymentConfig, request.get("DeploymentConfig", {}))
        if "DeploymentConfig" in request:
            raise ServiceError("Only one of DeploymentConfig and RetainDeploymentConfig can be specified.")
        return self.get(request["EndpointName"]).get("LastDeploymentConfig", {})

    @action("UpdateEndpointWeightsAndCapacities")
    def update_weights(self, request: UpdateEndpointWeightsAndCapacitiesInputTypeDef) -> Reply:
        """Weights count at once; instances start or end in the background.

        Raises ServiceError for an endpoint that changes already, and for a variant that it lacks.
        """
        with self._sagemaker.lock:
            endpoint = self._settled(request["EndpointName"])
            variants = {v["VariantName"]: v for v in endpoint["_source"]["variants"]}
            for wish in request["DesiredWeightsAndCapacities"]:
                self._check_wish(endpoint, variants, wish)
            for wish in request["DesiredWeightsAndCapacities"]:
                variant = variants[wish["VariantName"]]
                variant["InitialVariantWeight"] = wish.get("DesiredWeight", variant["InitialVariantWeight"])
                if "DesiredInstanceCount" in wish:
                    variant["InitialInstanceCount"] = wish["DesiredInstanceCount"]
            self._changes.set(endpoint, "Updating", FailureReason=None)
        self._changes.run(endpoint, self._changes.rescale)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def _check_wish(
        self, endpoint: EndpointRecord, variants: Mapping[str, VariantRecord], wish: DesiredWeightAndCapacityTypeDef
    ) -> None:
        name = wish["VariantName"]
        if name not in variants:
            raise ServiceError(
                f"The following variants do not exist in endpoint {endpoint['EndpointName']}: "
                f"{name}. It has {', '.join(variants)}."
            )
        if "DesiredInstanceCount" not in wish:
            return
        if "ServerlessConfig" in variants[name]:
            raise ServiceError(f"Variant {name} is serverless: it has no DesiredInstanceCount.")
        if wish["DesiredInstanceCount"] < 1:
            raise ServiceError(f"DesiredInstanceCount of variant {name} must be at least 1.")
        _check_quota([{**variants[name], "InitialInstanceCount": wish["DesiredInstanceCount"]}])

    @action("DescribeEndpoint")
    def describe(self, request: DescribeEndpointInputTypeDef) -> Reply:
        """Answers the endpoint as it is now."""
        with self._sagemaker.lock:
            return self._changes.shown(self.get(request["EndpointName"]))

    @action("ListEndpoints")
    def list(self, request: ListEndpointsInputTypeDef) -> Reply:
        """Answers a page of endpoints, the newest first."""
        found = list(self._sagemaker.endpoints.values())
        if "StatusEquals" in request:
            found = [e for e in found if e["EndpointStatus"] == request["StatusEquals"]]
        return listing(
            found,
            request,
            key="Endpoints",
            fields=["EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"],
            name_field="EndpointName",
        )

    @action("DeleteEndpoint")
    def delete(self, request: DeleteEndpointInputTypeDef) -> None:
        """The endpoint answers no more; its instances end in the background."""
        with self._sagemaker.lock:
            endpoint = self._settled(request["EndpointName"], deleting=True)
            self._changes.set(endpoint, "Deleting")
        self._changes.run(endpoint, self._changes.remove)

    def resume(self) -> None:
        """Bring up again the endpoints that an earlier run of the account left."""
        shutil.rmtree(self._account.state_dir / "endpoints", ignore_errors=True)
        for endpoint in list(self._sagemaker.endpoints.values()):
            status = endpoint["EndpointStatus"]
            if status == "Deleting":
                self._changes.remove(endpoint)
            elif status != "Failed":
                endpoint["EndpointStatus"] = "Creating" if status == "Creating" else "Updating"
                _forget_instances(endpoint)
                self._changes.run(endpoint, self._changes.resume)

    def _settled(self, name: str, *, deleting: bool = False) -> EndpointRecord:
        endpoint = self.get(name)
        if endpoint["EndpointStatus"] in _IN_PROGRESS:
            raise ServiceError(f'Cannot update in-progress endpoint "{self._arn(name)}".')
        if endpoint["EndpointStatus"] in {"Failed", "UpdateRollbackFailed"} and not deleting:
            raise ServiceError(
                f'Cannot update endpoint "{self._arn(name)}" in status {endpoint["EndpointStatus"]}: it can only be '
                "deleted."
            )
        return endpoint

    def _source(self, config_name: str) -> EndpointSource:
        config = self._configs.get(config_name)
        variants = [self._deployed(variant) for variant in config["ProductionVariants"]]
        shadows = [self._deployed(variant) for variant in config.get("ShadowProductionVariants", [])]
        _check_quota([*variants, *shadows])
        return {"variants": variants, "shadows": shadows, "capture": config.get("DataCaptureConfig")}

    def _deployed(self, variant: ProductionVariantOutputTypeDef) -> VariantRecord:
        container = container_of(self._sagemaker, variant["ModelName"])
        return record_of(VariantRecord, variant, {"container": container})


def _check_quota(variants: Sequence[VariantRecord]) -> None:
    wanted = sum(variant.get("InitialInstanceCount", 0) for variant in variants)
    if wanted > MAX_INSTANCES:
        raise ServiceError(
            f"The account-level service limit for instances of an endpoint is {MAX_INSTANCES} Instances (each is a "
            f"process of this machine), a request delta of {wanted} Instances exceeds it.",
            "ResourceLimitExceeded",
        )


def _forget_instances(endpoint: EndpointRecord) -> None:
    """Nothing of what an earlier run of the account started is there any more."""
    for variant in endpoint["_source"]["variants"]:
        variant.pop("_status", None)
    if "_pending" in endpoint:
        endpoint["_pending"].pop("status", None)
        endpoint["_pending"].pop("counts", None)
