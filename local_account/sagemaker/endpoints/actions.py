"""Endpoints: CreateEndpoint, UpdateEndpoint, UpdateEndpointWeightsAndCapacities, Describe, List, Delete.

Runs in the server process; ``tables["endpoints"]`` holds Describe's shapes by name. Members that begin with an
underscore are the account's own: what the endpoint was made from, for its configuration and models may be deleted.
What a call sets going runs in ``endpoints.changes``.
"""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from typing import Any

from local_account.protocol.actions import ServiceError, action
from local_account.protocol.service import Resource, now
from local_account.sagemaker.endpoints.archive import container_of
from local_account.sagemaker.endpoints.capture import Capture
from local_account.sagemaker.endpoints.changes import EndpointChanges
from local_account.sagemaker.endpoints.configs import EndpointConfigs
from local_account.sagemaker.endpoints.deployment_config import check_change, check_policies, plan_of, retain_properties
from local_account.sagemaker.endpoints.metrics import Metrics
from local_account.sagemaker.endpoints.rollout import check_alarms
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import set_tags

MAX_INSTANCES = 20  # of one endpoint: each is a process of this machine; AWS has a quota of its own
_IN_PROGRESS = {"Creating", "Updating", "Deleting", "RollingBack", "SystemUpdating"}


class Endpoints:
    """The actions on endpoints."""

    def __init__(self, sagemaker: SageMaker, configs: EndpointConfigs) -> None:
        self._sagemaker = sagemaker
        self._account = sagemaker.account
        self._configs = configs
        self.capture = Capture(self._account)
        self.metrics = Metrics(self._account)
        self._changes = EndpointChanges(sagemaker, self.metrics)
        threading.Thread(target=self.metrics.run, name="endpoint-metrics", daemon=True).start()

    def get(self, name: str) -> Resource:
        endpoint = self._sagemaker.endpoints.get(name)
        if endpoint is None:
            raise ServiceError(f'Could not find endpoint "{self._arn(name)}".')
        return endpoint

    def _arn(self, name: str) -> str:
        return self._sagemaker.arn(f"endpoint/{name.lower()}")

    @contextmanager
    def serving(self, name: str) -> Any:
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

    @action("CreateEndpoint")
    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        check_policies(request.get("DeploymentConfig", {}))
        with self._sagemaker.lock:
            if name in self._sagemaker.endpoints:
                raise ServiceError(f'Cannot create already existing endpoint "{self._arn(name)}".')
            source = self._source(request["EndpointConfigName"])
            endpoint = {
                "EndpointName": name,
                "EndpointArn": self._arn(name),
                "EndpointConfigName": request["EndpointConfigName"],
                "EndpointStatus": "Creating",
                "CreationTime": now(),
                "LastModifiedTime": now(),
                "_source": source,
            }
            if "DeploymentConfig" in request:
                endpoint["LastDeploymentConfig"] = request["DeploymentConfig"]
            self._sagemaker.endpoints[name] = endpoint
            set_tags(self._sagemaker, endpoint["EndpointArn"], request.get("Tags"))
        self._changes.set(endpoint, "Creating")
        self._changes.run(endpoint, self._changes.bring_up)
        return {"EndpointArn": endpoint["EndpointArn"]}

    @action("UpdateEndpoint")
    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        deployment = self._deployment(request)
        alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        with self._sagemaker.lock:
            source = self._source(request["EndpointConfigName"])
        check_alarms(self._account, source, [alarm["AlarmName"] for alarm in alarms])  # a call: not under the lock
        with self._sagemaker.lock:
            endpoint = self._settled(request["EndpointName"])
            if request.get("RetainAllVariantProperties"):
                excluded = {p["VariantPropertyType"] for p in request.get("ExcludeRetainedVariantProperties", [])}
                retain_properties(endpoint, source, excluded)
            check_change(source, endpoint["_source"])
            plan_of(deployment, source, endpoint["_source"])
            pending = {"config": request["EndpointConfigName"], "source": source, "start": now()}
            endpoint["_pending"] = {**pending, "deployment": deployment}
            if deployment:
                endpoint["LastDeploymentConfig"] = deployment
            self._changes.set(endpoint, "Updating", FailureReason=None)
        self._changes.run(endpoint, self._changes.replace)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def _deployment(self, request: dict[str, Any]) -> dict[str, Any]:
        if not request.get("RetainDeploymentConfig"):
            return dict(request.get("DeploymentConfig", {}))
        if "DeploymentConfig" in request:
            raise ServiceError("Only one of DeploymentConfig and RetainDeploymentConfig can be specified.")
        return dict(self.get(request["EndpointName"]).get("LastDeploymentConfig", {}))

    @action("UpdateEndpointWeightsAndCapacities")
    def update_weights(self, request: dict[str, Any]) -> dict[str, Any]:
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

    def _check_wish(self, endpoint: Resource, variants: dict[str, Resource], wish: dict[str, Any]) -> None:
        name = wish["VariantName"]
        if name not in variants:
            raise ServiceError(
                f"The following variants do not exist in endpoint {endpoint['EndpointName']}: "
                f"{name}. It has {', '.join(variants)}."
            )
        if "ServerlessUpdateConfig" in wish:
            raise ServiceError("The stand-in account does not implement ServerlessUpdateConfig.")
        if "DesiredInstanceCount" not in wish:
            return
        if "ServerlessConfig" in variants[name]:
            raise ServiceError(f"Variant {name} is serverless: it has no DesiredInstanceCount.")
        if wish["DesiredInstanceCount"] < 1:
            raise ServiceError(f"DesiredInstanceCount of variant {name} must be at least 1.")
        _check_quota([{**variants[name], "InitialInstanceCount": wish["DesiredInstanceCount"]}])

    @action("DescribeEndpoint")
    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._sagemaker.lock:
            return self._changes.shown(self.get(request["EndpointName"]))

    @action("ListEndpoints")
    def list(self, request: dict[str, Any]) -> dict[str, Any]:
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
    def delete(self, request: dict[str, Any]) -> None:
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

    def _settled(self, name: str, *, deleting: bool = False) -> Resource:
        endpoint = self.get(name)
        if endpoint["EndpointStatus"] in _IN_PROGRESS:
            raise ServiceError(f'Cannot update in-progress endpoint "{self._arn(name)}".')
        if endpoint["EndpointStatus"] in {"Failed", "UpdateRollbackFailed"} and not deleting:
            raise ServiceError(
                f'Cannot update endpoint "{self._arn(name)}" in status {endpoint["EndpointStatus"]}: it can only be '
                "deleted."
            )
        return endpoint

    def _source(self, config_name: str) -> dict[str, Any]:
        config = self._configs.get(config_name)
        variants, shadows = (
            [{**v, "container": container_of(self._sagemaker, v["ModelName"])} for v in config.get(kind, [])]
            for kind in ("ProductionVariants", "ShadowProductionVariants")
        )
        _check_quota([*variants, *shadows])
        return {"variants": variants, "shadows": shadows, "capture": config.get("DataCaptureConfig")}


def _check_quota(variants: list[Resource]) -> None:
    wanted = sum(variant.get("InitialInstanceCount", 0) for variant in variants)
    if wanted > MAX_INSTANCES:
        raise ServiceError(
            f"The account-level service limit for instances of an endpoint is {MAX_INSTANCES} Instances (each is a "
            f"process of this machine), a request delta of {wanted} Instances exceeds it.",
            "ResourceLimitExceeded",
        )


def _forget_instances(endpoint: Resource) -> None:
    """Nothing of what an earlier run of the account started is there any more."""
    for variant in endpoint["_source"]["variants"]:
        variant.pop("_status", None)
    for shown in ("status", "counts"):
        endpoint.get("_pending", {}).pop(shown, None)
