"""Imports the Step Functions Data Science SDK without version 2 of the SageMaker SDK.

Its steps for SageMaker's jobs, which this project does not use, import modules that version 3 no longer has, and it
reads its own version through `pkg_resources`, which setuptools no longer has. While it is imported, empty modules stand
in for those; whoever uses such a step is told so. A release that needs more fails here, with what it asked for.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from types import ModuleType
from unittest import mock

# The names that the SDK takes from modules of version 2 of the SageMaker SDK.
_NAMES_OF_VERSION_2: Mapping[str, tuple[str, ...]] = {
    "sagemaker": (),
    "sagemaker.model": ("Model", "FrameworkModel"),
    "sagemaker.model_monitor": ("DataCaptureConfig",),
    "sagemaker.pipeline": ("PipelineModel",),
    "sagemaker.sklearn": (),
    "sagemaker.sklearn.estimator": ("SKLearn",),
    "sagemaker.utils": ("base_name_from_image",),
    "sagemaker.workflow": (),
    "sagemaker.workflow.airflow": (
        *("training_config", "transform_config", "model_config", "tuning_config", "processing_config"),
    ),
}


class OldSdkName:
    """Stands for a name of version 2 of the SageMaker SDK, which is not installed."""

    def __init__(self, *_: object, **__: object) -> None:
        raise ImportError("this step of the Step Functions SDK needs version 2 of the SageMaker SDK: use a Task state")


def import_step_functions_sdk() -> None:
    """Import the SDK. Raises ImportError when it needs more of other packages than stands in for them here."""
    if "stepfunctions" in sys.modules:
        return
    with _stand_ins(), _undisturbed():
        try:
            importlib.import_module("stepfunctions.steps")
        except (ImportError, AttributeError) as error:
            for name in [name for name in sys.modules if name.partition(".")[0] == "stepfunctions"]:
                del sys.modules[name]
            known = "inference_workflow/sdk_imports.py stands in for what 2.3.0 needs"
            raise ImportError(
                f"the Step Functions SDK asks for something that is not there ({error}); {known}"
            ) from error


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Put the empty modules in place while something is imported, and then back what was there."""
    modules = _modules()
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _modules() -> dict[str, ModuleType]:
    """The stand-ins by the names of what they stand for."""
    modules = {name: ModuleType(name) for name in (*_NAMES_OF_VERSION_2, "pkg_resources")}
    for name, names in _NAMES_OF_VERSION_2.items():
        vars(modules[name]).update(dict.fromkeys(names, OldSdkName), __path__=[])
    vars(modules["pkg_resources"]).update(require=_require)
    return modules


def _require(name: str) -> list[Distribution]:
    """An installed distribution, as `pkg_resources.require` lists it."""
    return [distribution(name)]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the SDK off the network, its warnings off the screen, and the root logger's level as it is.

    Importing it creates clients, which without credentials would ask the EC2 instance metadata for some, and compares
    a string with `is`.
    """
    level = logging.root.level
    with mock.patch.dict(os.environ, {"AWS_EC2_METADATA_DISABLED": "true"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.root.setLevel(level)
