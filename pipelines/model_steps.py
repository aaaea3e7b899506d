"""The steps that every pipeline for the classifier shares: the dataset, the evaluation, the gate, the registration.

Runs on a laptop or in CodeBuild and makes no AWS call. What differs between our own training and SageMaker's built-in
algorithm stands in `training_pipeline` and `built_in_pipeline`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker.drift_check_baselines import DriftCheckBaselines
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.properties import PropertyFile

from pipelines.container_jobs import (
    MAX_JOB_SECONDS,
    SERVICE_RETRIES,
    ContainerJob,
    PipelineDeployment,
    processing_step,
    run_folder,
)
from scones.stage.settings import Settings

ACCURACY_PATH = "multiclass_classification_metrics.accuracy.value"
CHAMPION_PATH = "champion_gate.p_value_worse.value"
MODEL_CLASSES_VARIABLE = "SCONES_CLASSES"
IMAGE_CONTENT_TYPES = ["image/png", "image/jpeg", "application/x-image"]
APPROVAL_STATUSES = ["PendingManualApproval", "Approved", "Rejected"]
# Spot capacity may take a while: as long again as the job itself.
MAX_WAIT_SECONDS = 2 * MAX_JOB_SECONDS


class ModelParameters:
    """What may be chosen for each execution. `SourceUri` has no default: it names the uploaded image archive.

    `ReviewedUntil` adds the images that people labelled up to then, in ISO 8601, to those of the training split.
    """

    def __init__(self, settings: Settings, training_instance_type: str) -> None:
        defaults = settings.pipeline
        self.source_uri = ParameterString("SourceUri")
        self.reviewed_until = ParameterString("ReviewedUntil", default_value="never")
        self.classes = ParameterString("Classes", default_value=",".join(defaults.classes))
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

    def declared(self) -> list[Any]:
        return list(vars(self).values())


@dataclass(frozen=True)
class Assembly:
    """What every step needs while a pipeline is put together."""

    deployment: PipelineDeployment
    parameters: ModelParameters
    session: Any

    @property
    def region(self) -> str:
        return self.deployment.settings.region

    def run_folder(self, name: str) -> Any:
        return run_folder(self.deployment.names.pipeline_runs_uri, name)

    def processing_step(self, job: ContainerJob, role_arn: str, **options: Any) -> Any:
        return processing_step(
            job,
            self.deployment,
            session=self.session,
            role_arn=role_arn,
            instance_type=self.parameters.processing_instance_type,
            **options,
        )

    def pipeline(self, name: str, steps: list[Any]) -> Any:
        return Pipeline(
            name=name,
            parameters=self.parameters.declared(),
            steps=steps,
            # The default would create a SageMaker experiment for every execution, and need the permission to.
            pipeline_experiment_config=None,
            sagemaker_session=self.session,
        )

    def spot_options(self, dataset: Any, *decisive: Any) -> dict[str, Any]:
        """Managed spot training with checkpoints, as options of an estimator.

        Checkpoints lie where only a training on the same dataset with the same code and the same ``decisive`` values
        finds them. A folder for each execution would be in the step's cache key and so end its caching, and a run
        that is started again after a failure could not go on where the first one ended.
        """
        if not self.deployment.settings.pipeline.managed_spot_training:
            return {}
        settled = [self.deployment.source_digest[:16], *decisive, self.parameters.seed]
        return {
            "use_spot_instances": True,
            "max_wait": MAX_WAIT_SECONDS,
            "checkpoint_s3_uri": Join(
                on="/", values=[self.deployment.names.checkpoints_uri, dataset.properties.ProcessingJobName, *settled]
            ),
        }


def filter_classes(assembly: Assembly, **options: Any) -> Any:
    """CIFAR-100 archive -> dataset folder with the chosen classes."""
    parameters = assembly.parameters
    job = ContainerJob(
        step_name="FilterClasses",
        description="Keep the chosen classes of the image archive and split them into train, validation and test.",
        module="processing.filter_cifar",
        arguments={
            "--source": "/opt/ml/processing/input/source",
            "--output": "/opt/ml/processing/output/dataset",
            "--classes": parameters.classes,
            "--seed": parameters.seed.to_string(),
            # Copied by the job itself: there may be none, and an input must not be empty.
            "--reviewed": assembly.deployment.names.reviews_uri,
            "--reviewed-until": parameters.reviewed_until,
        },
        inputs={"source": parameters.source_uri},
        outputs={"dataset": assembly.run_folder("dataset")},
    )
    return assembly.processing_step(job, assembly.deployment.roles.processing, **options)


def evaluate_model(assembly: Assembly, dataset: Any, answers: Mapping[str, Any]) -> tuple[Any, Any]:
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
    )
    # Never cached: which model is the champion is no argument of the step.
    role_arn = assembly.deployment.roles.evaluation
    return assembly.processing_step(job, role_arn, cache=False, property_files=[report]), report


def build_baseline(assembly: Assembly, dataset: Any, answers: Mapping[str, Any]) -> Any:
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


def check_accuracy(assembly: Assembly, evaluation: Any, report: Any, *, passed: Any) -> Any:
    """The gate: accurate enough, and not worse than the model that is approved now."""
    parameters = assembly.parameters
    accuracy, p_value = (measured(evaluation, report, path) for path in (ACCURACY_PATH, CHAMPION_PATH))
    return ConditionStep(
        name="CheckAccuracy",
        description="Register the model only if it reaches the gate and is not worse than the approved one.",
        conditions=[
            ConditionGreaterThanOrEqualTo(left=accuracy, right=parameters.accuracy_gate),
            ConditionGreaterThanOrEqualTo(left=p_value, right=parameters.champion_significance),
        ],
        if_steps=[passed],
        else_steps=[gate_missed(parameters, accuracy, p_value)],
    )


def gate_missed(parameters: ModelParameters, accuracy: Any, p_value: Any) -> Any:
    """Ends the execution as Failed, with both figures in the message."""
    return FailStep(
        name="GateMissed",
        error_message=Join(
            on=" ",
            values=[
                "No model was registered. Accuracy on the held-out test images:",
                accuracy,
                "(parameter AccuracyGate asks for at least",
                parameters.accuracy_gate,
                "). One-sided p-value of being worse than the approved model (1.0 without one):",
                p_value,
                "(parameter ChampionSignificance asks for at least",
                parameters.champion_significance,
                ").",
            ],
        ),
    )


@dataclass(frozen=True)
class Lineage:
    """The steps that a version comes from."""

    dataset: Any
    evaluation: Any
    baseline: Any

    def file(self, step: str, name: str) -> MetricsSource:
        uri = Join(on="/", values=[output_of(getattr(self, step), step), name])
        return MetricsSource(content_type="application/json", s3_uri=uri)


def register_model(
    assembly: Assembly, package: Model, lineage: Lineage, *, content_types: list[str], **metadata: Any
) -> Any:
    """A new version in the model package group, with its evaluation, its baseline and where it came from."""
    deployment, parameters = assembly.deployment, assembly.parameters
    request = package.register(
        model_package_group_name=deployment.names.model_package_group,
        content_types=content_types,
        response_types=["application/json"],
        inference_instances=[deployment.settings.pipeline.endpoint_instance_type],
        approval_status=parameters.approval_status,
        description=Join(on=" ", values=["Image classifier for", parameters.classes]),
        model_metrics=ModelMetrics(model_statistics=lineage.file("evaluation", "evaluation.json")),
        # baseline.json stands beside them, which the registry has no place for.
        drift_check_baselines=DriftCheckBaselines(
            model_data_statistics=lineage.file("baseline", "statistics.json"),
            model_data_constraints=lineage.file("baseline", "constraints.json"),
        ),
        customer_metadata_properties={
            "confidence_threshold": parameters.confidence_threshold.to_string(),
            "source_s3_uri": parameters.source_uri,
            "reviewed_until": parameters.reviewed_until,
            "dataset_s3_uri": output_of(lineage.dataset, "dataset"),
            "code_digest": deployment.source_digest,
            "git_commit": parameters.git_commit,
            "data_origin": parameters.data_origin,
            "seed": parameters.seed.to_string(),
            **metadata,
        },
    )
    # The SDK appends "-RegisterModel" to the name.
    return ModelStep(
        name="VehicleClassifier",
        description="Register the model package that waits for approval.",
        step_args=request,
        retry_policies=SERVICE_RETRIES,
    )


def measured(evaluation: Any, report: Any, path: str) -> Any:
    return JsonGet(step_name=evaluation.name, property_file=report, json_path=path)


def output_of(step: Any, name: str) -> Any:
    """The S3 prefix of a processing step's output, resolved when the pipeline runs."""
    return step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri
