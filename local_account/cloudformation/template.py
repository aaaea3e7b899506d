"""CloudFormation templates: read them, check the parameters, order the resources.

Runs in the server process; a template is text from a user and is read with a safe YAML loader. Macros and the
serverless transform are refused. The wording of errors follows AWS's, because tools match on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import yaml

from local_account.cloudformation.records import DeclaredParameter, DeclaredResource, TemplateDocument
from local_account.protocol.actions import ServiceError
from local_account.protocol.records import view

_SECTIONS = {
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
}
_PSEUDO = re.compile(r"AWS::(AccountId|NoValue|NotificationARNs|Partition|Region|StackId|StackName|URLSuffix)")
SUBSTITUTION = re.compile(r"\$\{(!?)([^}]*)\}")


class InvalidTemplateError(ServiceError):
    """A template, or parameters for it, that cannot be used: ValidationError on the wire."""


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


def parse(body: str) -> TemplateDocument:
    """Read a template, which is YAML or JSON.

    Raises InvalidTemplateError for what is no template, for references that lead nowhere, and for a transform.
    """
    try:
        document = json.loads(body) if body.lstrip().startswith("{") else yaml.load(body, Loader=_Loader)  # noqa: S506  # a safe loader
    except (yaml.YAMLError, ValueError) as error:
        where = " ".join(str(error).split())
        raise InvalidTemplateError(
            f"Template format error: the document can be read neither as YAML nor JSON. ({where})"
        ) from error
    if not isinstance(document, dict):
        raise InvalidTemplateError("Template format error: unsupported structure.")
    if "Transform" in document:
        raise InvalidTemplateError(f"The stand-in account does not implement Transform ({document['Transform']}).")
    if unknown := sorted(map(str, document.keys() - _SECTIONS)):
        raise InvalidTemplateError(f"Invalid template property or properties [{', '.join(unknown)}]")
    resources = document.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise InvalidTemplateError("Template format error: At least one Resources member must be defined.")
    for name, resource in resources.items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
            raise InvalidTemplateError(
                f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
            )
    template = view(TemplateDocument, document)
    _check_references(template)
    return template


def parameter_values(document: TemplateDocument, given: Mapping[str, str]) -> dict[str, str]:
    """The value of every parameter, as text.

    Raises InvalidTemplateError for an unknown parameter, one without a value, and a value that is not allowed.
    """
    declared = document.get("Parameters") or {}
    if unknown := sorted(given.keys() - declared.keys()):
        raise InvalidTemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = [name for name, declaration in declared.items() if name not in given and "Default" not in declaration]
    if missing:
        raise InvalidTemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    values = {name: plain_text(given.get(name, declaration.get("Default"))) for name, declaration in declared.items()}
    for name, declaration in declared.items():
        _check_parameter(name, declaration, values[name])
    return values


def plain_text(value: object) -> str:
    """A value as CloudFormation writes it: booleans in small letters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check_parameter(name: str, declaration: DeclaredParameter, value: str) -> None:
    number = None
    if declaration.get("Type") == "Number":
        try:
            number = float(value)
        except ValueError as error:
            raise InvalidTemplateError(f"Parameter '{name}' must be a number.") from error
    allowed = [plain_text(v) for v in declaration.get("AllowedValues", [])]
    problem = declaration.get("ConstraintDescription", "")
    if allowed and value not in allowed:
        problem = problem or f"must be one of AllowedValues [{', '.join(allowed)}]"
    elif (pattern := declaration.get("AllowedPattern")) and not re.fullmatch(pattern, value):
        problem = problem or f"must match pattern {pattern}"
    elif number is not None and not (
        float(declaration.get("MinValue", number)) <= number <= float(declaration.get("MaxValue", number))
    ):
        problem = problem or "must be between MinValue and MaxValue"
    elif not int(declaration.get("MinLength", 0)) <= len(value) <= int(declaration.get("MaxLength", len(value))):
        problem = problem or "must be between MinLength and MaxLength"
    else:
        return
    raise InvalidTemplateError(f"Parameter '{name}' {problem}, got {value!r}")


def _references(value: object) -> Iterator[str]:
    """Names that an expression refers to: parameters, resources, pseudo parameters."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield str(item)
            elif key == "Fn::GetAtt":
                yield str(item[0] if isinstance(item, list) else str(item).split(".")[0])
            elif key == "Fn::Sub":
                text, own = sub_arguments(item)
                names = {n.strip().split(".")[0] for literal, n in SUBSTITUTION.findall(text) if not literal}
                yield from names - own.keys()
                yield from _references(own)
            else:
                yield from _references(item)


def sub_arguments(argument: object) -> tuple[str, dict[str, object]]:
    """The text of a Fn::Sub and the variables that it brings itself."""
    if not isinstance(argument, list):
        return str(argument), {}
    return str(argument[0]), argument[1]


def _check_references(document: TemplateDocument) -> None:
    known = {*document["Resources"], *(document.get("Parameters") or {})}
    for section, expressions in (("Resources", document["Resources"]), ("Outputs", document.get("Outputs"))):
        found = set(_references(expressions))
        unresolved = sorted(name for name in found - known if not _PSEUDO.fullmatch(name))
        if unresolved:
            raise InvalidTemplateError(
                f"Template format error: Unresolved resource dependencies [{', '.join(unresolved)}] "
                f"in the {section} block of the template"
            )


def creation_order(resources: Mapping[str, DeclaredResource]) -> list[str]:
    """Every resource after those that it depends on.

    Raises InvalidTemplateError for a circle.
    """
    needs: dict[str, set[str]] = {}
    for name, resource in resources.items():
        named = resource.get("DependsOn", [])
        explicit = {named} if isinstance(named, str) else set(named)
        needs[name] = (set(_references(resource.get("Properties"))) | explicit) & resources.keys() - {name}
    ordered: list[str] = []
    while len(ordered) < len(resources):
        ready = [name for name in resources if name not in ordered and needs[name] <= set(ordered)]
        if not ready:
            circle = ", ".join(name for name in resources if name not in ordered)
            raise InvalidTemplateError(f"Circular dependency between resources: [{circle}]")
        ordered += ready
    return ordered
