"""The steps that every pipeline for the classifier shares: the dataset, the evaluation, the baseline.

Runs on a laptop or in CodeBuild and makes no AWS call. What differs between our own training and SageMaker's built-in
algorithm stands in `training_pipeline` and `built_in_pipeline`; what follows the evaluation in `registration`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.pipeline import Pipeline

from pipelines.container_jobs import (
    ContainerJob,
    OfflineSession,
    PipelineDeployment,
    PipelineParameters,
    processing_step,
    run_folder,
)
from scones.stage.settings import Settings

if TYPE_CHECKING:
    from sagemaker.core.helper.pipeline_variable import PipelineVariable
    from sagemaker.mlops.workflow.steps import ProcessingStep, Step

MODEL_CLASSES_VARIABLE = "SCONES_CLASSES"
IMAGE_CONTENT_TYPES = ["image/png", "image/jpeg", "application/x-image"]
APPROVAL_STATUSES = ["PendingManualApproval", "Approved", "Rejected"]


class ModelParameters(PipelineParameters):
    """What may be chosen for each execution. `SourceUri` has no default: it names the uploaded image archive.

    `ReviewedUntil` adds the images that people labelled up to then, in ISO 8601, to those of the training split.
    """

    def __init__(self, settings: Settings, training_instance_type: str) -> None:
        defaults = settings.pipeline
        self.source_uri = ParameterString("SourceUri")
        self.reviewed_until = ParameterString("ReviewedUntil", default_value="never")
        self.classes = ParameterString("Classes", default_value=",".join(defaults.classes))
        # 0: 32 pixels for CIFAR-100 and other thumbnails, 224 for photographs.
        self.image_size = ParameterInteger("ImageSize", default_value=defaults.image_size)
        self.accuracy_gate = ParameterFloat("AccuracyGate", default_value=defaults.accuracy_gate)
        self.champion_significance = ParameterFloat(
            "ChampionSignificance", default_value=defaults.champion_significance
        )
        self.seed = ParameterInteger("Seed", default_value=defaults.seed)
        self.confidence_threshold = ParameterFloat("ConfidenceThreshold", default_value=settings.confidence_threshold)
        self.processing_instance_type = ParameterString(
            "ProcessingInstanceType", default_value=defaults.processing_instance_type
        )
        self.training_instance_type = ParameterString("TrainingInstanceType", default_value=training_instance_type)
        self.approval_status = ParameterString(
            "ApprovalStatus", default_value=defaults.approval_status, enum_values=APPROVAL_STATUSES
        )
        self.git_commit = ParameterString("GitCommit", default_value="unknown")
        self.data_origin = ParameterString("DataOrigin", default_value="photographs")
        # Where MLflow runs; empty: nothing is logged.
        self.tracking_uri = ParameterString("TrackingUri", default_value=settings.tracking_uri)


@dataclass(frozen=True)
class Assembly:
    """What every step needs while a pipeline is put together."""

    deployment: PipelineDeployment
    parameters: ModelParameters
    session: OfflineSession

    @property
    def region(self) -> str:
        """The stage's region, whose containers the steps run in."""
        return self.deployment.settings.region

    def run_folder(self, name: str) -> PipelineVariable:
        """Name a folder of the pipeline's execution, resolved when it runs."""
        return run_folder(self.deployment.names.pipeline_runs_uri, name)

    def processing_step(
        self,
        job: ContainerJob,
        role_arn: str,
        *,
        cache: bool = True,
        property_files: Sequence[PropertyFile] = (),
    ) -> ProcessingStep:
        """Make the step of a processing job, on the instance type that the execution chooses."""
        return processing_step(
            job,
            self.deployment,
            session=self.session,
            role_arn=role_arn,
            instance_type=self.parameters.processing_instance_type,
            cache=cache,
            property_files=property_files,
        )

    def pipeline(self, name: str, steps: list[Step]) -> Pipeline:
        """Put the steps together under a name."""
        return Pipeline(
            name=name,
            parameters=self.parameters.declared(),
            steps=steps,
            # The default would create a SageMaker experiment for every execution, and need the permission to.
            pipeline_experiment_config=None,
            sagemaker_session=self.session,
        )

    def tracking(self) -> dict[str, str | PipelineVariable]:
        """What tells a job where MLflow runs, under which name it logs, and where its files go."""
        names = self.deployment.names
        told = {"MLFLOW_EXPERIMENT_NAME": names.prefix, "SCONES_MLFLOW_ARTIFACTS": names.tracked_files_uri}
        return {"MLFLOW_TRACKING_URI": self.parameters.tracking_uri, **told}

    def checkpoints(self, dataset: ProcessingStep, *decisive: str | PipelineVariable) -> PipelineVariable | None:
        """Where a managed spot training leaves its checkpoints; nowhere when the stage trains on demand.

        Checkpoints lie where only a training on the same dataset with the same code and the same ``decisive`` values
        finds them. A folder for each execution would be in the step's cache key and so end its caching, and a run
        that is started again after a failure could not go on where the first one ended.
        """
        if not self.deployment.settings.pipeline.managed_spot_training:
            return None
        settled = [self.deployment.source_digest[:16], *decisive, self.parameters.seed]
        job = dataset.properties.ProcessingJobName
        return Join(on="/", values=[self.deployment.names.checkpoints_uri, job, *settled])


def filter_classes(assembly: Assembly, property_files: Sequence[PropertyFile] = ()) -> ProcessingStep:
    """CIFAR-100 archive or pictures -> dataset folder with the chosen classes."""
    parameters = assembly.parameters
    job = ContainerJob(
        step_name="FilterClasses",
        description="Keep the chosen classes of the image archive and split them into train, validation and test.",
        module="processing.filter_cifar",
        arguments={
            "--source": "/opt/ml/processing/input/source",
            "--output": "/opt/ml/processing/output/dataset",
            "--classes": parameters.classes,
            "--image-size": parameters.image_size.to_string(),
            "--seed": parameters.seed.to_string(),
            **_reviews(assembly),
        },
        inputs={"source": parameters.source_uri},
        outputs={"dataset": assembly.run_folder("dataset")},
    )
    return assembly.processing_step(job, assembly.deployment.roles.processing, property_files=property_files)


def filter_on_many(assembly: Assembly) -> tuple[ProcessingStep, ProcessingStep]:
    """Pictures -> the same, filtered on as many instances as the stage says: those, and the merge, whose dataset it is.

    Both write below one prefix: the instances the pictures, the merge the lists that name them.
    """
    parameters, pipeline = assembly.parameters, assembly.deployment.settings.pipeline
    chosen = {"--classes": parameters.classes, "--seed": parameters.seed.to_string()}
    part = ContainerJob(
        step_name="FilterClasses",
        description="Scale the chosen classes' pictures, each instance its part of them.",
        module="processing.shards.part",
        arguments={**chosen, "--image-size": parameters.image_size.to_string()},
        inputs={"source": parameters.source_uri},
        outputs={"dataset": assembly.run_folder("dataset"), "index": assembly.run_folder("index")},
        instances=pipeline.filter_instances,
        divided=frozenset({"source"}),
    )
    filtered = assembly.processing_step(part, assembly.deployment.roles.processing)
    merge = ContainerJob(
        step_name="MergeParts",
        description="Check the instances' parts against each other and list what the dataset holds.",
        module="processing.shards.merge",
        arguments={**chosen, "--instances": str(pipeline.filter_instances), **_reviews(assembly)},
        inputs={"index": output_of(filtered, "index")},
        # Where the pictures are: the step before put them there.
        outputs={"dataset": output_of(filtered, "dataset")},
    )
    return filtered, assembly.processing_step(merge, assembly.deployment.roles.processing)


def _reviews(assembly: Assembly) -> dict[str, str | PipelineVariable]:
    """Copied by the job itself: there may be none, and an input must not be empty."""
    return {
        "--reviewed": assembly.deployment.names.reviews_uri,
        "--reviewed-until": assembly.parameters.reviewed_until,
    }


def evaluate_model(
    assembly: Assembly, dataset: ProcessingStep, answers: Mapping[str, PipelineVariable]
) -> tuple[ProcessingStep, PropertyFile]:
    """Held-out test images -> the evaluation step and its property file.

    ``answers`` is what is evaluated: the input "model" (a model archive) or "predictions" (a transform's outputs).
    """
    report = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")
    parameters = assembly.parameters
    job = ContainerJob(
        step_name="EvaluateModel",
        description="Score the answers to the held-out test images, and compare them with the approved model's.",
        module="processing.evaluate",
        arguments={
            **{f"--{name}": f"/opt/ml/processing/input/{name}" for name in answers},
            "--dataset": "/opt/ml/processing/input/dataset",
            "--output": "/opt/ml/processing/output/evaluation",
            "--threshold": parameters.confidence_threshold.to_string(),
            "--accuracy-gate": parameters.accuracy_gate.to_string(),
            "--champion-group": assembly.deployment.names.model_package_group,
            "--champion-significance": parameters.champion_significance.to_string(),
        },
        inputs={**answers, "dataset": output_of(dataset, "dataset")},
        outputs={"evaluation": assembly.run_folder("evaluation")},
        environment=assembly.tracking(),
    )
    # Never cached: which model is the champion is no argument of the step.
    role_arn = assembly.deployment.roles.evaluation
    return assembly.processing_step(job, role_arn, cache=False, property_files=[report]), report


def build_baseline(
    assembly: Assembly, dataset: ProcessingStep, answers: Mapping[str, PipelineVariable]
) -> ProcessingStep:
    """What monitoring holds the version's traffic against: its own answers to images it was not trained on.

    ``answers`` as for `evaluate_model`: with a model, validation images go through the code that serves it.
    """
    job = ContainerJob(
        step_name="BuildBaseline",
        description="Note what the model answers when all is well, for the monitoring of the version.",
        module="monitoring.baseline",
        arguments={
            **{f"--{name}": f"/opt/ml/processing/input/{name}" for name in answers},
            "--dataset": "/opt/ml/processing/input/dataset",
            "--output": "/opt/ml/processing/output/baseline",
            "--threshold": assembly.parameters.confidence_threshold.to_string(),
        },
        inputs={**answers, "dataset": output_of(dataset, "dataset")},
        outputs={"baseline": assembly.run_folder("baseline")},
    )
    return assembly.processing_step(job, assembly.deployment.roles.evaluation)


def output_of(step: ProcessingStep, name: str) -> PipelineVariable:
    """The S3 prefix of a processing step's output, resolved when the pipeline runs."""
    return step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri
