"""Versions of pipelines: every definition that a pipeline had, by number.

Runs in the server process; state: the table ``pipeline-versions``, the versions of each pipeline by its name, the
oldest first. A version is made by CreatePipeline, and by each UpdatePipeline that brings another definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NotRequired, TypedDict

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, chosen
from local_account.protocol.service import now
from local_account.sagemaker.records import PipelineRecord
from local_account.sagemaker.service import SageMaker, listing

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ListPipelineVersionsRequestTypeDef, UpdatePipelineVersionRequestTypeDef

_SUMMARY = [
    "PipelineArn", "PipelineVersionId", "CreationTime", "PipelineVersionDescription", "PipelineVersionDisplayName",
    "LastExecutionPipelineExecutionArn",
]  # fmt: skip
_NAMES = ("PipelineVersionDisplayName", "PipelineVersionDescription")


class VersionRecord(TypedDict):
    """One definition of a pipeline."""

    PipelineArn: str
    PipelineVersionId: int
    PipelineDefinition: str
    CreationTime: float
    PipelineVersionDisplayName: NotRequired[str]
    PipelineVersionDescription: NotRequired[str]
    LastExecutionPipelineExecutionArn: NotRequired[str]


def versions_of(sagemaker: SageMaker, pipeline: PipelineRecord) -> list[VersionRecord]:
    """The versions of a pipeline; a state of before there were any has the first."""
    kept = sagemaker.table("pipeline-versions", list[VersionRecord]).setdefault(pipeline["PipelineName"], [])
    if not kept:
        kept.append(_version(pipeline, 1, pipeline["CreationTime"]))
    return kept


def add_version(sagemaker: SageMaker, pipeline: PipelineRecord) -> int:
    """Keep the pipeline's definition as a version, unless it is the newest already; answers its number."""
    kept = versions_of(sagemaker, pipeline)
    if kept[-1]["PipelineDefinition"] != pipeline["PipelineDefinition"]:
        kept.append(_version(pipeline, kept[-1]["PipelineVersionId"] + 1, now()))
    return kept[-1]["PipelineVersionId"]


def version_of(sagemaker: SageMaker, pipeline: PipelineRecord, number: int | None) -> VersionRecord:
    """A version by its number, the newest without one. Raises ServiceError where there is none."""
    kept = versions_of(sagemaker, pipeline)
    found = kept[-1] if number is None else next((one for one in kept if one["PipelineVersionId"] == number), None)
    if found is None:
        message = f"Pipeline version '{number}' of '{pipeline['PipelineArn']}' does not exist."
        raise ServiceError(message, "ResourceNotFound")
    return found


def drop_versions(sagemaker: SageMaker, name: str) -> None:
    """Forget the versions of a pipeline that is deleted."""
    sagemaker.table("pipeline-versions", list[VersionRecord]).pop(name, None)


def _version(pipeline: PipelineRecord, number: int, at: float) -> VersionRecord:
    return {
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineVersionId": number,
        "PipelineDefinition": pipeline["PipelineDefinition"],
        "CreationTime": at,
    }


class PipelineVersions:
    """The actions on versions."""

    def __init__(self, sagemaker: SageMaker, pipeline: Callable[[str], PipelineRecord]) -> None:
        self._sagemaker, self._pipeline = sagemaker, pipeline

    @action("ListPipelineVersions")
    def list_versions(self, request: ListPipelineVersionsRequestTypeDef) -> Reply:
        """Answers a page of a pipeline's versions, the newest first."""
        found = versions_of(self._sagemaker, self._pipeline(request["PipelineName"]))
        key, name_field = "PipelineVersionSummaries", "PipelineVersionId"
        return listing(found, request, key=key, fields=_SUMMARY, name_field=name_field)

    @action("UpdatePipelineVersion")
    def update(self, request: UpdatePipelineVersionRequestTypeDef) -> Reply:
        """Changes what a version is called; its definition stays."""
        with self._sagemaker.lock:
            pipeline = self._pipeline(request["PipelineArn"])
            version = version_of(self._sagemaker, pipeline, request["PipelineVersionId"])
            change(version, chosen(request, _NAMES))
            self._sagemaker.changed()
        return {"PipelineArn": version["PipelineArn"], "PipelineVersionId": version["PipelineVersionId"]}
