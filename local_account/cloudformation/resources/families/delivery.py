"""Delivery in stacks: CodePipeline, CodeBuild and connections, groups of models and repositories of images.

Runs in the server process.
"""

from __future__ import annotations

from local_account.base.arns import last_part
from local_account.cloudformation.resources.base import Answer, ApiKind, Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, as_mapping, as_text, only, part, rows
from local_account.protocol.records import without

# Properties of CodeBuild that the API spells in another way than by its first letter.
_RENAMED = {"BuildSpec": "buildspec", "InsecureSsl": "insecureSsl"}
_APART_FROM_REPOSITORIES = ("EmptyOnDelete", "LifecyclePolicy", "RepositoryPolicyText")
_CHANGED_BY_A_CALL = {
    "ImageTagMutability": "PutImageTagMutability",
    "ImageScanningConfiguration": "PutImageScanningConfiguration",
}


class DeliveryPipeline(Kind):
    """AWS::CodePipeline::Pipeline."""

    name = "Name"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the pipeline, whose first execution begins at once, then close the stages that are to be closed."""
        name = place.name_of(properties, "Name", 100)
        tags = only(properties, "Tags")
        answer = call(
            place, "codepipeline", "CreatePipeline", {"pipeline": self._declaration(name, properties), **tags}
        )
        place.begun(name)
        self._set_transitions(place, name, {}, properties)
        return Made(name, {"Version": str(part(answer, "pipeline")["version"])})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change the pipeline and what is closed; start an execution if ``RestartExecutionOnUpdate`` says so."""
        request = {"pipeline": self._declaration(physical_id, new)}
        answer = call(place, "codepipeline", "UpdatePipeline", request)
        self._set_transitions(place, physical_id, old, new)
        if new.get("RestartExecutionOnUpdate") in (True, "true"):
            call(place, "codepipeline", "StartPipelineExecution", {"Name": physical_id})
        return Made(physical_id, {"Version": str(part(answer, "pipeline")["version"])})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the pipeline with its executions."""
        call_gone(place, "codepipeline", "DeletePipeline", {"Name": physical_id})

    @staticmethod
    def _declaration(name: str, properties: Properties) -> dict[str, object]:
        apart = ("Name", "Tags", "RestartExecutionOnUpdate", "DisableInboundStageTransitions")
        return without(properties, *apart) | {"Name": name}

    @staticmethod
    def _set_transitions(place: StackPlace, name: str, old: Properties, new: Properties) -> None:
        before, after = (
            {each["StageName"]: each["Reason"] for each in rows(properties, "DisableInboundStageTransitions")}
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

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the project, under a generated name where the properties give none."""
        name = place.name_of(properties, "Name", 150)
        project = part(call(place, "codebuild", "CreateProject", _spelt(properties) | {"Name": name}), "project")
        return Made(name, {"Arn": project["arn"]})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change the project's members that the template has."""
        request = _spelt(new) | {"Name": physical_id}
        project = part(call(place, "codebuild", "UpdateProject", request), "project")
        return Made(physical_id, {"Arn": project["arn"]})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the project with its builds."""
        call_gone(place, "codebuild", "DeleteProject", {"Name": physical_id})


def _spelt(properties: Properties) -> dict[str, object]:
    source = {_RENAMED.get(name, name): value for name, value in part(properties, "Source").items()}
    return {**properties, "Source": source}


class ReportGroup(Kind):
    """AWS::CodeBuild::ReportGroup."""

    name = "Name"
    replaced_by = frozenset({"Type"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the group; it goes by its ARN."""
        name = place.name_of(properties, "Name", 128)
        request = without(properties, "DeleteReports") | {"Name": name}
        arn = str(part(call(place, "codebuild", "CreateReportGroup", request), "reportGroup")["arn"])
        return Made(arn, {"Arn": arn})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change the export and the tags, all that can change."""
        call(place, "codebuild", "UpdateReportGroup", {"Arn": physical_id, **only(new, "ExportConfig", "Tags")})
        return Made(physical_id, {"Arn": physical_id})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the group, with its reports only where ``DeleteReports`` says so."""
        reports = only(properties, "DeleteReports")
        call_gone(place, "codebuild", "DeleteReportGroup", {"Arn": physical_id, **reports})


class ModelPackageGroup(Kind):
    """AWS::SageMaker::ModelPackageGroup with the policy that says which other accounts may read it."""

    name = "ModelPackageGroupName"
    replaced_by = frozenset({"ModelPackageGroupDescription"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the group, then give it its policy."""
        name = place.name_of(properties, "ModelPackageGroupName", 63)
        request = without(properties, "ModelPackageGroupPolicy") | {"ModelPackageGroupName": name}
        arn = str(call(place, "sagemaker", "CreateModelPackageGroup", request)["ModelPackageGroupArn"])
        place.begun(arn)
        return self.update(place, arn, {}, properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Put the policy, or remove the one that the template no longer has."""
        group = {"ModelPackageGroupName": last_part(physical_id)}
        if policy := new.get("ModelPackageGroupPolicy"):
            call(place, "sagemaker", "PutModelPackageGroupPolicy", group | {"ResourcePolicy": policy})
        elif old.get("ModelPackageGroupPolicy"):
            call_gone(place, "sagemaker", "DeleteModelPackageGroupPolicy", group)
        return Made(physical_id, {"ModelPackageGroupArn": physical_id, **group})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the group; SageMaker refuses one that holds packages."""
        group = {"ModelPackageGroupName": last_part(physical_id)}
        call_gone(place, "sagemaker", "DeleteModelPackageGroup", group)


class ImageRepository(Kind):
    """AWS::ECR::Repository, with what it lets go and who may use it."""

    name = "RepositoryName"
    replaced_by = frozenset({"EncryptionConfiguration"})
    has_tags = True

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the repository, then give it its policies."""
        name = str(properties.get("RepositoryName") or place.generated_name(256, lower=True))
        answer = call(
            place, "ecr", "CreateRepository", {**without(properties, *_APART_FROM_REPOSITORIES), "RepositoryName": name}
        )
        place.begun(name)
        self._put_policies(place, name, {}, properties)
        found = answer["repository"]
        assert isinstance(found, dict)  # noqa: S101  # as botocore reads it
        return self._made(name, found)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change what can be changed of a repository, one call each."""
        key = {"RepositoryName": physical_id}
        for name, operation in _CHANGED_BY_A_CALL.items():
            if old.get(name) != new.get(name) and name in new:
                call(place, "ecr", operation, {**key, name: new[name]})
        self._put_policies(place, physical_id, old, new)
        listed = call(place, "ecr", "DescribeRepositories", {"RepositoryNames": [physical_id]})["repositories"]
        assert isinstance(listed, list)  # noqa: S101  # as botocore reads it
        return self._made(physical_id, listed[0])

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the repository; one with images only where the template says so."""
        force = as_text(properties.get("EmptyOnDelete", False)) == "true"
        call_gone(place, "ecr", "DeleteRepository", {"RepositoryName": physical_id, "Force": force})

    @staticmethod
    def _put_policies(place: StackPlace, name: str, old: Properties, new: Properties) -> None:
        key = {"RepositoryName": name}
        if "RepositoryPolicyText" in new:
            call(place, "ecr", "SetRepositoryPolicy", {**key, "PolicyText": as_text(new["RepositoryPolicyText"])})
        elif "RepositoryPolicyText" in old:
            call_gone(place, "ecr", "DeleteRepositoryPolicy", key)
        if "LifecyclePolicy" in new:
            text = as_mapping(new["LifecyclePolicy"], "LifecyclePolicy").get("LifecyclePolicyText", "")
            call(place, "ecr", "PutLifecyclePolicy", {**key, "LifecyclePolicyText": as_text(text)})
        elif "LifecyclePolicy" in old:
            call_gone(place, "ecr", "DeleteLifecyclePolicy", key)

    @staticmethod
    def _made(name: str, found: Answer) -> Made:
        return Made(name, {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]})


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
    "AWS::ECR::Repository": ImageRepository(),
}
