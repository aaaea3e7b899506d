"""How an endpoint is shown: in DescribeEndpoint's shape and in its state-change events.

Runs in the server process, on the resource that ``endpoints`` keeps.
"""

from __future__ import annotations

import re
from typing import Any

from local_account.protocol.service import Resource

SERVING = {"InService", "Updating", "RollingBack", "UpdateRollbackFailed"}


def describe(endpoint: Resource, counts: dict[str, int] | None) -> dict[str, Any]:
    """The endpoint in DescribeEndpoint's shape; ``counts``: the instances that its variants have now."""
    answer = {key: value for key, value in endpoint.items() if not key.startswith("_")}
    serving = endpoint["EndpointStatus"] in SERVING
    source = endpoint["_source"]
    if serving:
        answer |= _summaries(source, endpoint, counts)
    capture = source["capture"]
    if capture:
        answer["DataCaptureConfig"] = {
            "EnableCapture": capture["EnableCapture"],
            "CaptureStatus": "Started" if serving and capture["EnableCapture"] else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    if "_pending" in endpoint:
        answer["PendingDeploymentSummary"] = _pending_summary(endpoint)
    return answer


def _pending_summary(endpoint: Resource) -> dict[str, Any]:
    pending = endpoint["_pending"]
    kinds = _summaries(pending["source"], endpoint, pending.get("counts", {}))
    if "status" in pending:
        kinds = {kind: [{**v, "VariantStatus": [pending["status"]]} for v in found] for kind, found in kinds.items()}
    return {"EndpointConfigName": pending["config"], "StartTime": pending["start"], **kinds}


def _summaries(source: Resource, endpoint: Resource, counts: dict[str, int] | None) -> dict[str, list[dict[str, Any]]]:
    kinds = {"ProductionVariants": source["variants"], "ShadowProductionVariants": source.get("shadows", [])}
    return {kind: [_variant_summary(v, endpoint, counts) for v in found] for kind, found in kinds.items() if found}


def _variant_summary(variant: Resource, endpoint: Resource, counts: dict[str, int] | None) -> dict[str, Any]:
    image = variant["container"]["image"]
    summary: dict[str, Any] = {
        "VariantName": variant["VariantName"],
        "CurrentWeight": variant["InitialVariantWeight"],
        "DesiredWeight": variant["InitialVariantWeight"],
    }
    if "_status" in variant:
        summary["VariantStatus"] = [variant["_status"]]
    if image:
        deployed = {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": endpoint["CreationTime"]}
        summary["DeployedImages"] = [deployed]
    if "ServerlessConfig" in variant:
        return summary | {"CurrentServerlessConfig": variant["ServerlessConfig"], "CurrentInstanceCount": 0}
    count = variant["InitialInstanceCount"]
    current = count if counts is None else counts.get(variant["VariantName"], 0)
    return summary | {"CurrentInstanceCount": current, "DesiredInstanceCount": count}


def event_detail(description: dict[str, Any], endpoint: Resource) -> dict[str, Any]:
    """An event's detail: statuses in capitals (IN_SERVICE), times in milliseconds, as SageMaker's examples show."""
    detail = {**description}
    detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", endpoint["EndpointStatus"]).upper()
    detail = {"ProductionVariants": [], **_event_variants(detail)}
    if "PendingDeploymentSummary" in detail:
        pending = _event_variants(detail["PendingDeploymentSummary"])
        detail["PendingDeploymentSummary"] = {**pending, "StartTime": int(pending["StartTime"] * 1000)}
    for key in ("CreationTime", "LastModifiedTime"):
        detail[key] = int(endpoint[key] * 1000)
    return detail | {"Tags": {}}


def _event_variants(summary: dict[str, Any]) -> dict[str, Any]:
    kinds = summary.keys() & {"ProductionVariants", "ShadowProductionVariants"}
    return summary | {kind: [_event_variant(variant) for variant in summary[kind]] for kind in kinds}


def _event_variant(variant: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in variant.items() if key != "DeployedImages"}
    if "VariantStatus" in shown:
        shown["VariantStatus"] = [{**s, "StartTime": int(s["StartTime"] * 1000)} for s in shown["VariantStatus"]]
    return shown
