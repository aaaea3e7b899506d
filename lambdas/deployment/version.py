"""What has to be known of a version that serves: kept in the table, so that it outlives the version's registry entry.

It is written when a deployment begins. Runs in Lambda; no AWS call. `lambdas.inference.versions` and
`scones.serving_versions.deployments` read the same items.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        ContainerDefinitionTypeDef,
        DescribeModelPackageOutputTypeDef,
        ModelPackageContainerDefinitionOutputTypeDef,
    )

CLASSES_VARIABLE = "SCONES_CLASSES"  # `pipelines.model_steps` registers it
SMOKE_FILE, BASELINE_FILE = "smoke.json", "baseline.json"


class VersionGoneError(Exception):
    """Neither the table nor the registry knows a version."""

    def __init__(self, package_arn: str) -> None:
        super().__init__(
            f"{package_arn} was deleted from the registry, and deployed before the table of deployments kept what is"
            " known of a version: deploy another one with `scones model approve` or `scones endpoint rollback`"
        )


def _no_container() -> ContainerDefinitionTypeDef:
    return {}


@dataclass(frozen=True)
class ServableVersion:
    """A version as the registry had it: its container, its classes, and where its evaluation and baseline lie.

    ``classes`` are separated by commas, in the order of the model's probabilities; ``created`` is ISO 8601 in UTC.
    """

    version: int
    package_arn: str
    created: str
    classes: str
    evaluation_uri: str
    baseline_uri: str
    container: ContainerDefinitionTypeDef = field(default_factory=_no_container)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def smoke_uri(self) -> str:
        """Of the known images, which the evaluation wrote beside its document; "" without an evaluation."""
        return _beside(self.evaluation_uri, SMOKE_FILE)


def of_package(package: DescribeModelPackageOutputTypeDef) -> ServableVersion:
    """Read a version from DescribeModelPackage's answer."""
    container = package.get("InferenceSpecification", {}).get("Containers", [{}])[0]
    statistics = package.get("DriftCheckBaselines", {}).get("ModelDataQuality", {}).get("Statistics", {})
    return ServableVersion(
        version=int(package["ModelPackageVersion"]),
        package_arn=package["ModelPackageArn"],
        created=package["CreationTime"].isoformat(),
        classes=container.get("Environment", {}).get(CLASSES_VARIABLE, ""),
        evaluation_uri=package.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {}).get("S3Uri", ""),
        # The registry has no place for baseline.json, which stands beside the statistics.
        baseline_uri=_beside(statistics.get("S3Uri", ""), BASELINE_FILE),
        container=_servable(container),
        metadata=dict(package.get("CustomerMetadataProperties", {})),
    )


def _servable(found: ModelPackageContainerDefinitionOutputTypeDef) -> ContainerDefinitionTypeDef:
    """What CreateModel takes as well of a package's container."""
    container = _no_container()
    if "Image" in found:
        container["Image"] = found["Image"]
    if "ModelDataUrl" in found:
        container["ModelDataUrl"] = found["ModelDataUrl"]
    if "ModelDataSource" in found:
        container["ModelDataSource"] = found["ModelDataSource"]
    if "Environment" in found:
        container["Environment"] = found["Environment"]
    return container


def number_of(package_arn: str) -> int:
    """The version's number; 0 for a package that is no version of a group."""
    number = package_arn.rpartition("/")[2]
    return int(number) if number.isdecimal() else 0


def key_of(package_arn: str) -> dict[str, str]:
    """The key of the version's item in the table of deployments."""
    return {"kind": "version", "key": number_text(number_of(package_arn))}


def number_text(version: int) -> str:
    """A version's number as a key, so that keys sort as numbers do."""
    return f"{version:08d}"


def _beside(uri: str, file: str) -> str:
    return f"{uri.rpartition('/')[0]}/{file}" if uri else ""
