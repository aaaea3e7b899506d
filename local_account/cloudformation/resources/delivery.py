"""Delivery in stacks: CodePipeline, CodeBuild and connections. Runs in the server process."""

from __future__ import annotations

from typing import Any

from local_account.cloudformation.resources.base import (
    ApiKind,
    Kind,
    Made,
    Place,
    Properties,
    call,
    call_gone,
    only,
    without,
)

# Properties of CodeBuild that the API spells in another way than by its first letter.
_RENAMED = {"BuildSpec": "buildspec", "InsecureSsl": "insecureSsl"}


class DeliveryPipeline(Kind):
    """AWS::CodePipeline::Pipeline."""

    name = "Name"

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("Name") or place.generated_name(100)
        tags = only(properties, "Tags")
        answer = call(
            place, "codepipeline", "CreatePipeline", {"pipeline": self._declaration(name, properties), **tags}
        )
        self._set_transitions(place, name, {}, properties)
        return Made(name, {"Version": str(answer["pipeline"]["version"])})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        request = {"pipeline": self._declaration(physical_id, new)}
        answer = call(place, "codepipeline", "UpdatePipeline", request)
        self._set_transitions(place, physical_id, old, new)
        if new.get("RestartExecutionOnUpdate") in (True, "true"):
            call(place, "codepipeline", "StartPipelineExecution", {"Name": physical_id})
        return Made(physical_id, {"Version": str(answer["pipeline"]["version"])})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        call_gone(place, "codepipeline", "DeletePipeline", {"Name": physical_id})

    @staticmethod
    def _declaration(name: str, properties: Properties) -> dict[str, Any]:
        apart = ("Name", "Tags", "RestartExecutionOnUpdate", "DisableInboundStageTransitions")
        return without(properties, *apart) | {"Name": name}

    @staticmethod
    def _set_transitions(place: Place, name: str, old: Properties, new: Properties) -> None:
        before, after = (
            {each["StageName"]: each["Reason"] for each in properties.get("DisableInboundStageTransitions", [])}
            for properties in (old, new)
        )
        inbound = {"PipelineName": name, "TransitionType": "Inbound"}
        for stage in before.keys() - after.keys():
            call(place, "codepipeline", "EnableStageTransition", {**inbound, "StageName": stage})
        for stage, reason in after.items():
            request = {**inbound, "StageName": stage, "Reason": reason}
            call(place, "codepipeline", "DisableStageTransition", request)


class BuildProject(Kind):
    """AWS::CodeBuild::Project."""

    name = "Name"

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("Name") or place.generated_name(150)
        project = call(place, "codebuild", "CreateProject", _spelt(properties) | {"Name": name})["project"]
        return Made(name, {"Arn": project["arn"]})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        request = _spelt(new) | {"Name": physical_id}
        project = call(place, "codebuild", "UpdateProject", request)["project"]
        return Made(physical_id, {"Arn": project["arn"]})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        call_gone(place, "codebuild", "DeleteProject", {"Name": physical_id})


def _spelt(properties: Properties) -> dict[str, Any]:
    source = {_RENAMED.get(name, name): value for name, value in properties["Source"].items()}
    return {**properties, "Source": source}


class ReportGroup(Kind):
    """AWS::CodeBuild::ReportGroup."""

    name = "Name"
    replaced_by = frozenset({"Type"})

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("Name") or place.generated_name(128)
        request = without(properties, "DeleteReports") | {"Name": name}
        arn = call(place, "codebuild", "CreateReportGroup", request)["reportGroup"]["arn"]
        return Made(arn, {"Arn": arn})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        call(place, "codebuild", "UpdateReportGroup", {"Arn": physical_id, **only(new, "ExportConfig", "Tags")})
        return Made(physical_id, {"Arn": physical_id})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        reports = only(properties, "DeleteReports")
        call_gone(place, "codebuild", "DeleteReportGroup", {"Arn": physical_id, **reports})


class ModelPackageGroup(Kind):
    """AWS::SageMaker::ModelPackageGroup with the policy that says which other accounts may read it."""

    name = "ModelPackageGroupName"
    replaced_by = frozenset({"ModelPackageGroupDescription"})

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("ModelPackageGroupName") or place.generated_name(63)
        request = without(properties, "ModelPackageGroupPolicy") | {"ModelPackageGroupName": name}
        arn = str(call(place, "sagemaker", "CreateModelPackageGroup", request)["ModelPackageGroupArn"])
        return self.update(place, arn, {}, properties)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        group = {"ModelPackageGroupName": physical_id.rpartition("/")[2]}
        if policy := new.get("ModelPackageGroupPolicy"):
            call(place, "sagemaker", "PutModelPackageGroupPolicy", group | {"ResourcePolicy": policy})
        elif old.get("ModelPackageGroupPolicy"):
            call_gone(place, "sagemaker", "DeleteModelPackageGroupPolicy", group)
        return Made(physical_id, {"ModelPackageGroupArn": physical_id, **group})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        group = {"ModelPackageGroupName": physical_id.rpartition("/")[2]}
        call_gone(place, "sagemaker", "DeleteModelPackageGroup", group)


DELIVERY: dict[str, Kind] = {
    "AWS::SageMaker::ModelPackageGroup": ModelPackageGroup(),
    "AWS::CodeBuild::Project": BuildProject(),
    "AWS::CodeBuild::ReportGroup": ReportGroup(),
    "AWS::CodeConnections::Connection": ApiKind(
        "codeconnections",
        "CreateConnection",
        "DeleteConnection",
        "ConnectionArn",
        name="ConnectionName",
        longest_name=32,
        physical_id=lambda answer, _properties: str(answer["ConnectionArn"]),
        attributes=lambda answer, _p, _: {"ConnectionArn": answer["ConnectionArn"], "ConnectionStatus": "PENDING"},
    ),
    "AWS::CodePipeline::Pipeline": DeliveryPipeline(),
}
