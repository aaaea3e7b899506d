"""The collecting pipeline: many captures read on several instances, and merged into what the monitoring job keeps.

    CollectCaptures: <HoursUri>, one object for each folder of captures, divided among <Instances> instances
        -> <PartsUri>/<host>/, what each has read
    MergeCaptures: all of them -> <StateUri>

Runs on a laptop or in CodeBuild and makes no AWS call. `scones monitor collect` writes the hours and starts it; a
report of that time finds everything read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sagemaker.core.workflow.parameters import ParameterInteger, ParameterString
from sagemaker.mlops.workflow.pipeline import Pipeline

from pipelines import offline_sdk
from pipelines.container_jobs import (
    ContainerJob,
    OfflineSession,
    PipelineDeployment,
    PipelineParameters,
    offline_session,
    processing_step,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker.core.helper.pipeline_variable import PipelineVariable
    from sagemaker.mlops.workflow.steps import ProcessingStep


class CollectParameters(PipelineParameters):
    """What may be chosen for each execution; `HoursUri` and `PartsUri` are its own and have no default."""

    def __init__(self, deployment: PipelineDeployment) -> None:
        names, settings = deployment.names, deployment.settings
        self.hours_uri = ParameterString("HoursUri")
        self.parts_uri = ParameterString("PartsUri")
        self.instances = ParameterInteger("Instances", default_value=1)
        self.capture_uri = ParameterString("CaptureUri", default_value=names.capture_uri)
        self.state_uri = ParameterString("StateUri", default_value=names.monitoring_state_uri)
        self.classes = ParameterString("Classes", default_value=",".join(settings.pipeline.classes))
        self.thresholds = ParameterString(
            "Thresholds", default_value=json.dumps({"default": settings.confidence_threshold})
        )
        self.processing_instance_type = ParameterString(
            "ProcessingInstanceType", default_value=settings.pipeline.processing_instance_type
        )


def definition(deployment: PipelineDeployment) -> str:
    """The pipeline definition JSON; the same text for the same arguments."""
    with offline_sdk():
        text: str = assemble(deployment).definition()
    return text


def assemble(deployment: PipelineDeployment) -> Pipeline:
    """The pipeline of two steps."""
    parameters = CollectParameters(deployment)
    session = offline_session(deployment.settings.region, deployment.names.data_bucket)
    collect = _step(collect_captures(parameters), deployment, parameters, session)
    merge = _step(merge_captures(parameters), deployment, parameters, session)
    merge.add_depends_on([collect])
    return Pipeline(
        name=deployment.names.collect_pipeline,
        parameters=parameters.declared(),
        steps=[collect, merge],
        # The default would create a SageMaker experiment for every execution, and need the permission to.
        pipeline_experiment_config=None,
        sagemaker_session=session,
    )


def collect_captures(parameters: CollectParameters) -> ContainerJob:
    """Each instance reads the folders of captures that its part of the hours names."""
    return ContainerJob(
        step_name="CollectCaptures",
        description="Read the captured lines of this instance's hours.",
        module="monitoring.shares.collect",
        arguments={"--captures": parameters.capture_uri, **_told(parameters)},
        inputs={"hours": parameters.hours_uri},
        outputs={},
        instances=parameters.instances,
        divided=frozenset({"hours"}),
    )


def merge_captures(parameters: CollectParameters) -> ContainerJob:
    """One instance puts together what the others left."""
    return ContainerJob(
        step_name="MergeCaptures",
        description="Put what all instances have read into what the monitoring job keeps.",
        module="monitoring.shares.merge",
        arguments=_told(parameters),
        inputs={},
        outputs={},
    )


def _told(parameters: CollectParameters) -> Mapping[str, str | PipelineVariable]:
    return {
        "--state": parameters.state_uri,
        "--parts": parameters.parts_uri,
        "--classes": parameters.classes,
        "--threshold": parameters.thresholds,
    }


def _step(
    job: ContainerJob, deployment: PipelineDeployment, parameters: CollectParameters, session: OfflineSession
) -> ProcessingStep:
    return processing_step(
        job,
        deployment,
        session=session,
        role_arn=deployment.roles.monitoring,
        instance_type=parameters.processing_instance_type,
        cache=False,
    )
