"""What both pipelines share: an offline SDK session, and processing steps that run a module of the source archive.

Runs on a laptop or in CodeBuild, and makes no AWS call: every value that would need one is an argument. The steps
it builds run in SageMaker containers, which unpack the archive and start ``python3 -m <module>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import boto3
from sagemaker.core import image_uris
from sagemaker.core.network import NetworkConfig
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep

from scones.stage.names import Names
from scones.stage.sections import NetworkSettings
from scones.stage.settings import Settings

if TYPE_CHECKING:
    from sagemaker.core.helper.pipeline_variable import PipelineVariable
    from sagemaker.core.workflow.parameters import Parameter
    from sagemaker.core.workflow.properties import PropertyFile

# PyTorch containers that the SDK knows with this Python (tests/unit/documents/test_training_pipeline.py compares).
TRAINING_FRAMEWORK_VERSION = "2.8.0"
INFERENCE_FRAMEWORK_VERSION = "2.6.0"
CONTAINER_PYTHON = "py312"

CODE_FOLDER = "/opt/ml/processing/input/code"

CACHE = CacheConfig(enable_caching=True, expire_after="P7D")
SERVICE_RETRIES = [
    StepRetryPolicy(
        exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
        interval_seconds=5,
        backoff_rate=2.0,
        max_attempts=4,
    )
]
JOB_RETRIES = [
    *SERVICE_RETRIES,
    SageMakerJobStepRetryPolicy(
        failure_reason_types=[
            SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
            SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
        ],
        interval_seconds=30,
        backoff_rate=2.0,
        max_attempts=2,
    ),
]


_NO_TELEMETRY: dict[str, object] = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


@dataclass(frozen=True)
class Roles:
    """The ARN of a role for each kind of work; ``transform`` is the candidate model's in a batch transform."""

    pipeline: str
    processing: str
    training: str
    evaluation: str
    transform: str
    monitoring: str


class PipelineParameters:
    """What may be chosen for each execution of a pipeline: every attribute is a parameter."""

    def declared(self) -> list[Parameter]:
        """List the parameters, for the pipeline's definition."""
        return list(vars(self).values())


@dataclass(frozen=True)
class PipelineDeployment:
    """Where a pipeline runs and from which code; ``data_key_arn`` is the KMS key that encrypts what jobs write."""

    names: Names
    settings: Settings
    roles: Roles
    data_key_arn: str
    source_archive_uri: str
    source_digest: str

    @property
    def tags(self) -> list[dict[str, str]]:
        """What the pipelines start carries the stage's tags, because those of the stack do not reach it."""
        return [{"Key": key, "Value": value} for key, value in self.names.tags.items()]


@cache
def _boto_session(region: str) -> boto3.Session:
    """One for all definitions, since each reads its services' models anew, which takes most of a second."""
    # Dummies, never used: without credentials the SDK would search for some.
    return boto3.Session("offline", "offline", region_name=region)


class OfflineSession(PipelineSession):  # type: ignore[misc]  # the SDK has no types
    """An SDK session that records requests instead of sending them, and takes its bucket's existence on trust."""

    def __init__(self, region: str, bucket: str) -> None:
        super().__init__(boto_session=_boto_session(region), default_bucket=bucket, sagemaker_config=_NO_TELEMETRY)
        # Given above, so that no defaults of this machine's user get into the definition; emptied here, because the
        # SDK validates it anew for each value that it looks up, sixty times in a pipeline.
        self.sagemaker_config: dict[str, object] = {}
        self._bucket = bucket

    def default_bucket(self) -> str:
        """Return the stage's bucket; the SDK would create one of its own."""
        return self._bucket

    @contextmanager
    def telemetry_refused(self) -> Iterator[None]:
        """For calls that would otherwise report the usage to AWS over the network, such as ``estimator.fit``."""
        self.sagemaker_config = _NO_TELEMETRY
        try:
            yield
        finally:
            self.sagemaker_config = {}


@cache
def offline_session(region: str, bucket: str) -> OfflineSession:
    """One for all definitions of a stage, since the SDK checks its schema of defaults anew for each."""
    return OfflineSession(region, bucket)


def max_job_seconds(deployment: PipelineDeployment) -> int:
    """After which a job is stopped."""
    return deployment.settings.pipeline.max_job_hours * 3600


def training_image(region: str, instance_type: str) -> str:
    """The PyTorch training container, for the type's CPU or GPU.

    On a CPU it is also the Python of the processing jobs, so that versions agree.
    """
    return _image(region, instance_type, "training", TRAINING_FRAMEWORK_VERSION)


def inference_image(region: str, instance_type: str) -> str:
    """The PyTorch CPU serving container."""
    return _image(region, instance_type, "inference", INFERENCE_FRAMEWORK_VERSION)


def run_folder(runs_uri: str, name: str) -> PipelineVariable:
    """``<runs_uri>/<id of the pipeline execution>/<name>``, resolved when the pipeline runs."""
    return Join(on="/", values=[runs_uri, ExecutionVariables.PIPELINE_EXECUTION_ID, name])


@dataclass(frozen=True)
class ContainerJob:
    """One processing job: ``python3 -m <module> <arguments>`` inside the unpacked source archive."""

    step_name: str
    description: str
    module: str
    arguments: Mapping[str, str | PipelineVariable]
    inputs: Mapping[str, str | PipelineVariable]
    """Folder below /opt/ml/processing/input -> the S3 prefix or object that is copied there."""
    outputs: Mapping[str, str | PipelineVariable]
    """Folder below /opt/ml/processing/output -> the S3 prefix it is copied to."""
    environment: Mapping[str, str | PipelineVariable] = field(default_factory=dict)
    instances: int | PipelineVariable = 1
    divided: frozenset[str] = frozenset()
    """Inputs of which each instance gets its part of the objects; of the others, everything."""


def processing_step(
    job: ContainerJob,
    deployment: PipelineDeployment,
    *,
    session: OfflineSession,
    role_arn: str,
    instance_type: PipelineVariable,
    cache: bool = True,
    property_files: Sequence[PropertyFile] = (),
) -> ProcessingStep:
    """The pipeline step that runs ``job``."""
    processor = Processor(
        role=role_arn,
        image_uri=training_image(deployment.settings.region, deployment.settings.pipeline.processing_instance_type),
        entrypoint=entrypoint(job.module),
        instance_count=job.instances,
        instance_type=instance_type,
        volume_size_in_gb=deployment.settings.pipeline.volume_gb,
        max_runtime_in_seconds=max_job_seconds(deployment),
        output_kms_key=deployment.data_key_arn,
        env=dict(job.environment) or None,
        tags=deployment.tags,
        network_config=_network_config(deployment.settings.network),
        sagemaker_session=session,
    )
    request = processor.run(
        inputs=[
            _input("code", deployment.source_archive_uri, CODE_FOLDER),
            *(
                _input(name, uri, f"/opt/ml/processing/input/{name}", divided=name in job.divided)
                for name, uri in job.inputs.items()
            ),
        ],
        outputs=[_output(name, uri) for name, uri in job.outputs.items()],
        arguments=[word for option in job.arguments.items() for word in option],
    )
    return ProcessingStep(
        name=job.step_name,
        description=job.description,
        step_args=request,
        cache_config=CACHE if cache else None,
        retry_policies=JOB_RETRIES,
        property_files=list(property_files) or None,
    )


def _input(name: str, uri: str | PipelineVariable, folder: str, *, divided: bool = False) -> ProcessingInput:
    """What is copied from S3 into a folder of the container before the job starts; divided among the instances."""
    source = ProcessingS3Input(
        s3_uri=uri,
        local_path=folder,
        s3_data_type="S3Prefix",
        s3_input_mode="File",
        s3_data_distribution_type="ShardedByS3Key" if divided else "FullyReplicated",
        s3_compression_type="None",
    )
    return ProcessingInput(input_name=name, app_managed=False, s3_input=source)


def _output(name: str, uri: str | PipelineVariable) -> ProcessingOutput:
    """What is copied to S3 when the job has ended."""
    target = ProcessingS3Output(s3_uri=uri, local_path=f"/opt/ml/processing/output/{name}", s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, app_managed=False, s3_output=target)


def _network_config(network: NetworkSettings) -> NetworkConfig | None:
    """Not isolated: see infrastructure/templates/stage/network.yaml."""
    if not network.subnet_ids:
        return None
    return NetworkConfig(subnets=list(network.subnet_ids), security_group_ids=list(network.security_group_ids))


def vpc_config(network: NetworkSettings) -> dict[str, list[str]] | None:
    """The stage's own network, as a model takes it."""
    if not network.subnet_ids:
        return None
    return {"Subnets": list(network.subnet_ids), "SecurityGroupIds": list(network.security_group_ids)}


def entrypoint(module: str) -> list[str]:
    """The container's entry point; SageMaker allows 256 characters for each of its words."""
    package = module.partition(".")[0]
    script = (
        f'cd "$(mktemp -d)"; tar -xzf {CODE_FOLDER}/source.tar.gz; '
        f"python3 -m pip install --quiet --require-hashes --requirement {package}/requirements.txt; "
        f'exec python3 -m {module} "$@"'
    )
    return ["/bin/bash", "-ec", script, package]


def _image(region: str, instance_type: str, scope: str, version: str) -> str:
    uri: str = image_uris.retrieve(
        "pytorch",
        region,
        version=version,
        py_version=CONTAINER_PYTHON,
        instance_type=instance_type,
        image_scope=scope,
    )
    return uri
