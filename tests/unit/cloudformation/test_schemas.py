"""The schemas of types that the account keeps are those of AWS's registry, as cfn-lint carries them."""

from __future__ import annotations

import json
from importlib.resources import files

from local_account.cloudformation.language import registry, schemas
from local_account.cloudformation.resources.kinds import CUSTOM, KINDS

HOW = "run: python -m local_account.cloudformation.language.registry"


def test_what_is_kept_is_what_the_registry_says() -> None:
    kept = json.loads((files(schemas.__package__) / schemas.SCHEMAS_FILE).read_text(encoding="utf-8"))
    assert kept == registry.kept_schemas(KINDS.keys() - {CUSTOM}), HOW


def test_every_type_of_aws_has_a_schema() -> None:
    assert [name for name in KINDS if schemas.schema_of(name) is None] == [CUSTOM]
