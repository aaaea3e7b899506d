"""No room takes an ARN apart by hand: whoever needs a part of one asks `local_account.base.arns`.

Every call that splits a text at ``:`` or ``/``, and every regular expression with ``arn`` in it, is found; what is
split and is no ARN stands in a table here, so that a new one has to say what it is.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3] / "local_account"
SPLITTERS = {"split", "rsplit", "partition", "rpartition"}
TRIMMERS = {"removeprefix", "removesuffix", "replace", "lstrip", "rstrip", "strip"}
NO_ARNS: dict[str, set[str]] = {
    "authority/authority.py": {"action"},
    "authority/conditions.py": {"name"},
    "authority/keys.py": {"demand.action"},
    "authority/names.py": {"build"},
    "authority/requests.py": {"path.strip('/')", "str(environ.get('HTTP_HOST', ''))", "path[1:]"},
    "authority/signatures.py": {"said.get(f'{prefix}Credential', '')"},
    "base/archives/s3_download.py": {"str(answer.get('ContentRange', '/0'))"},
    "base/images.py": {"uri.rpartition('/')[2].partition('@')[0]", "uri"},
    "base/wire/s3_names.py": {"str(environ.get('HTTP_HOST', ''))", "path", "source"},
    "cloudformation/api/requests.py": {"kind", "path"},
    "cloudformation/language/dynamic.py": {"what", "re.compile"},
    "cloudformation/language/registry.py": {"name.removeprefix('AWS::')"},
    "cloudformation/language/schemas.py": {"type_name.removeprefix('AWS::')"},
    "cloudformation/language/values.py": {"reference.removeprefix('#/')"},
    "codebuild/cache.py": {"pattern", "self._location"},
    "codebuild/files.py": {"re"},
    "codebuild/report_files.py": {"text.partition('(')[2].rstrip(')')"},
    "codepipeline/actions.py": {"place['key']"},
    "container_images/xgboost/serve_xgboost.py": {"pair"},
    "container_images/xgboost/train_xgboost.py": {"uri"},
    "events/pattern_grammar.py": {"argument"},
    "events/schedule_expressions.py": {"part"},
    "events/scheduler.py": {"answers.uri.split('?')[0]", "self.uri.split('?')[0]", "self.uri"},
    "functions/api/answers.py": {"self.path.split('/functions/', 1)[1]", "self.path"},
    "functions/api/code.py": {"owner.code_digest"},
    "functions/api/function_calls.py": {"str(environ['PATH_INFO']).removeprefix(PATH)"},
    "functions/api/functions.py": {"self.path"},
    "functions/api/layers.py": {"self.path.split('/layers/', 1)[1]", "self.path"},
    "functions/api/mappings.py": {"self.path.rstrip('/')"},
    "functions/api/policies.py": {"self.path"},
    "functions/api/settings.py": {"self.path"},
    "functions/api/versions.py": {"self.path"},
    "functions/configuration.py": {"re.compile"},
    "functions/runtime_api.py": {"path.strip('/')"},
    "functions/worker.py": {"address"},
    "moto_bridge/fast_answers.py": {"environ.get('HTTP_HOST', '')", "re.compile"},
    "moto_services/s3_events.py": {"self.name"},
    "sagemaker/jobs/files.py": {"uri.removeprefix('s3://')"},
    "server/catalogue.py": {"kind"},
    "server/words/bucket_words.py": {"source.lstrip('/')"},
    "stepfunctions/backend.py": {"fields[-1]"},
    "stepfunctions/language/definition.py": {"target_path"},
    "stepfunctions/maps/items.py": {"str(config.get('ItemsPointer', ''))"},
}
"""By file: parts of requests, actions, S3 addresses, dates, digests, kinds of resources, a grammar's values."""


def test_no_room_splits_an_arn_of_its_own() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        if path.name != "arns.py":
            found[str(path.relative_to(ROOT))] |= set(splits(path.read_text(encoding="utf-8")))
    assert {name: what for name, what in found.items() if what} == NO_ARNS


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ('arn.split(":")[4]', True),
        ('whatever.rpartition("/")[2]', True),
        ('text.partition(":role/")[2]', True),
        ('resource.removeprefix("arn:aws:s3:::")', True),
        ('re.match(r"arn:aws:iam::(\\d+):", text)', True),
        ('re.split("[:/]", text)', True),
        ('"Expected: a list".split()', False),
        ('line.split(",")', False),
        ("last_part(arn)", False),
    ],
)
def test_the_search_finds_what_it_is_for(code: str, *, is_found: bool) -> None:
    assert bool(list(splits(code))) is is_found


def splits(code: str) -> Iterator[str]:
    """What the code takes apart by hand: the text, or the function of ``re``."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            subject, given = ast.unparse(node.func.value), list(_texts(node))
            if subject == "re" and any(part in text for text in given for part in ("arn:", "[:/]", "[/:]")):
                yield f"re.{node.func.attr}"
            elif _takes_apart(node.func.attr, given):
                yield subject


def _takes_apart(function: str, given: list[str]) -> bool:
    if function in SPLITTERS:
        return any({":", "/"} & set(text) for text in given if " " not in text)
    return function in TRIMMERS and any("arn:" in text for text in given)


def _texts(call: ast.Call) -> Iterator[str]:
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
