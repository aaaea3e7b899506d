"""What Python loads first in a shell of the account's owner (``sitecustomize``): tells the SageMaker SDK where it is.

Copied to ``<state>/client/python``, which `scones account env` puts on PYTHONPATH; needs the standard library alone.
The SDK, versions 2 and 3, asks the real STS who calls, whatever ``AWS_ENDPOINT_URL`` says, unless it finds the file of
a notebook instance at a fixed path. Here it gets such a file, with the account's execution role, and the account's STS.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).parent
_SDK = {
    "sagemaker.core.common_utils",
    "sagemaker.core.helper.session_helper",
    "sagemaker.session",
    "sagemaker.utils",
    "sagemaker_core.helper.session_helper",
}


class _ToldLoader(importlib.machinery.SourceFileLoader):
    """Loads a module of the SDK, and then tells it where it is."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        if not endpoint.startswith("http://127.0.0.1:"):
            return
        told: dict[str, object] = {
            "NOTEBOOK_METADATA_FILE": str(_FOLDER / "resource-metadata.json"),
            "sts_regional_endpoint": lambda _region: endpoint,
        }
        vars(module).update({name: value for name, value in told.items() if hasattr(module, name)})


class _SdkFinder:
    """Finds the modules of the SDK that have to be told."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _SDK:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.origin and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _ToldLoader(name, spec.origin)
        return spec


def _load_the_next() -> None:
    """Run the ``sitecustomize`` that this one hides."""
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != _FOLDER.resolve()]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, _SdkFinder)
    _load_the_next()
