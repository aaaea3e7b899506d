"""The monitoring pipeline: from captured endpoint traffic of a time range to a report.

    ReportTraffic: captures in [Start, End) -> <ReportUri>/<id of the pipeline execution>/report.html and its relatives

Runs on a laptop or in CodeBuild and makes no AWS call. `definition` returns the pipeline definition JSON, which
`infrastructure` uploads; the step runs in a SageMaker container from the source archive.
"""

from __future__ import annotations

from typing import Any

from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.functions import Join
from sagemaker.workflow.parameters import ParameterFloat, ParameterString
from sagemaker.workflow.pipeline import Pipeline

from pipelines import offline_sdk
from pipelines.container_jobs import ContainerJob, Deployment, OfflineSession, processing_step
from scones.names import Names
from scones.settings import Settings


class Parameters:
    """What may be chosen for each execution. `Start` and `End` are ISO 8601 times, in UTC, and have no default."""

    def __init__(self, names: Names, settings: Settings) -> None:
        self.capture_uri = ParameterString("CaptureUri", default_value=names.capture_uri)
        self.report_uri = ParameterString("ReportUri", default_value=names.reports_uri)
        self.start = ParameterString("Start")
        self.end = ParameterString("End")
        self.endpoint = ParameterString("EndpointName", default_value=names.endpoint)
        self.classes = ParameterString("Classes", default_value=",".join(settings.pipeline.classes))
        self.confidence_threshold = ParameterFloat("ConfidenceThreshold", default_value=settings.confidence_threshold)
        self.data_origin = ParameterString("DataOrigin", default_value="photographs")
        self.processing_instance_type = ParameterString(
            "ProcessingInstanceType", default_value=settings.pipeline.processing_instance_type
        )

    def declared(self) -> list[Any]:
        return list(vars(self).values())


def definition(deployment: Deployment) -> str:
    """The pipeline definition JSON; the same text for the same arguments."""
    with offline_sdk():
        text: str = assemble(deployment).definition()
    return text


def assemble(deployment: Deployment) -> Any:
    """The pipeline of one step."""
    parameters = Parameters(deployment.names, deployment.settings)
    session = OfflineSession(deployment.settings.region, deployment.names.data_bucket)
    return Pipeline(
        name=deployment.names.monitoring_pipeline,
        parameters=parameters.declared(),
        steps=[report_traffic(deployment, parameters, session)],
        # The default would create a SageMaker experiment for every execution, and need the permission to.
        pipeline_experiment_config=None,
        sagemaker_session=session,
    )


def report_traffic(deployment: Deployment, parameters: Parameters, session: Any) -> Any:
    """Captured lines -> report.json, report.html and the plots. Never cached: captures keep arriving."""
    job = ContainerJob(
        step_name="ReportTraffic",
        description="Read the captured lines of the time range and write the report.",
        module="monitoring.report",
        arguments={
            "--captures": "/opt/ml/processing/input/captures",
            "--output": "/opt/ml/processing/output/report",
            "--start": parameters.start,
            "--end": parameters.end,
            "--threshold": parameters.confidence_threshold.to_string(),
            "--classes": parameters.classes,
            "--endpoint": parameters.endpoint,
            "--data-origin": parameters.data_origin,
        },
        inputs={"captures": parameters.capture_uri},
        outputs={"report": Join(on="/", values=[parameters.report_uri, ExecutionVariables.PIPELINE_EXECUTION_ID])},
    )
    return processing_step(
        job,
        deployment,
        session=session,
        role_arn=deployment.roles.monitoring,
        instance_type=parameters.processing_instance_type,
        cache=False,
    )
