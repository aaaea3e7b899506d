"""What the definition tests share: a deployment with made-up values, and expressions replaced by plain values."""

from __future__ import annotations

import os
import re
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from scones.stage.names import Names
from scones.stage.settings import Settings
from tests.places import SAMPLES

ACCOUNT = "123456789012"


def a_deployment() -> Any:
    """A `PipelineDeployment` with made-up values."""
    from pipelines.container_jobs import PipelineDeployment, Roles  # the SDK takes seconds to import

    settings = Settings.load("production")
    names = Names.of(settings, ACCOUNT)
    return PipelineDeployment(
        names=names,
        settings=settings,
        roles=Roles(**{kind: f"arn:aws:iam::{ACCOUNT}:role/{kind}" for kind in Roles.__annotations__}),
        data_key_arn=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/data",
        source_archive_uri=f"s3://{names.artifact_bucket}/source/{'0' * 16}/source.tar.gz",
        source_digest="0" * 64,
    )


def check_sample(name: str, text: str) -> None:
    """Compare with the golden file; ``SCONES_UPDATE_SAMPLES=1`` writes it."""
    path = SAMPLES / name
    if os.environ.get("SCONES_UPDATE_SAMPLES"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} changed: run with SCONES_UPDATE_SAMPLES=1 and look at it"


def resolve(value: Any, parameters: dict[str, Any]) -> Any:
    """Pipeline expressions as a service would fill them in, with made-up results of steps."""
    if isinstance(value, list):
        return [resolve(item, parameters) for item in value]
    if not isinstance(value, dict):
        return value
    if "Get" in value:
        return _get(value["Get"], parameters)
    if "Std:Join" in value:
        join = value["Std:Join"]
        return join["On"].join(str(resolve(item, parameters)) for item in join["Values"])
    if "Std:JsonGet" in value:
        return 0.5
    return {key: resolve(item, parameters) for key, item in value.items()}


def _get(path: str, parameters: dict[str, Any]) -> Any:
    kind, _, rest = path.partition(".")
    if kind == "Parameters":
        return parameters[rest]
    assert kind in {"Execution", "Steps"}, path
    return "abcdef123456" if kind == "Execution" else "s3://bucket/" + re.sub(r"\W+", "-", rest)


def assert_valid_request(operation: str, arguments: dict[str, Any]) -> None:
    """The arguments as botocore would check them, and the longest texts that the service allows."""
    service = botocore.session.get_session().get_service_model("sagemaker")
    shape = service.operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(arguments, shape)
    assert not report.has_errors(), report.generate_report()
    _assert_lengths(arguments, shape, operation)


def _assert_lengths(value: Any, shape: Any, where: str) -> None:
    if shape.type_name == "structure":
        for name, item in value.items():
            _assert_lengths(item, shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        assert len(value) <= shape.metadata.get("max", len(value)), f"{where} has {len(value)} items"
        for item in value:
            _assert_lengths(item, shape.member, where)
    elif shape.type_name == "map":
        for name, item in value.items():
            _assert_lengths(item, shape.value, f"{where}.{name}")
    elif shape.type_name == "string":
        assert len(value) <= shape.metadata.get("max", len(value)), f"{where} has {len(value)} characters: {value}"
        if shape.enum:
            assert value in shape.enum, f"{where}: {value}"
        # CustomerMetadataValue and TagValue: letters, spaces, digits and these; no comma.
        if shape.name in {"CustomerMetadataValue", "TagValue"}:
            assert re.fullmatch(r"[\w\s.:/=+\-@]*", value), f"{where}: {value}"
