"""Amazon SageMaker in the stand-in account: jobs and pipelines run as processes, endpoints are model servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.account import Account

if TYPE_CHECKING:
    from local_account.sagemaker.endpoints.runtime import Runtime
    from local_account.sagemaker.experiments.metrics import MetricsService
    from local_account.sagemaker.service import SageMaker


def install(account: Account) -> tuple[SageMaker, Runtime, MetricsService]:
    """Build the control plane, the runtime and the metrics: three WSGI applications over one state.

    Endpoints that an earlier run of the account left come up again.
    """
    from local_account.sagemaker.endpoints.actions import Endpoints
    from local_account.sagemaker.endpoints.configs import EndpointConfigs
    from local_account.sagemaker.endpoints.runtime import Runtime
    from local_account.sagemaker.experiments.actions import Experiments
    from local_account.sagemaker.experiments.components import TrialComponents
    from local_account.sagemaker.experiments.lineage import LineageActions
    from local_account.sagemaker.experiments.metrics import MetricsService
    from local_account.sagemaker.jobs.actions import prepare_jobs
    from local_account.sagemaker.jobs.processing import ProcessingJobs
    from local_account.sagemaker.jobs.training import TrainingJobs
    from local_account.sagemaker.jobs.transform import TransformJobs
    from local_account.sagemaker.model_package_groups import ModelPackageGroups
    from local_account.sagemaker.models import Models
    from local_account.sagemaker.pipelines.actions import Pipelines
    from local_account.sagemaker.pipelines.executions import PipelineExecutions
    from local_account.sagemaker.pipelines.versions import PipelineVersions
    from local_account.sagemaker.registry import Registry
    from local_account.sagemaker.search.actions import Search
    from local_account.sagemaker.search.kinds import kinds_of
    from local_account.sagemaker.service import SageMaker
    from local_account.sagemaker.tags import Tags
    from local_account.sagemaker.tuning.actions import TuningJobs

    sagemaker = SageMaker(account)
    prepare_jobs(sagemaker)
    pipelines, configs = Pipelines(sagemaker), EndpointConfigs(sagemaker)
    endpoints = Endpoints(sagemaker, configs)
    groups = ModelPackageGroups(sagemaker)
    sagemaker.add(Tags(sagemaker), Models(sagemaker), groups, Registry(sagemaker, groups))
    sagemaker.add(ProcessingJobs(sagemaker), TrainingJobs(sagemaker), TransformJobs(sagemaker))
    sagemaker.add(TuningJobs(sagemaker))
    executions = PipelineExecutions(sagemaker, pipelines.pipeline)
    sagemaker.add(pipelines, executions, executions.callbacks, PipelineVersions(sagemaker, pipelines.pipeline))
    sagemaker.add(configs, endpoints)
    experiments = Experiments(sagemaker)
    components = TrialComponents(sagemaker, experiments)
    sagemaker.add(experiments, components, LineageActions(sagemaker))
    sagemaker.add(Search(sagemaker, kinds_of(sagemaker, experiments, components)))
    endpoints.resume()
    return sagemaker, Runtime(sagemaker, endpoints), MetricsService(account, components)
