"""Amazon SageMaker in the stand-in account: jobs and pipelines run as processes, endpoints are model servers."""

from __future__ import annotations

from typing import Any

from local_account.account import Account


def install(account: Account) -> tuple[Any, Any]:
    """Build the control plane and the runtime: two WSGI applications over one state."""
    from local_account.sagemaker import models, registry, tags
    from local_account.sagemaker.endpoints import actions as endpoints
    from local_account.sagemaker.endpoints.runtime import Runtime
    from local_account.sagemaker.jobs import install as jobs
    from local_account.sagemaker.pipelines import actions as pipelines
    from local_account.sagemaker.service import SageMaker

    sagemaker = SageMaker(account)
    for part in (tags, models, registry, jobs, pipelines, endpoints):
        part.install(sagemaker)
    return sagemaker, Runtime(sagemaker)
