"""CloudFormation templates as documents: text, YAML or JSON, becomes what its sections say.

Runs in the server process; a template is text from a user and is read with a safe YAML loader. Its transforms have been
applied when it gets here (`transforms`). The wording of errors is AWS's, because tools match on it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping

import yaml

from local_account.cloudformation.language.errors import InvalidTemplateError, format_error
from local_account.cloudformation.language.references import check_references, creation_order
from local_account.cloudformation.language.sections import check_sections
from local_account.cloudformation.records import TemplateDocument
from local_account.protocol.records import view

_DEEPEST = 200  # levels; AWS's own bound is not stated, and no template of a person has so many


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen when it is imported
    """YAML as CloudFormation reads it: short forms of the functions, and no dates."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, object]:
    value: object
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


@functools.lru_cache(maxsize=64)
def parse(body: str) -> TemplateDocument:
    """Read a template, which is YAML or JSON; nobody may change what is given.

    Raises InvalidTemplateError for what is no template, for references that lead nowhere, and for a transform.
    """
    document = read_template(body)
    if "Transform" in document:
        raise InvalidTemplateError(f"The stand-in account does not implement Transform ({document['Transform']}).")
    check_sections(document)
    template = view(TemplateDocument, document)
    check_references(template)
    creation_order(template["Resources"])
    return template


def read_template(body: str) -> dict[str, object]:
    """A template, or a part of one, as the document that it is.

    Raises InvalidTemplateError for what is none.
    """
    try:
        document = _with_text_keys(_read(body), 0)
    except RecursionError as error:
        raise format_error("the template is nested too deeply.") from error
    if not isinstance(document, dict):
        raise format_error("unsupported structure.")
    return document


def _read(body: str) -> object:
    if body.lstrip().startswith("{"):
        try:
            read: object = json.loads(body)
        except json.JSONDecodeError as error:
            raise format_error(f"JSON not well-formed. (line {error.lineno}, column {error.colno})") from error
        return read
    try:
        if re.search(r"(^|[\s\[{,:])\*\w", body) and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(body)):
            raise InvalidTemplateError("Template error: YAML aliases are not allowed in CloudFormation templates")
        return yaml.load(body, Loader=_Loader)  # noqa: S506  # a safe loader
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise format_error(f"YAML not well-formed.{where}") from error


def _with_text_keys(value: object, depth: int) -> object:
    """The value with every key as text: YAML reads an account's number as one."""
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item, depth + 1) for key, item in value.items()}
    return [_with_text_keys(item, depth + 1) for item in value] if isinstance(value, list) else value
