"""The SageMaker Pipelines of this project: Python that returns definition documents, on a laptop or in CodeBuild.

Importing this package imports the SageMaker SDK, which takes seconds: do it only where a definition is built.

Of version 3 it imports `sagemaker.core`, `sagemaker.train` and modules of `sagemaker.mlops.workflow`. What the package
`sagemaker.mlops` itself runs imports every kind of step and `ModelBuilder`, with `sagemaker.serve` and all that needs:
it takes as long again, is not installed, and runs when somebody asks for such a name.
"""

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

_OFFLINE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
    "SAGEMAKER_VALIDATE_ROLE": "false",
    # No defaults of this machine's user or its administrator get into a definition.
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": os.devnull,
    "SAGEMAKER_USER_CONFIG_OVERRIDE": os.devnull,
}


@contextmanager
def offline_sdk() -> Iterator[None]:
    """Keep the SageMaker SDK off the network and quiet while it is imported or builds a definition.

    It creates boto3 clients of its own in both cases, which it calls nothing of. They want a region, whichever, and
    without credentials they would ask the EC2 instance metadata service for some, a wait of seconds on a laptop. Some
    of its modules set up the root logger.
    """
    handlers, level = logging.root.handlers[:], logging.root.level
    with mock.patch.dict(os.environ, _OFFLINE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Running within a PipelineSession", category=UserWarning)
        warnings.filterwarnings("ignore", category=SyntaxWarning)  # Python 3.12 and newer, while they compile the SDK
        try:
            yield
        finally:
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)


def _run_when_asked(name: str) -> None:
    """Put a package in place whose modules can be imported, and whose own code runs when a name of it is missing.

    Raises ImportError when the SDK has no such package.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"the SageMaker SDK that is installed has no {name}: version 3 is needed (make build)")
    package, loader = importlib.util.module_from_spec(spec), spec.loader

    def run(missing: str) -> object:
        if missing.startswith("__"):
            raise AttributeError(missing)
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, missing)

    package.__dict__["__getattr__"] = run
    sys.modules[name] = package


# It logs, on handlers of its own, that it found no configuration file and that job names are left to the service.
for name in ("sagemaker", "sagemaker.core", "sagemaker.config", "sagemaker.mlops", "sagemaker.train"):
    logging.getLogger(name).setLevel(logging.ERROR)
for name in ("sagemaker.mlops", "sagemaker.mlops.workflow"):
    _run_when_asked(name)
with offline_sdk():
    import sagemaker.core  # noqa: F401  # the first import, under the conditions above
