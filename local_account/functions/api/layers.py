"""Layers of functions: PublishLayerVersion to ListLayers, as AWS describes them.

Runs in the server process. Source: lambda/latest/dg/chapter-layers.html and the API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from moto.awslambda.models import LayerVersion, lambda_backends

from local_account.base.arns import name_of
from local_account.base.replacements import extends
from local_account.functions.api.answers import ApiAnswers, answered, done, page
from local_account.functions.configuration import AccountFunction
from local_account.functions.errors import client_error

if TYPE_CHECKING:
    from moto.awslambda.models import Layer
    from moto.core.common_types import TYPE_RESPONSE


@extends
class LayerAnswers(ApiAnswers):
    """Answers about layers."""

    def publish_layer_version(self) -> TYPE_RESPONSE:
        """PublishLayerVersion; raises moto's LambdaClientError for a zip that is none."""
        made = self.backend.publish_layer_version({**self.request, "LayerName": self.layer_text})
        return answered(self.whole(made), 201)

    def get_layer_version(self) -> TYPE_RESPONSE:  # type: ignore[override]  # an answer with its status
        """GetLayerVersion; raises moto's LambdaClientError when it is not there."""
        layer, number = self.layer(), self.path.rpartition("/")[2]
        if number.lstrip("-").isdigit() and int(number) < 1:
            message = "Layer Version Cannot be less than 1."
            raise client_error("InvalidParameterValueException", message, 400)
        found = layer.layer_versions.get(number) if layer else None
        if found is None:
            raise client_error("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return answered(self.whole(found))

    def delete_layer_version(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """DeleteLayerVersion; one that is not there is gone already."""
        if layer := self.layer():
            layer.delete_version(self.path.rpartition("/")[2])
        return done()

    def list_layer_versions(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """ListLayerVersions, the newest first."""
        layer = self.layer()
        versions = sorted(layer.layer_versions.values(), key=lambda each: -each.version) if layer else []
        return page(self, "LayerVersions", [_brief(each) for each in versions if self.is_wanted(each)])

    def get_layer_version_by_arn(self) -> TYPE_RESPONSE:
        """GetLayerVersionByArn; raises moto's LambdaClientError when it is not there."""
        arn = str(self.asked("Arn"))
        versions = (version for layer in self.layers().values() for version in layer.layer_versions.values())
        found = next((each for each in versions if each.arn == arn), None)
        if found is None:
            raise client_error("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return answered(self.whole(found))

    def list_layers(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """ListLayers, each with its latest version that runs what is asked for."""
        if self.asked("find") == "LayerVersion":  # moto tells the two apart by their path alone
            return self.get_layer_version_by_arn()
        rows: list[dict[str, object]] = []
        for layer in self.layers().values():
            wanted = [each for each in layer.layer_versions.values() if self.is_wanted(each)]
            if wanted:
                latest = _brief(max(wanted, key=lambda each: each.version))
                rows.append({"LayerName": layer.name, "LayerArn": layer.layer_arn, "LatestMatchingVersion": latest})
        return page(self, "Layers", rows)

    @property
    def layer_text(self) -> str:
        """LayerName, as it was sent."""
        return unquote(self.path.split("/layers/", 1)[1].split("/versions", 1)[0])

    def layers(self) -> Mapping[str, Layer]:
        """All layers of the region."""
        return cast("Mapping[str, Layer]", lambda_backends[self.current_account][self.region]._layers._layers)

    def layer(self) -> Layer | None:
        """The layer that is meant by its name or its ARN; None when it is not there."""
        return self.layers().get(name_of(self.layer_text, "lambda", "layer"))

    def is_wanted(self, version: LayerVersion) -> bool:
        """Whether a version runs what a list is asked for."""
        runtime, architecture = self.asked("CompatibleRuntime"), self.asked("CompatibleArchitecture")
        return (runtime is None or runtime in version.compatible_runtimes) and (
            architecture is None or architecture in version.compatible_architectures
        )

    def whole(self, version: LayerVersion) -> dict[str, object]:
        """A version with an address of its content."""
        content = {
            "Location": AccountFunction.functions.code_address(version),
            "CodeSha256": version.code_sha_256,
            "CodeSize": version.code_size,
        }
        return {"Content": content, "LayerArn": version.arn.removesuffix(f":{version.version}"), **_brief(version)}


def _brief(version: LayerVersion) -> dict[str, object]:
    """A version in a list."""
    found: dict[str, object] = {
        "LayerVersionArn": version.arn,
        "Version": version.version,
        "Description": version.description or "",
        "CreatedDate": version.created_date,
        "CompatibleRuntimes": version.compatible_runtimes,
    }
    if version.compatible_architectures:
        found["CompatibleArchitectures"] = version.compatible_architectures
    return found | ({"LicenseInfo": version.license_info} if version.license_info else {})
