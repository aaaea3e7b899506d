"""The SageMaker Pipelines of this project: Python that returns definition documents, on a laptop or in CodeBuild.

Importing this package imports the SageMaker SDK, which takes seconds: do it only where a definition is built.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def offline_sdk() -> Iterator[None]:
    """Keep the SageMaker SDK off the network and quiet while it is imported or builds a definition.

    It creates boto3 clients of its own in both cases, and without credentials those would ask the EC2 instance
    metadata service for some, a wait of seconds on a laptop. Some of its modules set up the root logger.
    """
    handlers, level = logging.root.handlers[:], logging.root.level
    with mock.patch.dict(os.environ, {"AWS_EC2_METADATA_DISABLED": "true"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Running within a PipelineSession", category=UserWarning)
        try:
            yield
        finally:
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)


# Version 2 is pinned, because the Step Functions SDK needs its modules.
os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
# It logs, on handlers of its own, that it found no configuration file and that job names are left to the service.
for name in ("sagemaker", "sagemaker.config", "sagemaker.workflow.utilities", "sagemaker.telemetry"):
    logging.getLogger(name).setLevel(logging.ERROR)
with offline_sdk():
    import sagemaker.session  # noqa: F401  # the first import, under the conditions above
