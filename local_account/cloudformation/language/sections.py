"""How the sections of a template have to look, whatever they say; the wording is AWS's.

Runs in the server process. Source: CloudFormation User Guide, template anatomy; answers of AWS, recorded by others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from local_account.cloudformation.language.errors import InvalidTemplateError, format_error, template_error

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
_OF_RESOURCES = {
    "Condition",
    "CreationPolicy",
    "DeletionPolicy",
    "DependsOn",
    "Description",
    "Metadata",
    "Properties",
    "Type",
    "UpdatePolicy",
    "UpdateReplacePolicy",
    "Version",
}
_POLICIES = {
    "DeletionPolicy": ("Delete", "Retain", "RetainExceptOnCreate", "Snapshot"),
    "UpdateReplacePolicy": ("Delete", "Retain", "Snapshot"),
}
_OF_PARAMETERS = {
    "AllowedPattern",
    "AllowedValues",
    "ConstraintDescription",
    "Default",
    "Description",
    "MaxLength",
    "MaxValue",
    "MinLength",
    "MinValue",
    "NoEcho",
    "Type",
}
_TYPE = re.compile(r"String|Number|CommaDelimitedList|List<(String|Number|AWS::[\w:]+)>|AWS::[\w:]+(<[\w:<>]+>)?")
"""Of parameters (CloudFormation User Guide, supported parameter data types)."""
_NUMBERS = {
    "MaxLength": r"\d+",
    "MaxValue": r"-?\d+(\.\d+)?",
    "MinLength": r"\d+",
    "MinValue": r"-?\d+(\.\d+)?",
}
_NOT_ACTED_ON = ("CreationPolicy", "UpdatePolicy")
Section = Mapping[str, object]


def check_sections(document: Section) -> None:
    """Raises InvalidTemplateError for a document whose sections are not what a template's are."""
    if null := next(_nulls(document, ""), None):
        raise InvalidTemplateError(f"[{null}] 'null' values are not allowed in templates")
    if unknown := sorted(document.keys() - _SECTIONS):
        raise InvalidTemplateError(f"Invalid template property or properties [{', '.join(unknown)}]")
    if document.get("AWSTemplateFormatVersion", "2010-09-09") != "2010-09-09":
        raise format_error("unsupported value for AWSTemplateFormatVersion.")
    if not isinstance(document.get("Description", ""), str):
        raise format_error("Description must be a string.")
    _check_parameters(_section(document, "Parameters"))
    _check_mappings(_section(document, "Mappings"))
    _check_resources(document.get("Resources"))
    _check_outputs(_section(document, "Outputs"))
    _section(document, "Conditions")
    _check_rules(_section(document, "Rules"))


def _nulls(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            # An empty section is as good as none.
            if not (path == "" and item is None):
                yield from _nulls(item, f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nulls(item, f"{path}/{index}")
    elif value is None:
        yield path


def _section(document: Section, name: str) -> Section:
    section = document.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise format_error(f"{name} must be an object.")
    return section


def _check_parameters(parameters: Section) -> None:
    for name, declared in parameters.items():
        if not isinstance(declared, Mapping):
            raise format_error("Any Parameters member must be an object.")
        if not isinstance(declared.get("Type"), str):
            raise format_error("Every Parameters object must contain a Type member.")
        if not _TYPE.fullmatch(declared["Type"]):
            raise format_error(f"Unrecognized parameter type: {declared['Type']}")
        if re.search(r"[^A-Za-z0-9]", name):
            raise format_error(f"Parameter name {name} is non alphanumeric.")
        _check_parameter(declared)


def _check_parameter(declared: Section) -> None:
    if unknown := sorted(declared.keys() - _OF_PARAMETERS):
        raise InvalidTemplateError(f"Invalid template parameter property '{unknown[0]}'")
    allowed = declared.get("AllowedValues", [])
    if not isinstance(allowed, list):
        raise format_error("Every AllowedValues member must be a list.")
    for name in declared.keys() - {"AllowedValues"}:
        if isinstance(declared[name], Mapping | list):
            raise format_error(f"Every {name} member must be a string.")
    if any(isinstance(each, Mapping | list) for each in allowed):
        raise format_error("Every AllowedValues value must be a string.")
    for name, form in _NUMBERS.items():
        if name in declared and not re.fullmatch(form, str(declared[name])):
            raise format_error(f"Every {name} member must be a number.")


def _check_mappings(mappings: Section) -> None:
    for name, mapping in mappings.items():
        if not isinstance(mapping, Mapping):
            raise format_error(f"Every Mappings member {name} must be a map")
        for key, attributes in mapping.items():
            if not isinstance(attributes, Mapping):
                raise format_error(f"Every Mappings member {key} must be a map")
            for value in attributes.values():
                items = value if isinstance(value, list) else [value]
                if any(isinstance(item, Mapping | list) for item in items):
                    raise format_error("Every Mappings attribute must be a String or a List.")


def _check_resources(resources: object) -> None:
    if not isinstance(resources, Mapping) or not resources:
        raise format_error("At least one Resources member must be defined.")
    for name, resource in resources.items():
        if not isinstance(resource, Mapping):
            raise format_error("Any Resources member must be an object.")
        if re.search(r"[^A-Za-z0-9]", name):
            raise format_error(f"Resource name {name} is non alphanumeric.")
        _check_resource(name, resource)


def _check_resource(name: str, resource: Section) -> None:
    if not isinstance(resource.get("Type"), str):
        raise format_error(f"[/Resources/{name}] Every Resources object must contain a Type member.")
    if unknown := sorted(resource.keys() - _OF_RESOURCES):
        raise InvalidTemplateError(f"Invalid template resource property '{unknown[0]}'")
    if not isinstance(resource.get("Properties", {}), Mapping):
        raise format_error(f"[/Resources/{name}/Properties] 'Properties' must be an object.")
    if not isinstance(resource.get("Condition", ""), str):
        raise format_error(f"[/Resources/{name}] Every Condition member must be a string.")
    needed = resource.get("DependsOn", [])
    if not all(isinstance(each, str) for each in (needed if isinstance(needed, list) else [needed])):
        raise format_error(f"[/Resources/{name}] Every DependsOn value must be a string.")
    for policy, values in _POLICIES.items():
        _check_policy(name, resource, policy, values)
    if ignored := [each for each in _NOT_ACTED_ON if each in resource]:
        raise InvalidTemplateError(f"The stand-in account does not implement {ignored[0]} (/Resources/{name}).")


def _check_policy(name: str, resource: Section, policy: str, values: tuple[str, ...]) -> None:
    value = resource.get(policy, values[0])
    if not isinstance(value, str):
        raise format_error(f"Every {policy} member must be a string.")
    if value not in values:
        raise template_error(f"Unrecognized {policy} {value} for resource {name}")
    if value == "Snapshot":
        raise template_error(f"resource type {resource['Type']} does not support deletion policy Snapshot")


def _check_outputs(outputs: Section) -> None:
    for name, output in outputs.items():
        if not isinstance(output, Mapping) or "Value" not in output:
            raise format_error("Every Outputs member must contain a Value object")
        if unknown := sorted(output.keys() - {"Condition", "Description", "Export", "Value"}):
            raise format_error(f"Invalid outputs property : {unknown}".replace("'", ""))
        if re.search(r"[^A-Za-z0-9]", name):
            raise format_error(f"Output name {name} is non alphanumeric.")
        export = output.get("Export", {"Name": ""})
        if not isinstance(export, Mapping) or "Name" not in export:
            raise format_error(f"Output {name} is malformed. The Name field of every Export member must be specified.")


def _check_rules(rules: Section) -> None:
    for name, rule in rules.items():
        assertions = rule.get("Assertions") if isinstance(rule, Mapping) else None
        if not isinstance(assertions, list) or not all(isinstance(a, Mapping) and "Assert" in a for a in assertions):
            raise format_error(f"Rule {name} must have a list of Assertions, each with an Assert.")
