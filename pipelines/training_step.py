"""The step that trains a model, of whichever algorithm.

Runs on a laptop or in CodeBuild and makes no AWS call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sagemaker.core.shapes import (
    Channel,
    CheckpointConfig,
    DataSource,
    MetricDefinition,
    OutputDataConfig,
    S3DataSource,
    StoppingCondition,
    Tag,
)
from sagemaker.core.training.configs import Compute, Networking
from sagemaker.core.workflow.functions import Join
from sagemaker.mlops.workflow.steps import TrainingStep
from sagemaker.train.model_trainer import ModelTrainer

from pipelines.container_jobs import CACHE, JOB_RETRIES, max_job_seconds
from pipelines.model_steps import Assembly
from scones.stage.sections import NetworkSettings

if TYPE_CHECKING:
    from sagemaker.core.helper.pipeline_variable import PipelineVariable
    from sagemaker.core.workflow.parameters import Parameter


@dataclass(frozen=True)
class TrainingWork:
    """What a training job runs, and on what. ``metrics``: how CloudWatch reads the lines of the job's log, by name."""

    description: str
    image_uri: str
    hyperparameters: Mapping[str, str | Parameter]
    channels: Mapping[str, PipelineVariable]
    content_type: str | None = None
    checkpoints: PipelineVariable | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)
    instances: int = 1
    input_mode: str = "File"
    environment: Mapping[str, str | PipelineVariable] = field(default_factory=dict)


def training_step(work: TrainingWork, assembly: Assembly) -> TrainingStep:
    """The pipeline step that runs ``work``, on the instance type that the execution chooses."""
    deployment = assembly.deployment
    trainer = ModelTrainer(
        sagemaker_session=assembly.session,
        role=deployment.roles.training,
        base_job_name="TrainModel",
        training_image=work.image_uri,
        compute=_compute(work, assembly),
        networking=_networking(deployment.settings.network),
        stopping_condition=_limits(work, max_job_seconds(deployment)),
        output_data_config=OutputDataConfig(
            s3_output_path=assembly.run_folder("model"), kms_key_id=deployment.data_key_arn
        ),
        checkpoint_config=CheckpointConfig(s3_uri=work.checkpoints) if work.checkpoints else None,
        environment=dict(work.environment),
        hyperparameters={name: _text(value) for name, value in work.hyperparameters.items()},
        input_data_config=[_channel(name, uri, work) for name, uri in work.channels.items()],
        tags=[Tag(key=tag["Key"], value=tag["Value"]) for tag in deployment.tags],
    )
    if work.metrics:
        trainer.with_metric_definitions(
            [MetricDefinition(name=name, regex=regex) for name, regex in work.metrics.items()]
        )
    with assembly.session.telemetry_refused():
        request = trainer.train()
    return TrainingStep(
        name="TrainModel",
        description=work.description,
        step_args=request,
        cache_config=CACHE,
        retry_policies=JOB_RETRIES,
    )


def _compute(work: TrainingWork, assembly: Assembly) -> Compute:
    """Of managed spot capacity where the work leaves checkpoints."""
    return Compute(
        instance_type=assembly.parameters.training_instance_type,
        instance_count=work.instances,
        volume_size_in_gb=assembly.deployment.settings.pipeline.volume_gb,
        enable_managed_spot_training=True if work.checkpoints else None,
    )


def _limits(work: TrainingWork, seconds: int) -> StoppingCondition:
    """How long the job may take; where it waits for spot capacity, that may be as long again."""
    if not work.checkpoints:
        return StoppingCondition(max_runtime_in_seconds=seconds)
    return StoppingCondition(max_runtime_in_seconds=seconds, max_wait_time_in_seconds=2 * seconds)


def _networking(network: NetworkSettings) -> Networking | None:
    """The stage's own network."""
    if not network.subnet_ids:
        return None
    return Networking(subnets=list(network.subnet_ids), security_group_ids=list(network.security_group_ids))


def _channel(name: str, uri: PipelineVariable, work: TrainingWork) -> Channel:
    """A folder of S3 as an input of the job."""
    source = S3DataSource(s3_data_type="S3Prefix", s3_uri=uri, s3_data_distribution_type="FullyReplicated")
    options = {"content_type": work.content_type} if work.content_type else {}
    if work.input_mode != "File":
        options["input_mode"] = work.input_mode
    return Channel(channel_name=name, data_source=DataSource(s3_data_source=source), **options)


def _text(value: str | Parameter) -> str | PipelineVariable:
    """A hyperparameter as the service takes it: text, when the pipeline runs at the latest."""
    if isinstance(value, (str, Join)) or value.parameter_type.value == "String":
        return value
    return value.to_string()
