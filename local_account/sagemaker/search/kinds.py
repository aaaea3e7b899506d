"""What a search looks through: each kind of resource as its Describe tells it.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from local_account.sagemaker.experiments.actions import Experiments
from local_account.sagemaker.experiments.components import TrialComponents
from local_account.sagemaker.pipelines.versions import versions_of
from local_account.sagemaker.search.actions import Resources
from local_account.sagemaker.service import SageMaker


def kinds_of(sagemaker: SageMaker, experiments: Experiments, components: TrialComponents) -> Mapping[str, Resources]:
    """The kinds by the names that a request calls them."""
    return {
        "TrainingJob": lambda: list(sagemaker.jobs("Training").values()),
        "HyperParameterTuningJob": lambda: _described(sagemaker, "HyperParameterTuningJob", "tuning-jobs"),
        "Model": lambda: _described(sagemaker, "Model", "models"),
        "ModelPackage": lambda: list(sagemaker.model_packages.values()),
        "ModelPackageGroup": lambda: list(sagemaker.model_package_groups.values()),
        "Endpoint": lambda: _described(sagemaker, "Endpoint", "endpoints"),
        "Pipeline": lambda: list(sagemaker.pipelines.values()),
        "PipelineExecution": lambda: [
            {**one, "PipelineParameters": one["Parameters"]} for one in sagemaker.pipeline_executions.values()
        ],
        "PipelineVersion": lambda: [
            version for pipeline in sagemaker.pipelines.values() for version in versions_of(sagemaker, pipeline)
        ],
        "Experiment": lambda: list(experiments.experiments.records.values()),
        "ExperimentTrial": lambda: list(experiments.trials.records.values()),
        "ExperimentTrialComponent": lambda: [components.found(one) for one in experiments.components.records.values()],
    }


def _described(sagemaker: SageMaker, kind: str, table: str) -> Iterable[Mapping[str, object]]:
    names = list(sagemaker.table(table, dict[str, object]))
    return [sagemaker.actions[f"Describe{kind}"]({f"{kind}Name": name}) or {} for name in names]
