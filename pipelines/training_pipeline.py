"""The training pipeline: from the image archive to a model package that waits for approval.

    FilterClasses -> TrainModel -+-> EvaluateModel -> CheckAccuracy -+-> RegisterModel  (accurate, no worse than before)
                                 +-> BuildBaseline (for monitoring)  +-> GateMissed     (fails the execution)

With ``filter_instances`` of the stage above 1, MergeParts follows FilterClasses.

Runs on a laptop or in CodeBuild and makes no AWS call. `definition` returns the pipeline definition JSON, which
`infrastructure` uploads; the steps run in SageMaker containers from the source archive.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString

from pipelines import model_steps, offline_sdk, registration
from pipelines.container_jobs import (
    PipelineDeployment,
    inference_image,
    offline_session,
    training_image,
)
from pipelines.model_steps import (
    IMAGE_CONTENT_TYPES,
    MODEL_CLASSES_VARIABLE,
    Assembly,
    build_baseline,
    evaluate_model,
    filter_classes,
    filter_on_many,
    output_of,
)
from pipelines.registration import Lineage, check_accuracy
from pipelines.training_step import TrainingWork, training_step
from scones.stage.sections import HYPERPARAMETERS, PRECISIONS, PRETRAINED_MODES, RECIPES
from scones.stage.settings import Settings

if TYPE_CHECKING:
    from sagemaker.core.helper.pipeline_variable import PipelineVariable
    from sagemaker.mlops.workflow.model_step import ModelStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import ProcessingStep, TrainingStep

# How CloudWatch reads training's lines:
# `epoch=3/24 member=0 train_loss=0.41 validation_loss=0.38 train_accuracy=0.88 validation_accuracy=0.91`.
METRICS = {
    "epoch": r"epoch=([0-9]+)/",
    "epochs": r"epoch=[0-9]+/([0-9]+)",
    "train:loss": r"train_loss=([0-9.eE+-]+)",
    "validation:loss": r"validation_loss=([0-9.eE+-]+)",
    "validation:accuracy": r"validation_accuracy=([0-9.]+)",
}


class TrainingParameters(model_steps.ModelParameters):
    """The shared ones, and how our own network is trained."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.pipeline.training_instance_type)
        defaults = settings.pipeline
        self.recipe = ParameterString("Recipe", default_value=defaults.recipe, enum_values=list(RECIPES))
        self.pretrained_mode = ParameterString(
            "PretrainedMode", default_value=defaults.pretrained_mode, enum_values=list(PRETRAINED_MODES)
        )
        self.backbone = ParameterString("Backbone", default_value=defaults.backbone)
        self.backbone_weights = ParameterString("BackboneWeights", default_value=defaults.backbone_weights)
        self.precision = ParameterString("Precision", default_value=defaults.precision, enum_values=list(PRECISIONS))
        # 0 is the recipe's own number.
        self.epochs = ParameterInteger("Epochs", default_value=defaults.epochs)
        self.members = ParameterInteger("Members", default_value=defaults.members)
        self.learning_rate = ParameterFloat("LearningRate", default_value=defaults.learning_rate)
        self.batch_size = ParameterInteger("BatchSize", default_value=defaults.batch_size)
        self.network_side = ParameterInteger("NetworkSide", default_value=defaults.network_side)
        self.penalty = ParameterFloat("Penalty", default_value=defaults.penalty)


def definition(deployment: PipelineDeployment) -> str:
    """The pipeline definition JSON; the same text for the same arguments."""
    with offline_sdk():
        text: str = assemble(deployment).definition()
    return text


def assemble(deployment: PipelineDeployment) -> Pipeline:
    """The pipeline: one line for each step of the diagram above."""
    parameters = TrainingParameters(deployment.settings)
    session = offline_session(deployment.settings.region, deployment.names.data_bucket)
    assembly = Assembly(deployment, parameters, session)

    several = deployment.settings.pipeline.filter_instances > 1
    made = filter_on_many(assembly) if several else (filter_classes(assembly),)
    dataset = made[-1]
    model = train_model(assembly, parameters, dataset)
    archive = model.properties.ModelArtifacts.S3ModelArtifacts
    evaluation, report = evaluate_model(assembly, dataset, {"model": archive})
    baseline = build_baseline(assembly, dataset, {"model": archive})
    version = register_model(assembly, parameters, archive, Lineage(dataset, evaluation, baseline))
    check = check_accuracy(assembly, evaluation, report, passed=version)

    return assembly.pipeline(deployment.names.training_pipeline, [*made, model, evaluation, baseline, check])


def train_model(assembly: Assembly, parameters: TrainingParameters, dataset: ProcessingStep) -> TrainingStep:
    """Dataset folder -> model archive."""
    deployment = assembly.deployment
    values = {
        "recipe": parameters.recipe,
        "pretrained-mode": parameters.pretrained_mode,
        "backbone": parameters.backbone,
        "backbone-weights": parameters.backbone_weights,
        "precision": parameters.precision,
        **{name.replace("_", "-"): getattr(parameters, name) for name in HYPERPARAMETERS},
    }
    work = TrainingWork(
        description="Train the classifier and export it as an ONNX model archive.",
        image_uri=training_image(assembly.region, deployment.settings.pipeline.training_instance_type),
        hyperparameters={**values, "seed": parameters.seed, **script_mode(deployment)},
        channels={"dataset": output_of(dataset, "dataset")},
        checkpoints=assembly.checkpoints(dataset, *values.values()),
        metrics=METRICS,
        instances=deployment.settings.pipeline.training_instances,
        input_mode=deployment.settings.pipeline.training_input_mode,
        environment={**assembly.tracking(), **hosts_wait(deployment.settings)},
    )
    return training_step(work, assembly)


def hosts_wait(settings: Settings) -> dict[str, str]:
    """What tells several hosts for how long they wait for each other."""
    if settings.pipeline.training_instances == 1:
        return {}
    return {"SCONES_HOST_WAIT_MINUTES": str(settings.pipeline.host_wait_minutes)}


def script_mode(deployment: PipelineDeployment) -> dict[str, str]:
    """What has PyTorch's container fetch and start our script: JSON, as SageMaker's training toolkit reads it.

    `ModelTrainer` would upload the code anew for each definition; the archive is in S3 already, under its digest.
    """
    started = {"sagemaker_submit_directory": deployment.source_archive_uri, "sagemaker_program": "training/train.py"}
    told = {"sagemaker_container_log_level": logging.INFO, "sagemaker_region": deployment.settings.region}
    return {name: json.dumps(value) for name, value in {**started, **told}.items()}


def register_model(
    assembly: Assembly, parameters: TrainingParameters, archive: PipelineVariable, lineage: Lineage
) -> ModelStep:
    """The version that PyTorch's container serves."""
    deployment = assembly.deployment
    package = registration.Package(
        image_uri=inference_image(assembly.region, deployment.settings.pipeline.endpoint_instance_type),
        model_data=archive,
        environment={
            # Where the serving container looks for model_fn and its relatives: training puts them into the archive.
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            # Here and not in the metadata: CustomerMetadataProperties refuses commas (botocore, CustomerMetadataValue).
            MODEL_CLASSES_VARIABLE: parameters.classes,
        },
        sagemaker_session=assembly.session,
    )
    return registration.register_model(
        assembly,
        package,
        lineage,
        content_types=[*IMAGE_CONTENT_TYPES, "application/json"],
        algorithm="pytorch",
        recipe=parameters.recipe,
        pretrained_mode=parameters.pretrained_mode,
        members=parameters.members.to_string(),
        image_size=parameters.image_size.to_string(),
        backbone=parameters.backbone,
        backbone_weights=parameters.backbone_weights,
        precision=parameters.precision,
    )
