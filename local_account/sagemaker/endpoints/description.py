"""How an endpoint is shown: in DescribeEndpoint's shape and in its state-change events.

Runs in the server process, on the records that ``endpoints`` keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NotRequired, TypedDict

from local_account.protocol.records import change, chosen, record_of
from local_account.sagemaker.records import EndpointRecord, EndpointSource, PendingUpdate, VariantRecord, VariantStatus

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ProductionVariantServerlessConfigTypeDef

SERVING = {"InService", "Updating", "RollingBack", "UpdateRollbackFailed"}
_SHOWN = (
    "EndpointName", "EndpointArn", "EndpointConfigName", "EndpointStatus", "FailureReason", "LastDeploymentConfig",
    "CreationTime", "LastModifiedTime",
)  # fmt: skip


class DeployedImage(TypedDict):
    """The image of a variant; time as epoch seconds."""

    SpecifiedImage: str
    ResolvedImage: str
    ResolutionTime: float


class VariantSummary(TypedDict):
    """A variant as DescribeEndpoint shows it."""

    VariantName: str
    CurrentWeight: float
    DesiredWeight: float
    CurrentInstanceCount: int
    DesiredInstanceCount: NotRequired[int]
    CurrentServerlessConfig: NotRequired[ProductionVariantServerlessConfigTypeDef]
    DeployedImages: NotRequired[list[DeployedImage]]
    VariantStatus: NotRequired[list[VariantStatus]]


class VariantSummaries(TypedDict, total=False):
    """The variants of both kinds; a kind without any is left out."""

    ProductionVariants: list[VariantSummary]
    ShadowProductionVariants: list[VariantSummary]


class PendingSummary(VariantSummaries):
    """The update that an endpoint is going through; time as epoch seconds."""

    EndpointConfigName: str
    StartTime: float


class CaptureSummary(TypedDict):
    """Whether an endpoint captures its traffic, and where to."""

    EnableCapture: bool
    CaptureStatus: str
    CurrentSamplingPercentage: int
    DestinationS3Uri: str
    KmsKeyId: str


class EndpointDescription(VariantSummaries):
    """What DescribeEndpoint answers; times as epoch seconds."""

    EndpointName: str
    EndpointArn: str
    EndpointConfigName: str
    EndpointStatus: str
    CreationTime: float
    LastModifiedTime: float
    DataCaptureConfig: CaptureSummary
    PendingDeploymentSummary: PendingSummary


def describe(endpoint: EndpointRecord, counts: Mapping[str, int] | None) -> EndpointDescription:
    """The endpoint in DescribeEndpoint's shape; ``counts``: the instances that its variants have now."""
    answer = record_of(EndpointDescription, chosen(endpoint, _SHOWN))
    serving = endpoint["EndpointStatus"] in SERVING
    source = endpoint["_source"]
    if serving:
        change(answer, _summaries(source, endpoint, counts))
    capture = source["capture"]
    if capture:
        enabled = capture.get("EnableCapture", False)
        answer["DataCaptureConfig"] = {
            "EnableCapture": enabled,
            "CaptureStatus": "Started" if serving and enabled else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    if "_pending" in endpoint:
        answer["PendingDeploymentSummary"] = _pending_summary(endpoint["_pending"], endpoint)
    return answer


def _pending_summary(pending: PendingUpdate, endpoint: EndpointRecord) -> PendingSummary:
    kinds = _summaries(pending["source"], endpoint, pending.get("counts", {}))
    if "status" in pending:
        for variant in _all(kinds):
            variant["VariantStatus"] = [pending["status"]]
    return {"EndpointConfigName": pending["config"], "StartTime": pending["start"], **kinds}


def _summaries(source: EndpointSource, endpoint: EndpointRecord, counts: Mapping[str, int] | None) -> VariantSummaries:
    found: VariantSummaries = {}
    if source["variants"]:
        found["ProductionVariants"] = [_variant_summary(v, endpoint, counts) for v in source["variants"]]
    if shadows := source.get("shadows"):
        found["ShadowProductionVariants"] = [_variant_summary(v, endpoint, counts) for v in shadows]
    return found


def _all(kinds: VariantSummaries) -> Iterable[VariantSummary]:
    return [*kinds.get("ProductionVariants", []), *kinds.get("ShadowProductionVariants", [])]


def _variant_summary(
    variant: VariantRecord, endpoint: EndpointRecord, counts: Mapping[str, int] | None
) -> VariantSummary:
    image = variant["container"]["image"]
    summary: VariantSummary = {
        "VariantName": variant["VariantName"],
        "CurrentWeight": variant["InitialVariantWeight"],
        "DesiredWeight": variant["InitialVariantWeight"],
        "CurrentInstanceCount": 0,
    }
    if "_status" in variant:
        summary["VariantStatus"] = [variant["_status"]]
    if image:
        made = endpoint["CreationTime"]
        summary["DeployedImages"] = [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": made}]
    if "ServerlessConfig" in variant:
        summary["CurrentServerlessConfig"] = variant["ServerlessConfig"]
    else:
        count = summary["DesiredInstanceCount"] = variant["InitialInstanceCount"]
        summary["CurrentInstanceCount"] = count if counts is None else counts.get(variant["VariantName"], 0)
    return summary


def event_detail(description: EndpointDescription, endpoint: EndpointRecord) -> dict[str, object]:
    """An event's detail: statuses in capitals (IN_SERVICE), times in milliseconds, as SageMaker's examples show."""
    detail: dict[str, object] = {"ProductionVariants": [], **description, **_event_variants(description)}
    detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", endpoint["EndpointStatus"]).upper()
    if "PendingDeploymentSummary" in description:
        pending = description["PendingDeploymentSummary"]
        variants = _event_variants(pending)
        detail["PendingDeploymentSummary"] = {**pending, **variants, "StartTime": int(pending["StartTime"] * 1000)}
    for key, seconds in (
        ("CreationTime", endpoint["CreationTime"]),
        ("LastModifiedTime", endpoint["LastModifiedTime"]),
    ):
        detail[key] = int(seconds * 1000)
    return detail | {"Tags": {}}


def _event_variants(summary: VariantSummaries) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    if "ProductionVariants" in summary:
        found["ProductionVariants"] = [_event_variant(v) for v in summary["ProductionVariants"]]
    if "ShadowProductionVariants" in summary:
        found["ShadowProductionVariants"] = [_event_variant(v) for v in summary["ShadowProductionVariants"]]
    return found


def _event_variant(variant: VariantSummary) -> dict[str, object]:
    shown: dict[str, object] = {key: value for key, value in variant.items() if key != "DeployedImages"}
    if "VariantStatus" in variant:
        shown["VariantStatus"] = [{**s, "StartTime": int(s["StartTime"] * 1000)} for s in variant["VariantStatus"]]
    return shown
