"""What follows the evaluation: the gate, and the registration of what passed it.

Runs on a laptop or in CodeBuild and makes no AWS call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sagemaker.core.drift_check_baselines import DriftCheckBaselines
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.model_registry import create_model_package_from_containers, get_model_package_args
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep

from pipelines.container_jobs import SERVICE_RETRIES, OfflineSession
from pipelines.model_steps import Assembly, ModelParameters, output_of

if TYPE_CHECKING:
    from sagemaker.core.helper.pipeline_variable import PipelineVariable
    from sagemaker.mlops.workflow.steps import ProcessingStep

ACCURACY_PATH = "multiclass_classification_metrics.accuracy.value"
CHAMPION_PATH = "champion_gate.p_value_worse.value"


def check_accuracy(
    assembly: Assembly, evaluation: ProcessingStep, report: PropertyFile, *, passed: ModelStep
) -> ConditionStep:
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


def gate_missed(parameters: ModelParameters, accuracy: JsonGet, p_value: JsonGet) -> FailStep:
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
class Package:
    """What serves a model: a container with its archive and its variables."""

    image_uri: str
    model_data: PipelineVariable
    environment: Mapping[str, str | PipelineVariable]
    sagemaker_session: OfflineSession

    @property
    def container(self) -> dict[str, object]:
        """The container, as the service describes it."""
        variables = dict(self.environment)
        return {"Image": self.image_uri, "Environment": variables, "ModelDataUrl": self.model_data}


@dataclass(frozen=True)
class Lineage:
    """The steps that a version comes from."""

    dataset: ProcessingStep
    evaluation: ProcessingStep
    baseline: ProcessingStep

    def file(self, step: Literal["evaluation", "baseline"], name: str) -> MetricsSource:
        """Name a JSON document that a step leaves in its output of the same name."""
        made_by = self.evaluation if step == "evaluation" else self.baseline
        uri = Join(on="/", values=[output_of(made_by, step), name])
        return MetricsSource(content_type="application/json", s3_uri=uri)


def register_model(
    assembly: Assembly,
    package: Package,
    lineage: Lineage,
    *,
    content_types: list[str],
    **metadata: str | PipelineVariable,
) -> ModelStep:
    """A new version in the model package group, with its evaluation, its baseline and where it came from."""
    deployment, parameters = assembly.deployment, assembly.parameters
    arguments = get_model_package_args(
        container_def_list=[package.container],
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
    assembly.session.init_model_step_arguments(package)
    request = create_model_package_from_containers(assembly.session, **arguments)
    assembly.session.context = None
    return ModelStep(
        name="VehicleClassifier-RegisterModel",
        description="Register the model package that waits for approval.",
        step_args=request,
        retry_policies=SERVICE_RETRIES,
    )


def measured(evaluation: ProcessingStep, report: PropertyFile, path: str) -> JsonGet:
    """Read a figure of the evaluation's document, when the pipeline runs."""
    return JsonGet(step_name=evaluation.name, property_file=report, json_path=path)
