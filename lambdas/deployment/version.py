"""What has to be known of a version that serves: kept in the table, so that it outlives the version's registry entry.

It is written when a deployment begins. Runs in Lambda; no AWS call. `lambdas.inference.versions` and
`scones.serving_versions.deployments` read the same items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CLASSES_VARIABLE = "SCONES_CLASSES"  # `pipelines.model_steps` registers it
SMOKE_FILE, BASELINE_FILE = "smoke.json", "baseline.json"
# Of a package's container, what CreateModel takes as well.
_CONTAINER = ("Image", "ModelDataUrl", "ModelDataSource", "Environment")


class VersionGoneError(Exception):
    """Neither the table nor the registry knows a version."""

    def __init__(self, package_arn: str) -> None:
        super().__init__(
            f"{package_arn} was deleted from the registry, and deployed before the table of deployments kept what is"
            " known of a version: deploy another one with `scones model approve` or `scones endpoint rollback`"
        )


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
    container: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def smoke_uri(self) -> str:
        """Of the known images, which the evaluation wrote beside its document; "" without an evaluation."""
        return _beside(self.evaluation_uri, SMOKE_FILE)


def of_package(package: Mapping[str, Any]) -> ServableVersion:
    """What DescribeModelPackage answers."""
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
        container={name: container[name] for name in _CONTAINER if name in container},
        metadata=dict(package.get("CustomerMetadataProperties", {})),
    )


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
