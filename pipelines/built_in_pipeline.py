"""The training pipeline with SageMaker's built-in image classification instead of our own network.

    FilterClasses -> TrainModel -> CreateModel -> ClassifyTestImages -+-> EvaluateModel -> CheckAccuracy
                                                                      +-> BuildBaseline (for monitoring)
        CheckAccuracy -+-> RegisterModel  (accurate, not worse than before)
                       +-> GateMissed     (fails the execution)

A second definition, not a branch in the first: a pipeline has one graph, so every later step would exist twice, and
every run would show the steps that it skips. The algorithm's container has none of our code, so the test images go
through a batch transform, and evaluation reads the answers. Runs on a laptop or in CodeBuild and makes no AWS call.

Authority: "Image Classification - MXNet" and "Image Classification Hyperparameters", SageMaker AI developer guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker.core import image_uris
from sagemaker.core.transformer import Transformer
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.steps import TransformStep

from pipelines import model_steps, offline_sdk, registration
from pipelines.container_jobs import (
    JOB_RETRIES,
    SERVICE_RETRIES,
    PipelineDeployment,
    offline_session,
    vpc_config,
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
from pipelines.registration import Lineage, Package, check_accuracy
from pipelines.training_step import TrainingWork, training_step
from scones.stage.settings import Settings

if TYPE_CHECKING:
    from sagemaker.core.helper.pipeline_variable import PipelineVariable
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import ProcessingStep, TrainingStep

ALGORITHM = "image-classification"
IMAGE_TYPE = "application/x-image"
IMAGE_SIZE = 32
"""Pixels a side, where the stage says nothing: CIFAR's."""
CONCURRENT_REQUESTS = 4


class BuiltInParameters(model_steps.ModelParameters):
    """The shared ones, and the hyperparameters of the algorithm."""

    def __init__(self, settings: Settings) -> None:
        defaults = settings.built_in
        super().__init__(settings, defaults.training_instance_type)
        # The algorithm has to be told, before anybody has seen the images.
        self.image_size = ParameterInteger("ImageSize", default_value=settings.pipeline.image_size or IMAGE_SIZE)
        self.epochs = ParameterInteger("Epochs", default_value=defaults.epochs)
        self.use_pretrained_model = ParameterString(
            "UsePretrainedModel", default_value=str(int(defaults.use_pretrained_model)), enum_values=["0", "1"]
        )
        self.num_layers = ParameterInteger("NumLayers", default_value=defaults.num_layers)
        self.mini_batch_size = ParameterInteger("MiniBatchSize", default_value=defaults.mini_batch_size)
        self.learning_rate = ParameterFloat("LearningRate", default_value=defaults.learning_rate)
        self.num_classes = ParameterInteger("NumClasses", default_value=len(settings.pipeline.classes))
        self.transform_instance_type = ParameterString(
            "TransformInstanceType", default_value=defaults.transform_instance_type
        )


def definition(deployment: PipelineDeployment) -> str:
    """The pipeline definition JSON; the same text for the same arguments."""
    with offline_sdk():
        text: str = assemble(deployment).definition()
    return text


def assemble(deployment: PipelineDeployment) -> Pipeline:
    """The pipeline: one line for each step of the diagram above."""
    parameters = BuiltInParameters(deployment.settings)
    session = offline_session(deployment.settings.region, deployment.names.data_bucket)
    assembly = Assembly(deployment, parameters, session)

    manifest = PropertyFile(name="Dataset", output_name="dataset", path="dataset.json")
    dataset = filter_classes(assembly, [manifest])
    training = train_model(assembly, parameters, dataset, manifest)
    package = model_package(assembly, parameters, training.properties.ModelArtifacts.S3ModelArtifacts)
    model = create_model(package, deployment)
    answers = classify_test_images(assembly, parameters, dataset, model)
    predictions = {"predictions": answers.properties.TransformOutput.S3OutputPath}
    evaluation, report = evaluate_model(assembly, dataset, predictions)
    baseline = build_baseline(assembly, dataset, predictions)
    lineage = Lineage(dataset, evaluation, baseline)
    version = registration.register_model(
        assembly, package, lineage, content_types=IMAGE_CONTENT_TYPES, algorithm=ALGORITHM
    )
    check = check_accuracy(assembly, evaluation, report, passed=version)

    steps = [dataset, training, model, answers, evaluation, baseline, check]
    return assembly.pipeline(deployment.names.built_in_pipeline, steps)


def train_model(
    assembly: Assembly, parameters: BuiltInParameters, dataset: ProcessingStep, manifest: PropertyFile
) -> TrainingStep:
    """The four channels of the dataset folder -> model archive."""
    values = {
        "epochs": parameters.epochs,
        "use_pretrained_model": parameters.use_pretrained_model,
        "num_layers": parameters.num_layers,
        "mini_batch_size": parameters.mini_batch_size,
        "learning_rate": parameters.learning_rate,
    }
    samples = JsonGet(step_name=dataset.name, property_file=manifest, json_path="checks.images.train")
    folder = output_of(dataset, "dataset")
    # With its slash: without one, `.../train` would also name `.../train.lst`.
    images = {split: Join(on="/", values=[folder, split, ""]) for split in ("train", "validation")}
    lists = {f"{split}_lst": Join(on="/", values=[folder, f"{split}.lst"]) for split in ("train", "validation")}
    work = TrainingWork(
        description="Train SageMaker's built-in image classification.",
        image_uri=algorithm_image(assembly.region),
        hyperparameters={
            **values,
            "num_classes": parameters.num_classes,
            "num_training_samples": samples.to_string(),
            "image_shape": Join(on=",", values=["3", parameters.image_size, parameters.image_size]),
            "checkpoint_frequency": "1",
        },
        channels={**images, **lists},
        content_type=IMAGE_TYPE,
        checkpoints=assembly.checkpoints(dataset, ALGORITHM, *values.values()),
    )
    return training_step(work, assembly)


def model_package(assembly: Assembly, parameters: BuiltInParameters, archive: PipelineVariable) -> Package:
    """What serves the algorithm's model: its own container. It does not know the classes' names, so we add them."""
    return Package(
        image_uri=algorithm_image(assembly.region),
        model_data=archive,
        environment={MODEL_CLASSES_VARIABLE: parameters.classes},
        sagemaker_session=assembly.session,
    )


def create_model(package: Package, deployment: PipelineDeployment) -> ModelStep:
    """The model that the batch transform starts."""
    session = package.sagemaker_session
    session.init_model_step_arguments(package)
    session.create_model(
        "Candidate",
        role=deployment.roles.transform,
        container_defs=package.container,
        vpc_config=vpc_config(deployment.settings.network),
        tags=deployment.tags,
    )
    request, session.context = session.context, None
    return ModelStep(
        name="Candidate-CreateModel",
        description="Make the trained model known, so that the test images can be sent through it.",
        step_args=request,
        retry_policies=SERVICE_RETRIES,
    )


def classify_test_images(
    assembly: Assembly, parameters: BuiltInParameters, dataset: ProcessingStep, model: ModelStep
) -> TransformStep:
    """Held-out test images -> one JSON array of class probabilities each, as ``<file name>.out``."""
    transformer = Transformer(
        model_name=model.properties.ModelName,
        instance_count=1,
        instance_type=parameters.transform_instance_type,
        max_concurrent_transforms=CONCURRENT_REQUESTS,
        max_payload=1,
        accept="application/json",
        output_path=assembly.run_folder("predictions"),
        output_kms_key=assembly.deployment.data_key_arn,
        tags=assembly.deployment.tags,
        sagemaker_session=assembly.session,
    )
    request = transformer.transform(
        data=Join(on="/", values=[output_of(dataset, "dataset"), "test", ""]), content_type=IMAGE_TYPE
    )
    return TransformStep(
        name="ClassifyTestImages",
        description="Send the held-out test images through the model's own container.",
        step_args=request,
        retry_policies=JOB_RETRIES,
    )


def algorithm_image(region: str) -> str:
    """The algorithm's container, of an account of AWS's own for each region."""
    uri: str = image_uris.retrieve(ALGORITHM, region)
    return uri
