"""Lineage: artifacts, and which entity came of which.

Runs in the server process; state: the tables ``artifacts`` (by ARN) and ``associations`` (by both ARNs). Trial
components and artifacts can be associated; there are no actions and contexts.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import now
from local_account.sagemaker.experiments.named import COMPONENT, NamedRecords, Record
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        AddAssociationRequestTypeDef,
        CreateArtifactRequestTypeDef,
        DeleteArtifactRequestTypeDef,
        DeleteAssociationRequestTypeDef,
        DescribeArtifactRequestTypeDef,
        ListArtifactsRequestTypeDef,
        ListAssociationsRequestTypeDef,
        UpdateArtifactRequestTypeDef,
    )


class LineageActions:
    """The actions on artifacts and associations."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker
        self._components = NamedRecords(sagemaker, COMPONENT)

    @property
    def artifacts(self) -> dict[str, Record]:
        """By ARN."""
        return self._sagemaker.table("artifacts", dict[str, object])

    @property
    def associations(self) -> dict[str, Record]:
        """By the ARNs of the source and the destination."""
        return self._sagemaker.table("associations", dict[str, object])

    @action("CreateArtifact")
    def create(self, request: CreateArtifactRequestTypeDef) -> Reply:
        """Each call makes another one."""
        arn, made = self._sagemaker.arn(f"artifact/{uuid.uuid4().hex}"), now()
        own = {"ArtifactArn": arn, "CreationTime": made, "LastModifiedTime": made, "CreatedBy": {}}
        with self._sagemaker.lock:
            self.artifacts[arn] = {**{key: value for key, value in request.items() if key != "Tags"}, **own}
            set_tags(self._sagemaker, arn, request.get("Tags"))
            self._sagemaker.changed()
        return {"ArtifactArn": arn}

    def _artifact(self, arn: str) -> Record:
        if arn not in self.artifacts:
            raise ServiceError(f"Artifact '{arn}' does not exist.", "ResourceNotFound")
        return self.artifacts[arn]

    @action("DescribeArtifact")
    def describe(self, request: DescribeArtifactRequestTypeDef) -> Reply:
        """Answers the artifact."""
        return self._artifact(request["ArtifactArn"])

    @action("UpdateArtifact")
    def update(self, request: UpdateArtifactRequestTypeDef) -> Reply:
        """Adds properties, removes those that are named, replaces the name."""
        with self._sagemaker.lock:
            artifact = self._artifact(request["ArtifactArn"])
            held = artifact.get("Properties")
            properties = {**(held if isinstance(held, dict) else {}), **request.get("Properties", {})}
            for name in request.get("PropertiesToRemove", []):
                properties.pop(name, None)
            artifact |= {"Properties": properties, "LastModifiedTime": now()}
            if "ArtifactName" in request:
                artifact["ArtifactName"] = request["ArtifactName"]
            self._sagemaker.changed()
        return {"ArtifactArn": request["ArtifactArn"]}

    @action("DeleteArtifact")
    def delete(self, request: DeleteArtifactRequestTypeDef) -> Reply:
        """By the ARN, or by the source; its associations go with it."""
        wanted = [
            arn
            for arn, one in self.artifacts.items()
            if arn == request.get("ArtifactArn") or ("Source" in request and one.get("Source") == request["Source"])
        ]
        if not wanted:
            raise ServiceError(f"Artifact '{request.get('ArtifactArn', '')}' does not exist.", "ResourceNotFound")
        with self._sagemaker.lock:
            for arn in wanted:
                del self.artifacts[arn]
                drop_tags(self._sagemaker, arn)
            for key, one in list(self.associations.items()):
                if {one["SourceArn"], one["DestinationArn"]} & set(wanted):
                    del self.associations[key]
            self._sagemaker.changed()
        return {"ArtifactArn": wanted[0]}

    @action("ListArtifacts")
    def list(self, request: ListArtifactsRequestTypeDef) -> Reply:
        """Answers a page of artifacts, the newest first."""
        found = [one for one in self.artifacts.values() if _matches(one, request)]
        fields = ["ArtifactArn", "ArtifactName", "Source", "ArtifactType", "CreationTime", "LastModifiedTime"]
        return listing(found, request, key="ArtifactSummaries", fields=fields, name_field="ArtifactName")

    @action("AddAssociation")
    def associate(self, request: AddAssociationRequestTypeDef) -> Reply:
        """Raises ServiceError for an entity that is not there, and for an association that is."""
        source, destination = request["SourceArn"], request["DestinationArn"]
        ends = {"Source": self._entity(source), "Destination": self._entity(destination)}
        told = {f"{end}{member}": value for end, entity in ends.items() for member, value in entity.items()}
        with self._sagemaker.lock:
            key = f"{source} {destination}"
            if key in self.associations:
                raise ServiceError(f"Association between {source} and {destination} already exists.")
            kind = {"AssociationType": request["AssociationType"]} if "AssociationType" in request else {}
            self.associations[key] = {**told, **kind, "CreationTime": now(), "CreatedBy": {}}
            self._sagemaker.changed()
        return {"SourceArn": source, "DestinationArn": destination}

    def _entity(self, arn: str) -> Record:
        if arn in self.artifacts:
            artifact = self.artifacts[arn]
            return {"Arn": arn, "Type": artifact["ArtifactType"], "Name": artifact.get("ArtifactName", "")}
        if not arn.startswith(self._components.arn("")):
            raise ServiceError(
                f"Entity '{arn}' does not exist: expected an artifact or a trial component.", "ResourceNotFound"
            )
        record = self._components.find(arn)
        source = record.get("Source")
        kind = source["SourceType"] if isinstance(source, dict) else "SageMakerTrialComponent"
        return {"Arn": arn, "Type": kind, "Name": record["TrialComponentName"]}

    @action("DeleteAssociation")
    def dissociate(self, request: DeleteAssociationRequestTypeDef) -> Reply:
        """Raises ServiceError for an association that is not there."""
        source, destination = request["SourceArn"], request["DestinationArn"]
        with self._sagemaker.lock:
            if self.associations.pop(f"{source} {destination}", None) is None:
                message = f"Association between {source} and {destination} does not exist."
                raise ServiceError(message, "ResourceNotFound")
            self._sagemaker.changed()
        return {"SourceArn": source, "DestinationArn": destination}

    @action("ListAssociations")
    def list_associations(self, request: ListAssociationsRequestTypeDef) -> Reply:
        """Answers a page of associations, the newest first."""
        named = ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
        found = [
            one
            for one in self.associations.values()
            if all(one.get(name) == request[name] for name in named if name in request)  # type: ignore[literal-required]  # each is a member
        ]
        ends = [f"{end}{member}" for end in ("Source", "Destination") for member in ("Arn", "Type", "Name")]
        fields = [*ends, "AssociationType", "CreationTime", "CreatedBy"]
        return listing(found, request, key="AssociationSummaries", fields=fields, name_field=_sorted_by(request))


def _matches(artifact: Record, request: ListArtifactsRequestTypeDef) -> bool:
    source = artifact.get("Source")
    uri = source.get("SourceUri") if isinstance(source, dict) else None
    wanted_type, wanted_uri = request.get("ArtifactType"), request.get("SourceUri")
    return wanted_type in (None, artifact["ArtifactType"]) and wanted_uri in (None, uri)


def _sorted_by(request: Mapping[str, object]) -> str:
    return str(request.get("SortBy", "SourceArn"))
