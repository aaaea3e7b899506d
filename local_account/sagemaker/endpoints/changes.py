"""What happens to an endpoint in the background: it comes up, is updated without a gap, rescaled, removed.

Runs in the server process, each change in a thread of its own. The old fleet answers until the new one is healthy and
has taken over, and is drained afterwards. An update that was under way when the account stopped begins again, from its
first step, once the old configuration answers; one that was rolling back has rolled back.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

from local_account.protocol.records import change
from local_account.protocol.service import now
from local_account.sagemaker.endpoints.archive import StartError
from local_account.sagemaker.endpoints.deployment_config import plan_of
from local_account.sagemaker.endpoints.description import EndpointDescription, describe, event_detail
from local_account.sagemaker.endpoints.fleet import EndpointTraffic, Fleet
from local_account.sagemaker.endpoints.metrics import EndpointMetrics
from local_account.sagemaker.endpoints.rollout import InterruptedRolloutError, RollbackError, Rollout
from local_account.sagemaker.records import EndpointRecord, EndpointSource, VariantRecord, VariantStatus
from local_account.sagemaker.service import SageMaker
from local_account.sagemaker.tags import drop_tags

log = logging.getLogger(__name__)

MAX_REASON = 1024


class EndpointChanges:
    """Runs the changes; ``traffic`` holds, for each endpoint that answers, who does."""

    def __init__(self, sagemaker: SageMaker, metrics: EndpointMetrics) -> None:
        self._sagemaker = sagemaker
        self._account = sagemaker.account
        self._metrics = metrics
        self.traffic: dict[str, EndpointTraffic] = {}

    def run(self, endpoint: EndpointRecord, work: Callable[[EndpointRecord], object]) -> None:
        """Start a change in its thread."""
        name = endpoint["EndpointName"]

        def guarded() -> None:
            try:
                work(endpoint)
            except InterruptedRolloutError:
                pass  # the account stops: what is under way is in its state
            except Exception as error:
                log.exception("endpoint %s", name)
                if name in self._sagemaker.endpoints:
                    status = "InService" if name in self.traffic else "Failed"
                    self.set(endpoint, status, FailureReason=f"The stand-in account failed: {error!r}", _pending=None)

        threading.Thread(target=guarded, name=f"endpoint-{name}", daemon=True).start()

    def bring_up(self, endpoint: EndpointRecord, *, settle: bool = True) -> bool:
        """Start the fleet of ``_source``; whether it came up. With ``settle`` the endpoint is then InService."""
        fleet = self._fleet(endpoint, endpoint["EndpointConfigName"], endpoint["_source"])
        try:
            fleet.start()
        except StartError as error:
            if not self._account.stopping.is_set():
                self.set(endpoint, "Failed", FailureReason=str(error)[:MAX_REASON], _pending=None)
            return False
        with self._sagemaker.lock:
            self.traffic[endpoint["EndpointName"]] = EndpointTraffic(fleet)
            if settle:
                self.set(endpoint, "InService")
        return True

    def resume(self, endpoint: EndpointRecord) -> None:
        """Bring an endpoint of an earlier run up again, as soon as the server answers."""
        while not self._answers():
            if self._account.stopping.wait(0.1):
                return
        if endpoint.get("_pending", {}).get("rolled_back"):
            del endpoint["_pending"]
        if self.bring_up(endpoint, settle="_pending" not in endpoint) and "_pending" in endpoint:
            self.replace(endpoint)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._account.port)) == 0

    def replace(self, endpoint: EndpointRecord) -> None:
        """Update to the configuration in ``_pending``, or roll back."""
        pending = endpoint["_pending"]
        traffic = self.traffic[endpoint["EndpointName"]]
        plan = plan_of(pending.get("deployment"), pending["source"], endpoint["_source"])
        new = self._fleet(endpoint, pending["config"], pending["source"], empty=plan.rolling)
        old = traffic.main
        rollout = Rollout(
            self._account,
            plan,
            old=old,
            new=new,
            traffic=traffic,
            lock=self._sagemaker.lock,
            report=lambda status, message: self._report(endpoint, new, status, message),
            settle=self._settle_alarms,
        )
        try:
            rollout.forward()
        except InterruptedRolloutError:
            raise
        except RollbackError as error:
            self._roll_back(endpoint, rollout, str(error)[:MAX_REASON])
            return
        except Exception as error:  # a fault of ours must not leave two fleets
            log.exception("update of endpoint %s", endpoint["EndpointName"])
            self._roll_back(endpoint, rollout, f"The stand-in account failed: {error!r}"[:MAX_REASON])
            return
        with self._sagemaker.lock:
            endpoint["EndpointConfigName"], endpoint["_source"] = pending["config"], pending["source"]
        old.stop()
        self.set(endpoint, "InService", _pending=None)

    def _roll_back(self, endpoint: EndpointRecord, rollout: Rollout, reason: str) -> None:
        endpoint["_pending"]["rolled_back"] = True
        self.set(endpoint, "RollingBack", FailureReason=reason)
        try:
            rollout.back()
        except StartError as error:  # an instance of the old fleet that a rolling update had given up
            self.set(endpoint, "UpdateRollbackFailed", FailureReason=f"{reason} {error}"[:MAX_REASON], _pending=None)
            return
        self.set(endpoint, "InService", _pending=None)

    def rescale(self, endpoint: EndpointRecord) -> None:
        """UpdateEndpointWeightsAndCapacities: as many instances as ``_source`` says now."""
        fleet = self.traffic[endpoint["EndpointName"]].main
        before = fleet.counts
        wanted = {v["VariantName"]: v["InitialInstanceCount"] for v in fleet.source["variants"] if _has_instances(v)}
        self._tell_scaling(endpoint, before)
        try:
            fleet.scale(wanted)
        except StartError as error:
            if self._account.stopping.is_set():
                return
            self.set(endpoint, "RollingBack", FailureReason=str(error)[:MAX_REASON])
            with self._sagemaker.lock:
                for variant in fleet.source["variants"]:
                    if _has_instances(variant):
                        variant["InitialInstanceCount"] = before[variant["VariantName"]]
            fleet.scale({name: before[name] for name in wanted})
        with self._sagemaker.lock:
            for variant in fleet.source["variants"]:
                variant.pop("_status", None)
        self.set(endpoint, "InService")

    def _tell_scaling(self, endpoint: EndpointRecord, before: dict[str, int]) -> None:
        with self._sagemaker.lock:
            changed = [
                variant
                for variant in endpoint["_source"]["variants"]
                if _has_instances(variant) and variant["InitialInstanceCount"] != before[variant["VariantName"]]
            ]
            for variant in changed:
                wanted = variant["InitialInstanceCount"]
                way = "out" if wanted > before[variant["VariantName"]] else "in"
                variant["_status"] = _status("Updating", f"Scaling {way} desired instance count to {wanted}.")
        if changed:
            self._emit_deployment(endpoint)

    def remove(self, endpoint: EndpointRecord) -> None:
        """End the fleets and forget the endpoint."""
        with self._sagemaker.lock:
            traffic = self.traffic.pop(endpoint["EndpointName"], None)
        for fleet in (traffic.main, traffic.new) if traffic else ():
            if fleet:
                fleet.stop()
        with self._sagemaker.lock:
            self._sagemaker.endpoints.pop(endpoint["EndpointName"], None)
            drop_tags(self._sagemaker, endpoint["EndpointArn"])

    def set(self, endpoint: EndpointRecord, status: str, **members: object) -> None:
        """Change the endpoint's status and members (None removes one) and tell EventBridge."""
        with self._sagemaker.lock:
            change(endpoint, members | {"EndpointStatus": status, "LastModifiedTime": now()})
            detail = event_detail(self.shown(endpoint), endpoint)
        self._sagemaker.changed()
        detail.pop("PendingDeploymentSummary", None)
        self._sagemaker.emit("SageMaker Endpoint State Change", detail, [endpoint["EndpointArn"]])

    def shown(self, endpoint: EndpointRecord) -> EndpointDescription:
        """DescribeEndpoint's answer."""
        traffic = self.traffic.get(endpoint["EndpointName"])
        return describe(endpoint, traffic.main.counts if traffic else None)

    def _report(self, endpoint: EndpointRecord, new: Fleet, status: str, message: str) -> None:
        with self._sagemaker.lock:
            endpoint["_pending"] |= {
                "counts": new.counts,
                "status": _status(status, message),
            }
        self._emit_deployment(endpoint)

    def _emit_deployment(self, endpoint: EndpointRecord) -> None:
        with self._sagemaker.lock:
            detail = event_detail(self.shown(endpoint), endpoint)
        self._sagemaker.changed()
        self._sagemaker.emit("SageMaker Endpoint Deployment State Change", detail, [endpoint["EndpointArn"]])

    def _settle_alarms(self) -> None:
        """What was answered until now counts: bring the metrics to CloudWatch and have the alarms look at them."""
        self._metrics.flush()
        self._account.evaluate_alarms()

    def _fleet(self, endpoint: EndpointRecord, config: str, source: EndpointSource, *, empty: bool = False) -> Fleet:
        return Fleet(self._account, endpoint["EndpointName"], config, source, empty=empty)


def _status(status: str, message: str) -> VariantStatus:
    return {"Status": status, "StatusMessage": message, "StartTime": now()}


def _has_instances(variant: VariantRecord) -> bool:
    return "InitialInstanceCount" in variant
