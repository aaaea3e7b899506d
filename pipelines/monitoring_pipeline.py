"""The monitoring pipeline: from captured endpoint traffic of a time range to a report.

    ReportTraffic: captures in [Start, End), held against the live version's baseline
        -> <ReportUri>/<id of the pipeline execution>/report.html and its relatives

Runs on a laptop or in CodeBuild and makes no AWS call. `definition` returns the pipeline definition JSON, which
`infrastructure` uploads; the step runs in a SageMaker container from the source archive.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import ParameterString
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
from scones.stage.names import Names
from scones.stage.settings import Settings

if TYPE_CHECKING:
    from sagemaker.mlops.workflow.steps import ProcessingStep


class MonitoringParameters(PipelineParameters):
    """What may be chosen for each execution. `Start` and `End` are ISO 8601 times, in UTC, and have no default.

    What has to be known of the live version is empty by default: there may be none.
    """

    def __init__(self, names: Names, settings: Settings) -> None:
        self.capture_uri = ParameterString("CaptureUri", default_value=names.capture_uri)
        self.report_uri = ParameterString("ReportUri", default_value=names.reports_uri)
        self.state_uri = ParameterString("StateUri", default_value=names.monitoring_state_uri)
        self.ground_truth_uri = ParameterString("GroundTruthUri", default_value=names.ground_truth_uri)
        self.start = ParameterString("Start")
        self.end = ParameterString("End")
        self.endpoint = ParameterString("EndpointName", default_value=names.endpoint)
        self.classes = ParameterString("Classes", default_value=",".join(settings.pipeline.classes))
        # The document of the threshold parameter: a class may have a threshold of its own.
        self.thresholds = ParameterString(
            "Thresholds", default_value=json.dumps({"default": settings.confidence_threshold})
        )
        self.data_origin = ParameterString("DataOrigin", default_value="photographs")
        self.baseline_uri = ParameterString("BaselineUri", default_value="")
        self.deployed_at = ParameterString("DeployedAt", default_value="")
        self.model_package_arn = ParameterString("ModelPackageArn", default_value="")
        self.context_uri = ParameterString("ContextUri", default_value="")
        self.new_baseline_uri = ParameterString("NewBaselineUri", default_value="")
        self.metrics_namespace = ParameterString("MetricsNamespace", default_value="")
        self.when_empty = ParameterString("WhenEmpty", default_value="report", enum_values=["report", "refuse"])
        self.processing_instance_type = ParameterString(
            "ProcessingInstanceType", default_value=settings.pipeline.processing_instance_type
        )


def definition(deployment: PipelineDeployment) -> str:
    """The pipeline definition JSON; the same text for the same arguments."""
    with offline_sdk():
        text: str = assemble(deployment).definition()
    return text


def assemble(deployment: PipelineDeployment) -> Pipeline:
    """The pipeline of one step."""
    parameters = MonitoringParameters(deployment.names, deployment.settings)
    session = offline_session(deployment.settings.region, deployment.names.data_bucket)
    return Pipeline(
        name=deployment.names.monitoring_pipeline,
        parameters=parameters.declared(),
        steps=[report_traffic(deployment, parameters, session)],
        # The default would create a SageMaker experiment for every execution, and need the permission to.
        pipeline_experiment_config=None,
        sagemaker_session=session,
    )


def report_traffic(
    deployment: PipelineDeployment, parameters: MonitoringParameters, session: OfflineSession
) -> ProcessingStep:
    """Captured lines -> the report. Never cached: captures keep arriving.

    The job itself copies from S3 what it needs, which is less than what is there, and may be nothing: a processing
    input is a whole prefix and must not be empty.
    """
    report_uri = Join(on="/", values=[parameters.report_uri, ExecutionVariables.PIPELINE_EXECUTION_ID])
    job = ContainerJob(
        step_name="ReportTraffic",
        description="Hold the captured lines of the time range against the baseline and write the report.",
        module="monitoring.report",
        arguments={
            "--captures": parameters.capture_uri,
            "--output": "/opt/ml/processing/output/report",
            "--start": parameters.start,
            "--end": parameters.end,
            "--threshold": parameters.thresholds,
            "--classes": parameters.classes,
            "--endpoint": parameters.endpoint,
            "--data-origin": parameters.data_origin,
            "--state": parameters.state_uri,
            "--baseline": parameters.baseline_uri,
            "--deployed-at": parameters.deployed_at,
            "--model-package": parameters.model_package_arn,
            "--ground-truth": parameters.ground_truth_uri,
            "--context": parameters.context_uri,
            "--report-uri": report_uri,
            "--new-baseline": parameters.new_baseline_uri,
            "--metrics-namespace": parameters.metrics_namespace,
            "--when-empty": parameters.when_empty,
            "--stage": deployment.settings.stage,
        },
        inputs={},
        outputs={"report": report_uri},
    )
    return processing_step(
        job,
        deployment,
        session=session,
        role_arn=deployment.roles.monitoring,
        instance_type=parameters.processing_instance_type,
        cache=False,
    )
