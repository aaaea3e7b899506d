"""Endpoints: created, updated without a gap, deleted, and brought up again when the account restarts.

Runs in the server process; ``tables["endpoints"]`` holds Describe's shapes by name. Members that begin with an
underscore are the account's own: what the endpoint was made from, for its configuration and models may be deleted.
Each change runs in a thread: the new fleet is healthy before traffic moves, the old one is drained afterwards.
"""

from __future__ import annotations

import logging
import shutil
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from local_account.sagemaker.capture import Capture
from local_account.sagemaker.endpoint_archive import StartError, container_of
from local_account.sagemaker.endpoint_configs import EndpointConfigs
from local_account.sagemaker.endpoint_deployment import check_deployment, retain_properties, traffic_weights
from local_account.sagemaker.endpoint_description import describe, event_detail
from local_account.sagemaker.endpoint_fleet import STARTUP_S, Fleet, VariantServer
from local_account.sagemaker.endpoint_metrics import Metrics
from local_account.sagemaker.service import Resource, SageMaker, SageMakerError, listing, now
from local_account.sagemaker.tags import drop_tags, set_tags

log = logging.getLogger(__name__)

_IN_PROGRESS = {"Creating", "Updating", "Deleting", "RollingBack", "SystemUpdating"}


_installed: WeakKeyDictionary[SageMaker, Endpoints] = WeakKeyDictionary()


def install(sagemaker: SageMaker) -> None:
    """Implement the endpoints' actions and bring up what an earlier run of the account left."""
    _installed[sagemaker] = Endpoints(sagemaker)
    _installed[sagemaker].resume()


def endpoints_of(sagemaker: SageMaker) -> Endpoints:
    """What ``install`` made: the runtime serves the same endpoints."""
    return _installed[sagemaker]


class Endpoints:
    """The actions on endpoints, and the fleets that serve them."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker
        self._account = sagemaker.account
        self._configs = EndpointConfigs(sagemaker)
        self._fleets: dict[str, Fleet] = {}
        self.capture = Capture(self._account)
        self.metrics = Metrics(self._account)
        threading.Thread(target=self.metrics.run, name="endpoint-metrics", daemon=True).start()
        sagemaker.implement(
            {
                "CreateEndpoint": self.create,
                "UpdateEndpoint": self.update,
                "UpdateEndpointWeightsAndCapacities": self.update_weights,
                "DescribeEndpoint": self.describe,
                "ListEndpoints": self.list,
                "DeleteEndpoint": self.delete,
            }
        )

    def get(self, name: str) -> Resource:
        endpoint = self._sagemaker.table("endpoints").get(name)
        if endpoint is None:
            raise SageMakerError(f'Could not find endpoint "{self._arn(name)}".')
        return endpoint

    def _arn(self, name: str) -> str:
        return self._sagemaker.arn(f"endpoint/{name.lower()}")

    @contextmanager
    def serving(self, name: str) -> Any:
        """The endpoint and the fleet that serves it now (or None), kept alive until the block ends."""
        with self._sagemaker.lock:
            endpoint = self._sagemaker.table("endpoints").get(name)
            fleet = self._fleets.get(name)
            if fleet:
                fleet.enter()
        try:
            yield endpoint, fleet
        finally:
            if fleet:
                fleet.leave()

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        check_deployment(request)
        with self._sagemaker.lock:
            if name in self._sagemaker.table("endpoints"):
                raise SageMakerError(f'Cannot create already existing endpoint "{self._arn(name)}".')
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
            self._sagemaker.table("endpoints")[name] = endpoint
            set_tags(self._sagemaker, endpoint["EndpointArn"], request.get("Tags"))
        self._set(endpoint, "Creating")
        self._in_thread(name, lambda: self._bring_up(endpoint))
        return {"EndpointArn": endpoint["EndpointArn"]}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        check_deployment(request)
        with self._sagemaker.lock:
            endpoint = self._settled(request["EndpointName"])
            source = self._source(request["EndpointConfigName"])
            if request.get("RetainAllVariantProperties"):
                excluded = {p["VariantPropertyType"] for p in request.get("ExcludeRetainedVariantProperties", [])}
                retain_properties(endpoint, source, excluded)
            endpoint["_pending"] = {"config": request["EndpointConfigName"], "source": source, "start": now()}
            self._set(endpoint, "Updating", FailureReason=None)
        self._in_thread(endpoint["EndpointName"], lambda: self._replace(endpoint))
        return {"EndpointArn": endpoint["EndpointArn"]}

    def update_weights(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._sagemaker.lock:
            endpoint = self._settled(request["EndpointName"])
            variants = {v["VariantName"]: v for v in endpoint["_source"]["variants"]}
            for wish in request["DesiredWeightsAndCapacities"]:
                if wish["VariantName"] not in variants:
                    raise SageMakerError(
                        f"The following variants do not exist in endpoint {endpoint['EndpointName']}: "
                        f"{wish['VariantName']}. It has {', '.join(variants)}."
                    )
            for wish in request["DesiredWeightsAndCapacities"]:
                variant = variants[wish["VariantName"]]
                variant["InitialVariantWeight"] = wish.get("DesiredWeight", variant["InitialVariantWeight"])
                if "DesiredInstanceCount" in wish:
                    variant["InitialInstanceCount"] = wish["DesiredInstanceCount"]
            self._set(endpoint, "Updating", FailureReason=None)

        def apply() -> None:
            self._fleets[endpoint["EndpointName"]].set_weights(traffic_weights(endpoint["_source"]))
            self._set(endpoint, "InService")

        self._in_thread(endpoint["EndpointName"], apply)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._sagemaker.lock:
            return describe(self.get(request["EndpointName"]))

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        found = list(self._sagemaker.table("endpoints").values())
        if "StatusEquals" in request:
            found = [e for e in found if e["EndpointStatus"] == request["StatusEquals"]]
        return listing(
            found,
            request,
            key="Endpoints",
            fields=["EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"],
            name_field="EndpointName",
        )

    def delete(self, request: dict[str, Any]) -> None:
        with self._sagemaker.lock:
            endpoint = self._settled(request["EndpointName"], deleting=True)
            self._set(endpoint, "Deleting")
        self._in_thread(endpoint["EndpointName"], lambda: self._remove(endpoint))

    def resume(self) -> None:
        """Bring up again, once the server answers, the endpoints that an earlier run of the account left."""
        shutil.rmtree(self._account.state_dir / "endpoints", ignore_errors=True)
        for endpoint in list(self._sagemaker.table("endpoints").values()):
            name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
            if status == "Deleting":
                self._remove(endpoint)
            elif status != "Failed":
                endpoint["EndpointStatus"] = "Creating" if status == "Creating" else "Updating"
                self._in_thread(name, partial(self._resume_one, endpoint))

    def _resume_one(self, endpoint: Resource) -> None:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._account.port)) == 0:
                    break
            if self._account.stopping.wait(0.1):
                return
        if self._bring_up(endpoint, settle="_pending" not in endpoint) and "_pending" in endpoint:
            self._replace(endpoint)

    def _settled(self, name: str, *, deleting: bool = False) -> Resource:
        endpoint = self.get(name)
        if endpoint["EndpointStatus"] in _IN_PROGRESS:
            raise SageMakerError(f'Cannot update in-progress endpoint "{self._arn(name)}".')
        if endpoint["EndpointStatus"] == "Failed" and not deleting:
            raise SageMakerError(
                f'Cannot update endpoint "{self._arn(name)}" in status Failed: it can only be deleted.'
            )
        return endpoint

    def _source(self, config_name: str) -> dict[str, Any]:
        config = self._configs.get(config_name)
        variants = [
            {**variant, "container": container_of(self._sagemaker, variant["ModelName"])}
            for variant in config["ProductionVariants"]
        ]
        return {"variants": variants, "capture": config.get("DataCaptureConfig")}

    def _fleet(self, endpoint: Resource, source: dict[str, Any]) -> Fleet:
        servers = [
            VariantServer(
                self._account,
                endpoint["EndpointName"],
                variant["VariantName"],
                variant["container"],
                variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_S),
            )
            for variant in source["variants"]
        ]
        return Fleet(servers, traffic_weights(source))

    def _in_thread(self, name: str, change: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                change()
            except Exception as error:
                log.exception("endpoint %s", name)
                endpoint = self._sagemaker.table("endpoints").get(name)
                if endpoint:
                    status = "InService" if name in self._fleets else "Failed"
                    self._set(endpoint, status, FailureReason=f"The stand-in account failed: {error!r}", _pending=None)

        threading.Thread(target=run, name=f"endpoint-{name}", daemon=True).start()

    def _bring_up(self, endpoint: Resource, *, settle: bool = True) -> bool:
        fleet = self._fleet(endpoint, endpoint["_source"])
        try:
            fleet.start()
        except StartError as error:
            if not self._account.stopping.is_set():
                self._set(endpoint, "Failed", FailureReason=str(error)[:1024], _pending=None)
            return False
        with self._sagemaker.lock:
            self._fleets[endpoint["EndpointName"]] = fleet
            if settle:
                self._set(endpoint, "InService")
        return True

    def _replace(self, endpoint: Resource) -> None:
        pending = endpoint["_pending"]
        fleet = self._fleet(endpoint, pending["source"])
        try:
            fleet.start()
        except StartError as error:  # as on AWS the endpoint goes on with its old configuration
            if not self._account.stopping.is_set():
                self._set(endpoint, "InService", FailureReason=str(error)[:1024], _pending=None)
            return
        with self._sagemaker.lock:
            old = self._fleets.get(endpoint["EndpointName"])
            self._fleets[endpoint["EndpointName"]] = fleet
            endpoint["EndpointConfigName"], endpoint["_source"] = pending["config"], pending["source"]
        if old:
            old.stop()
        self._set(endpoint, "InService", _pending=None)

    def _remove(self, endpoint: Resource) -> None:
        with self._sagemaker.lock:
            fleet = self._fleets.pop(endpoint["EndpointName"], None)
        if fleet:
            fleet.stop()
        with self._sagemaker.lock:
            self._sagemaker.table("endpoints").pop(endpoint["EndpointName"], None)
            drop_tags(self._sagemaker, endpoint["EndpointArn"])

    def _set(self, endpoint: Resource, status: str, **members: Any) -> None:
        with self._sagemaker.lock:
            for key, value in members.items():
                if value is None:
                    endpoint.pop(key, None)
                else:
                    endpoint[key] = value
            endpoint |= {"EndpointStatus": status, "LastModifiedTime": now()}
            detail = event_detail(endpoint)
        self._sagemaker.changed()
        self._sagemaker.emit("SageMaker Endpoint State Change", detail, [endpoint["EndpointArn"]])
