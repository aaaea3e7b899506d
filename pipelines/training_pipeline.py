"""The training pipeline: from the image archive to a model package that waits for approval.

    FilterClasses -> TrainModel -> EvaluateModel -> CheckAccuracy -+-> RegisterModel      (accuracy >= gate)
                                                                   +-> AccuracyBelowGate  (fails the execution)

Runs on a laptop or in CodeBuild and makes no AWS call. `definition` returns the pipeline definition JSON, which
`infrastructure` uploads; the steps run in SageMaker containers from the source archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.pytorch import PyTorch
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import TrainingStep

from pipelines import offline_sdk
from pipelines.container_jobs import (
    CACHE,
    JOB_RETRIES,
    MAX_JOB_SECONDS,
    SERVICE_RETRIES,
    VOLUME_GB,
    ContainerJob,
    Deployment,
    OfflineSession,
    inference_image,
    processing_step,
    run_folder,
    training_image,
)
from scones.settings import PipelineSettings

ACCURACY_PATH = "multiclass_classification_metrics.accuracy.value"
MODEL_CLASSES_VARIABLE = "SCONES_CLASSES"
IMAGE_CONTENT_TYPES = ["image/png", "image/jpeg", "application/x-image", "application/json"]
APPROVAL_STATUSES = ["PendingManualApproval", "Approved", "Rejected"]

# How CloudWatch reads training's lines: `epoch=3 member=0 train_loss=0.41 validation_accuracy=0.91`.
METRIC_DEFINITIONS = [
    {"Name": "train:loss", "Regex": r"train_loss=([0-9.eE+-]+)"},
    {"Name": "validation:accuracy", "Regex": r"validation_accuracy=([0-9.]+)"},
]


class Parameters:
    """What may be chosen for each execution. `SourceUri` has no default: it names the uploaded image archive."""

    def __init__(self, defaults: PipelineSettings, confidence_threshold: float) -> None:
        self.source_uri = ParameterString("SourceUri")
        self.classes = ParameterString("Classes", default_value=",".join(defaults.classes))
        self.accuracy_gate = ParameterFloat("AccuracyGate", default_value=defaults.accuracy_gate)
        self.epochs = ParameterInteger("Epochs", default_value=defaults.epochs)
        self.seed = ParameterInteger("Seed", default_value=defaults.seed)
        self.confidence_threshold = ParameterFloat("ConfidenceThreshold", default_value=confidence_threshold)
        self.processing_instance_type = ParameterString(
            "ProcessingInstanceType", default_value=defaults.processing_instance_type
        )
        self.training_instance_type = ParameterString(
            "TrainingInstanceType", default_value=defaults.training_instance_type
        )
        self.approval_status = ParameterString(
            "ApprovalStatus", default_value=defaults.approval_status, enum_values=APPROVAL_STATUSES
        )
        self.git_commit = ParameterString("GitCommit", default_value="unknown")
        self.data_origin = ParameterString("DataOrigin", default_value="photographs")

    def declared(self) -> list[Any]:
        return list(vars(self).values())


@dataclass(frozen=True)
class Assembly:
    """What every step needs while the pipeline is put together."""

    deployment: Deployment
    parameters: Parameters
    session: Any

    @property
    def region(self) -> str:
        return self.deployment.settings.region

    def run_folder(self, name: str) -> Any:
        return run_folder(self.deployment.names.pipeline_runs_uri, name)

    def processing_step(self, job: ContainerJob, **options: Any) -> Any:
        return processing_step(
            job,
            session=self.session,
            role_arn=self.deployment.role_arn,
            image_uri=training_image(self.region, self.deployment.settings.pipeline.processing_instance_type),
            instance_type=self.parameters.processing_instance_type,
            source_archive_uri=self.deployment.source_archive_uri,
            **options,
        )


def definition(deployment: Deployment) -> str:
    """The pipeline definition JSON; the same text for the same arguments."""
    with offline_sdk():
        text: str = assemble(deployment).definition()
    return text


def assemble(deployment: Deployment) -> Any:
    """The pipeline: one line for each step of the diagram above."""
    parameters = Parameters(deployment.settings.pipeline, deployment.settings.confidence_threshold)
    session = OfflineSession(deployment.settings.region, deployment.names.data_bucket)
    assembly = Assembly(deployment, parameters, session)

    dataset = filter_classes(assembly)
    model = train_model(assembly, dataset)
    evaluation, report = evaluate_model(assembly, dataset, model)
    registration = register_model(assembly, dataset, model, evaluation)
    failure = accuracy_below_gate(assembly, evaluation, report)
    check = check_accuracy(assembly, evaluation, report, passed=registration, missed=failure)

    return Pipeline(
        name=deployment.names.training_pipeline,
        parameters=parameters.declared(),
        steps=[dataset, model, evaluation, check],
        # The default would create a SageMaker experiment for every execution, and need the permission to.
        pipeline_experiment_config=None,
        sagemaker_session=session,
    )


def filter_classes(assembly: Assembly) -> Any:
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
        },
        inputs={"source": parameters.source_uri},
        outputs={"dataset": assembly.run_folder("dataset")},
    )
    return assembly.processing_step(job)


def train_model(assembly: Assembly, dataset: Any) -> Any:
    """Dataset folder -> model archive."""
    deployment, parameters = assembly.deployment, assembly.parameters
    estimator = PyTorch(
        entry_point="training/train.py",
        source_dir=deployment.source_archive_uri,
        role=deployment.role_arn,
        image_uri=training_image(assembly.region, deployment.settings.pipeline.training_instance_type),
        instance_count=1,
        instance_type=parameters.training_instance_type,
        volume_size=VOLUME_GB,
        max_run=MAX_JOB_SECONDS,
        hyperparameters={"epochs": parameters.epochs, "seed": parameters.seed},
        output_path=assembly.run_folder("model"),
        metric_definitions=METRIC_DEFINITIONS,
        disable_profiler=True,
        debugger_hook_config=False,
        sagemaker_session=assembly.session,
    )
    with assembly.session.telemetry_refused():
        request = estimator.fit(inputs={"dataset": TrainingInput(s3_data=output_of(dataset, "dataset"))})
    return TrainingStep(
        name="TrainModel",
        description="Train the classifier and export it as an ONNX model archive.",
        step_args=request,
        cache_config=CACHE,
        retry_policies=JOB_RETRIES,
    )


def evaluate_model(assembly: Assembly, dataset: Any, model: Any) -> tuple[Any, Any]:
    """Model archive and held-out test images -> the evaluation step and its property file."""
    report = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")
    job = ContainerJob(
        step_name="EvaluateModel",
        description="Classify the held-out test images through the serving code and score the answers.",
        module="processing.evaluate",
        arguments={
            "--model": "/opt/ml/processing/input/model",
            "--dataset": "/opt/ml/processing/input/dataset",
            "--output": "/opt/ml/processing/output/evaluation",
            "--threshold": assembly.parameters.confidence_threshold.to_string(),
        },
        inputs={
            "model": model.properties.ModelArtifacts.S3ModelArtifacts,
            "dataset": output_of(dataset, "dataset"),
        },
        outputs={"evaluation": assembly.run_folder("evaluation")},
    )
    return assembly.processing_step(job, property_files=[report]), report


def check_accuracy(assembly: Assembly, evaluation: Any, report: Any, *, passed: Any, missed: Any) -> Any:
    """The gate: accuracy on the held-out test images against the parameter AccuracyGate."""
    gate = ConditionGreaterThanOrEqualTo(
        left=measured_accuracy(evaluation, report), right=assembly.parameters.accuracy_gate
    )
    return ConditionStep(
        name="CheckAccuracy",
        description="Register the model only if its accuracy reaches the gate.",
        conditions=[gate],
        if_steps=[passed],
        else_steps=[missed],
    )


def register_model(assembly: Assembly, dataset: Any, model: Any, evaluation: Any) -> Any:
    """A new version in the model package group, with its evaluation and where it came from."""
    deployment, parameters = assembly.deployment, assembly.parameters
    endpoint_instance_type = deployment.settings.pipeline.endpoint_instance_type
    package = Model(
        image_uri=inference_image(assembly.region, endpoint_instance_type),
        model_data=model.properties.ModelArtifacts.S3ModelArtifacts,
        role=deployment.role_arn,
        env={
            # Where the serving container looks for model_fn and its relatives: training puts them into the archive.
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            # Here and not in the metadata: CustomerMetadataProperties refuses commas (botocore, CustomerMetadataValue).
            MODEL_CLASSES_VARIABLE: parameters.classes,
        },
        sagemaker_session=assembly.session,
    )
    evaluation_uri = Join(on="/", values=[output_of(evaluation, "evaluation"), "evaluation.json"])
    request = package.register(
        model_package_group_name=deployment.names.model_package_group,
        content_types=IMAGE_CONTENT_TYPES,
        response_types=["application/json"],
        inference_instances=[endpoint_instance_type],
        approval_status=parameters.approval_status,
        description=Join(on=" ", values=["Image classifier for", parameters.classes]),
        model_metrics=ModelMetrics(
            model_statistics=MetricsSource(content_type="application/json", s3_uri=evaluation_uri)
        ),
        customer_metadata_properties={
            "confidence_threshold": parameters.confidence_threshold.to_string(),
            "source_s3_uri": parameters.source_uri,
            "dataset_s3_uri": output_of(dataset, "dataset"),
            "code_digest": deployment.source_digest,
            "git_commit": parameters.git_commit,
            "data_origin": parameters.data_origin,
            "seed": parameters.seed.to_string(),
        },
    )
    # The SDK appends "-RegisterModel" to the name.
    return ModelStep(
        name="VehicleClassifier",
        description="Register the model package that waits for approval.",
        step_args=request,
        retry_policies=SERVICE_RETRIES,
    )


def accuracy_below_gate(assembly: Assembly, evaluation: Any, report: Any) -> Any:
    """Ends the execution as Failed, with both figures in the message."""
    return FailStep(
        name="AccuracyBelowGate",
        error_message=Join(
            on=" ",
            values=[
                "Accuracy on the held-out test images is",
                measured_accuracy(evaluation, report),
                "but the gate (parameter AccuracyGate) asks for",
                assembly.parameters.accuracy_gate,
                "so no model was registered.",
            ],
        ),
    )


def measured_accuracy(evaluation: Any, report: Any) -> Any:
    return JsonGet(step_name=evaluation.name, property_file=report, json_path=ACCURACY_PATH)


def output_of(step: Any, name: str) -> Any:
    """The S3 prefix of a processing step's output, resolved when the pipeline runs."""
    return step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri
