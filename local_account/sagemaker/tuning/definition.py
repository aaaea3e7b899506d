"""The training jobs that a tuning job's definitions stand for, and what is searched for each of them.

Source: API Reference, HyperParameterTrainingJobDefinition and HyperParameterTuningResourceConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_account.protocol.actions import ServiceError
from local_account.protocol.records import without

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateHyperParameterTuningJobRequestTypeDef,
        HyperParameterTrainingJobDefinitionOutputTypeDef,
        HyperParameterTrainingJobDefinitionTypeDef,
        HyperParameterTuningJobObjectiveTypeDef,
        HyperParameterTuningResourceConfigOutputTypeDef,
        HyperParameterTuningResourceConfigTypeDef,
        ParameterRangesOutputTypeDef,
        ParameterRangesTypeDef,
    )

    from local_account.sagemaker.job_records import TuningJobRecord

    Definition = HyperParameterTrainingJobDefinitionTypeDef | HyperParameterTrainingJobDefinitionOutputTypeDef

_RESOURCES = "HyperParameterTuningResourceConfig"
_OF_THE_TUNING = (
    *("StaticHyperParameters", "DefinitionName", "RetryStrategy", "TuningObjective", "HyperParameterRanges"),
    _RESOURCES,
)


@dataclass(frozen=True)
class TunedDefinition:
    """One definition of a tuning job: what it trains, over which ranges, for which objective.

    ``name`` is empty where it is the only one.
    """

    name: str
    definition: Definition
    objective: HyperParameterTuningJobObjectiveTypeDef
    ranges: ParameterRangesTypeDef | ParameterRangesOutputTypeDef


def definitions_of(tuning: CreateHyperParameterTuningJobRequestTypeDef | TuningJobRecord) -> list[TunedDefinition]:
    """The definitions of a tuning job. Raises ServiceError for one that lacks what several need, or has both forms."""
    config, several = tuning["HyperParameterTuningJobConfig"], tuning.get("TrainingJobDefinitions")
    if several:
        if "TrainingJobDefinition" in tuning or config.keys() & {"HyperParameterTuningJobObjective", "ParameterRanges"}:
            raise ServiceError(
                "With TrainingJobDefinitions each one has its TuningObjective and HyperParameterRanges: leave out "
                "TrainingJobDefinition, HyperParameterTuningJobObjective and ParameterRanges."
            )
        return [_one_of_several(each) for each in several]
    if "TrainingJobDefinition" not in tuning or "HyperParameterTuningJobObjective" not in config:
        raise ServiceError("A tuning job needs TrainingJobDefinition and HyperParameterTuningJobObjective.")
    ranges = config.get("ParameterRanges", {})
    return [TunedDefinition("", tuning["TrainingJobDefinition"], config["HyperParameterTuningJobObjective"], ranges)]


def _one_of_several(given: Definition) -> TunedDefinition:
    for member in ("DefinitionName", "TuningObjective", "HyperParameterRanges"):
        if member not in given:
            raise ServiceError(f"Each of several TrainingJobDefinitions needs {member}.")
    return TunedDefinition(given["DefinitionName"], given, given["TuningObjective"], given["HyperParameterRanges"])


def training_request(
    definition: Definition,
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
