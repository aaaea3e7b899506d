"""Jobs: processing, training and batch transform, over the containers of this account."""

from __future__ import annotations

import shutil

from local_account.containers.run import prepare
from local_account.sagemaker.jobs import processing as processing_jobs
from local_account.sagemaker.jobs import training as training_jobs
from local_account.sagemaker.jobs import transform as transform_jobs
from local_account.sagemaker.service import SageMaker


def install(sagemaker: SageMaker) -> None:
    prepare(sagemaker.account)
    shutil.rmtree(sagemaker.account.state_dir / "jobs", ignore_errors=True)  # of jobs that a killed server ran
    processing_jobs.install(sagemaker)
    training_jobs.install(sagemaker)
    transform_jobs.install(sagemaker)
