"""How an endpoint is shown: in DescribeEndpoint's shape and in its state-change event.

Runs in the server process, on the resource that ``endpoints`` keeps.
"""

from __future__ import annotations

import re
from typing import Any

from local_account.sagemaker.service import Resource


def describe(endpoint: Resource) -> dict[str, Any]:
    """The endpoint in DescribeEndpoint's shape."""
    answer = {key: value for key, value in endpoint.items() if not key.startswith("_")}
    serving = endpoint["EndpointStatus"] in {"InService", "Updating"}
    if serving:
        answer["ProductionVariants"] = [_variant_summary(v, endpoint) for v in endpoint["_source"]["variants"]]
    capture = endpoint["_source"]["capture"]
    if capture:
        answer["DataCaptureConfig"] = {
            "EnableCapture": capture["EnableCapture"],
            "CaptureStatus": "Started" if serving and capture["EnableCapture"] else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    if "_pending" in endpoint:
        pending = endpoint["_pending"]
        answer["PendingDeploymentSummary"] = {
            "EndpointConfigName": pending["config"],
            "StartTime": pending["start"],
            "ProductionVariants": [{"VariantName": v["VariantName"]} for v in pending["source"]["variants"]],
        }
    return answer


def _variant_summary(variant: dict[str, Any], endpoint: Resource) -> dict[str, Any]:
    image = variant["container"]["image"]
    summary: dict[str, Any] = {
        "VariantName": variant["VariantName"],
        "CurrentWeight": variant["InitialVariantWeight"],
        "DesiredWeight": variant["InitialVariantWeight"],
    }
    if image:
        deployed = {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": endpoint["CreationTime"]}
        summary["DeployedImages"] = [deployed]
    if "ServerlessConfig" in variant:
        return summary | {"CurrentServerlessConfig": variant["ServerlessConfig"], "CurrentInstanceCount": 0}
    count = variant["InitialInstanceCount"]
    return summary | {"CurrentInstanceCount": count, "DesiredInstanceCount": count}


def event_detail(endpoint: Resource) -> dict[str, Any]:
    """The event's detail: statuses in capitals (IN_SERVICE), times in milliseconds, as SageMaker's examples show."""
    detail = describe(endpoint)
    detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", endpoint["EndpointStatus"]).upper()
    detail["ProductionVariants"] = [
        {key: value for key, value in variant.items() if key != "DeployedImages"}
        for variant in detail.get("ProductionVariants", [])
    ]
    detail.pop("PendingDeploymentSummary", None)
    for key in ("CreationTime", "LastModifiedTime"):
        detail[key] = int(endpoint[key] * 1000)
    return detail | {"Tags": {}}
