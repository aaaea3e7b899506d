"""The training pipeline: from the image archive to a model package that waits for approval.

    FilterClasses -> TrainModel -+-> EvaluateModel -> CheckAccuracy -+-> RegisterModel  (accurate, no worse than before)
                                 +-> BuildBaseline (for monitoring)  +-> GateMissed     (fails the execution)

Runs on a laptop or in CodeBuild and makes no AWS call. `definition` returns the pipeline definition JSON, which
`infrastructure` uploads; the steps run in SageMaker containers from the source archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.pytorch import PyTorch
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.steps import TrainingStep

from pipelines import model_steps, offline_sdk, registration
from pipelines.container_jobs import (
    CACHE,
    JOB_RETRIES,
    MAX_JOB_SECONDS,
    VOLUME_GB,
    OfflineSession,
    PipelineDeployment,
    inference_image,
    network_options,
    training_image,
)
from pipelines.model_steps import (
    IMAGE_CONTENT_TYPES,
    MODEL_CLASSES_VARIABLE,
    Assembly,
    build_baseline,
    evaluate_model,
    filter_classes,
    output_of,
)
from pipelines.registration import Lineage, check_accuracy
from scones.stage.sections import HYPERPARAMETERS, PRETRAINED_MODES, RECIPES
from scones.stage.settings import Settings

if TYPE_CHECKING:
    from sagemaker.workflow.entities import PipelineVariable
    from sagemaker.workflow.model_step import ModelStep
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.steps import ProcessingStep

# How CloudWatch reads training's lines:
# `epoch=3/24 member=0 train_loss=0.41 validation_loss=0.38 validation_accuracy=0.91`.
METRIC_DEFINITIONS = [
    {"Name": "epoch", "Regex": r"epoch=([0-9]+)/"},
    {"Name": "epochs", "Regex": r"epoch=[0-9]+/([0-9]+)"},
    {"Name": "train:loss", "Regex": r"train_loss=([0-9.eE+-]+)"},
    {"Name": "validation:loss", "Regex": r"validation_loss=([0-9.eE+-]+)"},
    {"Name": "validation:accuracy", "Regex": r"validation_accuracy=([0-9.]+)"},
]


class TrainingParameters(model_steps.ModelParameters):
    """The shared ones, and how our own network is trained."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.pipeline.training_instance_type)
        defaults = settings.pipeline
        self.recipe = ParameterString("Recipe", default_value=defaults.recipe, enum_values=list(RECIPES))
        self.pretrained_mode = ParameterString(
            "PretrainedMode", default_value=defaults.pretrained_mode, enum_values=list(PRETRAINED_MODES)
        )
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
    session = OfflineSession(deployment.settings.region, deployment.names.data_bucket)
    assembly = Assembly(deployment, parameters, session)

    dataset = filter_classes(assembly)
    model = train_model(assembly, parameters, dataset)
    archive = model.properties.ModelArtifacts.S3ModelArtifacts
    evaluation, report = evaluate_model(assembly, dataset, {"model": archive})
    baseline = build_baseline(assembly, dataset, {"model": archive})
    version = register_model(assembly, parameters, archive, Lineage(dataset, evaluation, baseline))
    check = check_accuracy(assembly, evaluation, report, passed=version)

    return assembly.pipeline(deployment.names.training_pipeline, [dataset, model, evaluation, baseline, check])


def train_model(assembly: Assembly, parameters: TrainingParameters, dataset: ProcessingStep) -> TrainingStep:
    """Dataset folder -> model archive."""
    deployment = assembly.deployment
    values = {
        "recipe": parameters.recipe,
        "pretrained-mode": parameters.pretrained_mode,
        **{name.replace("_", "-"): getattr(parameters, name) for name in HYPERPARAMETERS},
    }
    estimator = PyTorch(
        entry_point="training/train.py",
        source_dir=deployment.source_archive_uri,
        role=deployment.roles.training,
        image_uri=training_image(assembly.region, deployment.settings.pipeline.training_instance_type),
        instance_count=1,
        instance_type=parameters.training_instance_type,
        volume_size=VOLUME_GB,
        max_run=MAX_JOB_SECONDS,
        hyperparameters={**values, "seed": parameters.seed},
        output_path=assembly.run_folder("model"),
        output_kms_key=deployment.data_key_arn,
        tags=deployment.tags,
        metric_definitions=METRIC_DEFINITIONS,
        disable_profiler=True,
        debugger_hook_config=False,
        sagemaker_session=assembly.session,
        **assembly.spot_options(dataset, *values.values()),
        **network_options(deployment.settings.network),
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


def register_model(
    assembly: Assembly, parameters: TrainingParameters, archive: PipelineVariable, lineage: Lineage
) -> ModelStep:
    """The version that PyTorch's container serves."""
    deployment = assembly.deployment
    package = Model(
        image_uri=inference_image(assembly.region, deployment.settings.pipeline.endpoint_instance_type),
        model_data=archive,
        # The SDK asks for one; a model package has none.
        role=deployment.roles.training,
        env={
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
    )
