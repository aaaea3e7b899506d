"""CloudFormation templates: read, check the parameters, evaluate conditions and intrinsic functions, order resources.

Runs in the server process; a template is text from a user and is read with a safe YAML loader. Macros and the
serverless transform are refused. The wording of errors follows AWS's, because tools match on it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from local_account.protocol.actions import ServiceError

NO_VALUE: Any = object()  # what {"Ref": "AWS::NoValue"} becomes: the property is left out
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
_SUBSTITUTION = re.compile(r"\$\{(!?)([^}]*)\}")


class TemplateError(ServiceError):
    """A template, or parameters for it, that cannot be used: ValidationError on the wire."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen when it is imported
    """YAML as CloudFormation reads it: short forms of the functions, and no dates."""


def _short_form(loader: Any, suffix: str, node: Any) -> Any:
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


def parse(body: str) -> dict[str, Any]:
    """A template's document; raises TemplateError."""
    try:
        document = json.loads(body) if body.lstrip().startswith("{") else yaml.load(body, Loader=_Loader)  # noqa: S506  # a safe loader
    except (yaml.YAMLError, ValueError) as error:
        where = " ".join(str(error).split())
        raise TemplateError(
            f"Template format error: the document can be read neither as YAML nor JSON. ({where})"
        ) from error
    if not isinstance(document, dict):
        raise TemplateError("Template format error: unsupported structure.")
    if "Transform" in document:
        raise TemplateError(f"The stand-in account does not implement Transform ({document['Transform']}).")
    if unknown := sorted(map(str, document.keys() - _SECTIONS)):
        raise TemplateError(f"Invalid template property or properties [{', '.join(unknown)}]")
    resources = document.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    for name, resource in resources.items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
            raise TemplateError(
                f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
            )
    _check_references(document)
    return document


def parameter_values(document: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The value of every parameter, as text; raises TemplateError."""
    declared = document.get("Parameters") or {}
    if unknown := sorted(given.keys() - declared.keys()):
        raise TemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = [name for name, declaration in declared.items() if name not in given and "Default" not in declaration]
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    values = {name: _text(given.get(name, declaration.get("Default"))) for name, declaration in declared.items()}
    for name, declaration in declared.items():
        _check_parameter(name, declaration, values[name])
    return values


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check_parameter(name: str, declaration: Mapping[str, Any], value: str) -> None:
    number = None
    if declaration.get("Type") == "Number":
        try:
            number = float(value)
        except ValueError as error:
            raise TemplateError(f"Parameter '{name}' must be a number.") from error
    allowed = [_text(v) for v in declaration.get("AllowedValues", [])]
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
    raise TemplateError(f"Parameter '{name}' {problem}, got {value!r}")


def _references(value: Any) -> Iterator[str]:
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
                text, own = (item[0], item[1]) if isinstance(item, list) else (item, {})
                names = {n.strip().split(".")[0] for literal, n in _SUBSTITUTION.findall(str(text)) if not literal}
                yield from names - own.keys()
                yield from _references(own)
            else:
                yield from _references(item)


def _check_references(document: Mapping[str, Any]) -> None:
    known = {*document["Resources"], *(document.get("Parameters") or {})}
    for section in ("Resources", "Outputs"):
        found = set(_references(document.get(section) or {}))
        unresolved = sorted(name for name in found - known if not _PSEUDO.fullmatch(name))
        if unresolved:
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies [{', '.join(unresolved)}] "
                f"in the {section} block of the template"
            )


def creation_order(resources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every resource after those that it depends on; raises TemplateError for a circle."""
    needs: dict[str, set[str]] = {}
    for name, resource in resources.items():
        explicit = resource.get("DependsOn", [])
        explicit = {explicit} if isinstance(explicit, str) else set(explicit)
        needs[name] = (set(_references(resource.get("Properties"))) | explicit) & resources.keys() - {name}
    ordered: list[str] = []
    while len(ordered) < len(resources):
        ready = [name for name in resources if name not in ordered and needs[name] <= set(ordered)]
        if not ready:
            circle = ", ".join(name for name in resources if name not in ordered)
            raise TemplateError(f"Circular dependency between resources: [{circle}]")
        ordered += ready
    return ordered


@dataclass
class Scope:
    """What expressions of one stack see. ``ref`` and ``attribute`` answer for resources."""

    document: Mapping[str, Any]
    parameters: Mapping[str, str]
    pseudo: Mapping[str, Any]
    ref: Callable[[str], Any]
    attribute: Callable[[str, str], Any]
    imported: Callable[[str], str]
    ssm_value: Callable[[str], str]
    _conditions: dict[str, bool] = field(default_factory=dict)

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            expressions = self.document.get("Conditions") or {}
            if name not in expressions:
                raise TemplateError(f"Template format error: Unresolved condition dependency {name}")
            self._conditions[name] = self._truth(expressions[name])
        return self._conditions[name]

    def active_resources(self) -> dict[str, Any]:
        """The resources whose condition holds."""
        resources = self.document["Resources"]
        return {n: r for n, r in resources.items() if "Condition" not in r or self.condition(r["Condition"])}

    def _truth(self, expression: Any) -> bool:
        ((function, argument),) = expression.items()
        if function == "Condition":
            return self.condition(argument)
        if function == "Fn::Not":
            return not self._truth(argument[0])
        if function == "Fn::And":
            return all(self._truth(each) for each in argument)
        if function == "Fn::Or":
            return any(self._truth(each) for each in argument)
        if function == "Fn::Equals":
            left, right = (self.resolve(each) for each in argument)
            return _text(left) == _text(right)
        raise TemplateError(f"Template validation error: {function} cannot be used as a condition")

    def resolve(self, value: Any) -> Any:
        """The value with every function evaluated; members that are AWS::NoValue are left out."""
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(str(argument))
            if name.startswith("Fn::"):
                return self._function(name[4:], argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name not in self.parameters:
            return self.ref(name)
        kind = str(self.document["Parameters"][name].get("Type", "String"))
        value = self.parameters[name]
        if kind.startswith("AWS::SSM::Parameter::Value"):
            value = self.ssm_value(value)
        if "List" in kind:
            return [item.strip() for item in value.split(",")]
        return value

    def _function(self, name: str, argument: Any) -> Any:
        if name == "If":
            condition, then, otherwise = argument
            return self.resolve(then if self.condition(condition) else otherwise)
        if name == "Sub":
            return self._sub(argument)
        if name == "GetAtt":
            resource, _, path = argument.partition(".") if isinstance(argument, str) else (argument[0], "", argument[1])
            return self.attribute(resource, str(self.resolve(path)))
        argument = self.resolve(argument)
        simple: dict[str, Callable[[Any], Any]] = {
            "Join": lambda a: str(a[0]).join(map(_text, a[1])),
            "Split": lambda a: str(a[1]).split(a[0]),
            "Select": lambda a: a[1][int(a[0])],
            "Base64": lambda a: base64.b64encode(str(a).encode()).decode(),
            "GetAZs": lambda a: [f"{a or self.pseudo['AWS::Region']}{zone}" for zone in "abc"],
            "ImportValue": lambda a: self.imported(str(a)),
            "FindInMap": lambda a: self.document["Mappings"][a[0]][a[1]][a[2]],
            "ToJsonString": json.dumps,
            "Length": len,
        }
        if name not in simple:
            raise TemplateError(f"The stand-in account does not implement Fn::{name}.")
        try:
            return simple[name](argument)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise TemplateError(f"Template error: Fn::{name} cannot be applied to {argument!r}") from error

    def _sub(self, argument: Any) -> str:
        text, own = (argument[0], argument[1]) if isinstance(argument, list) else (argument, {})

        def substitute(match: re.Match[str]) -> str:
            name = match.group(2).strip()
            if match.group(1):
                return "${" + name + "}"
            if name in own:
                return _text(self.resolve(own[name]))
            resource, dot, attribute = name.partition(".")
            return _text(self.attribute(resource, attribute) if dot else self._ref(name))

        return _SUBSTITUTION.sub(substitute, str(text))
