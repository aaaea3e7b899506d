"""The training job that a tuning job's definition stands for.

Source: API Reference, HyperParameterTrainingJobDefinition and HyperParameterTuningResourceConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.protocol.actions import ServiceError
from local_account.protocol.records import without

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        HyperParameterTrainingJobDefinitionOutputTypeDef,
        HyperParameterTrainingJobDefinitionTypeDef,
        HyperParameterTuningResourceConfigOutputTypeDef,
        HyperParameterTuningResourceConfigTypeDef,
    )

_RESOURCES = "HyperParameterTuningResourceConfig"
_OF_THE_TUNING = ("StaticHyperParameters", "DefinitionName", "RetryStrategy", _RESOURCES)


def training_request(
    definition: HyperParameterTrainingJobDefinitionTypeDef | HyperParameterTrainingJobDefinitionOutputTypeDef,
    name: str,
    hyperparameters: Mapping[str, str],
) -> dict[str, object]:
    """The request for one training job. Raises ServiceError for resources that cannot be."""
    request: dict[str, object] = {
        **without(definition, *_OF_THE_TUNING),
        "TrainingJobName": name,
        "HyperParameters": {**definition.get("StaticHyperParameters", {}), **hyperparameters},
    }
    if resources := definition.get("HyperParameterTuningResourceConfig"):
        if "ResourceConfig" in definition:
            raise ServiceError(f"TrainingJobDefinition: expected ResourceConfig or {_RESOURCES}, not both.")
        request["ResourceConfig"] = _first_choice(resources)
    return request


def _first_choice(
    resources: HyperParameterTuningResourceConfigTypeDef | HyperParameterTuningResourceConfigOutputTypeDef,
) -> dict[str, object]:
    """Of several kinds of instances the one that is preferred: this machine has all of them at any time."""
    own = without(resources, "AllocationStrategy", "InstanceConfigs")
    choices = resources.get("InstanceConfigs")
    if not choices:
        return own
    if named := own.keys() - {"VolumeKmsKeyId"}:
        raise ServiceError(f"{_RESOURCES}: expected InstanceConfigs or {min(named)}, not both.")
    return {**own, **choices[0]}
