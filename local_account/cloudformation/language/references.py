"""What a template refers to: resources, parameters and conditions, and whether they are there.

Runs in the server process. AWS refuses what leads nowhere when it is called; the wording is AWS's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from local_account.cloudformation.language.arguments import check_arguments, sub_arguments
from local_account.cloudformation.language.errors import InvalidTemplateError, format_error, template_error
from local_account.cloudformation.records import DeclaredResource, TemplateDocument

_PSEUDO = re.compile(r"AWS::(AccountId|NoValue|NotificationARNs|Partition|Region|StackId|StackName|URLSuffix)")
SUBSTITUTION = re.compile(r"\$\{(!?)([^}]*)\}")


class TemplateReference(NamedTuple):
    """One reference of an expression: ``kind`` is Ref, GetAtt (with its ``attribute``) or Condition."""

    kind: str
    name: str
    attribute: str = ""
    path: str = ""


def references(value: object, path: str = "") -> Iterator[TemplateReference]:
    """Everything that an expression refers to; ``path`` is where it stands in the template."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, f"{path}/{index}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _of_member(str(key), item, f"{path}/{key}")


def _of_member(key: str, item: object, path: str) -> Iterator[TemplateReference]:
    if key == "Ref" and isinstance(item, str):
        yield TemplateReference("Ref", item, path=path)
    elif key == "Condition" and isinstance(item, str):
        yield TemplateReference("Condition", item, path=path)
    elif key == "Fn::GetAtt":
        yield from _of_attribute(item, path)
    elif key == "Fn::Sub":
        yield from _of_text(item, path)
    elif key == "Fn::If" and isinstance(item, list) and item:
        yield TemplateReference("If", str(item[0]), path=path)
        yield from references(item[1:], path)
    else:
        yield from references(item, path)


def _of_attribute(item: object, path: str) -> Iterator[TemplateReference]:
    logical, attribute = attribute_arguments(item)
    yield TemplateReference("GetAtt", logical, attribute if isinstance(attribute, str) else "", path)
    yield from references(attribute, path)


def _of_text(item: object, path: str) -> Iterator[TemplateReference]:
    text, own = sub_arguments(item)
    for literal, name in SUBSTITUTION.findall(text):
        named = name.strip()
        if literal or named in own:
            continue
        logical, dot, attribute = named.partition(".")
        yield (
            TemplateReference("GetAtt", logical, attribute, path)
            if dot
            else TemplateReference("Ref", logical, path=path)
        )
    yield from references(own, path)


def imported_names(value: object) -> Iterator[object]:
    """The names, or the expressions of names, of exports that expressions import."""
    if isinstance(value, list):
        for item in value:
            yield from imported_names(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key == "Fn::ImportValue":
                yield item
            else:
                yield from imported_names(item)


def attribute_arguments(argument: object) -> tuple[str, object]:
    """Resource and attribute of a Fn::GetAtt, which is ``A.B`` or ``[A, B]``; the attribute may be an expression."""
    if isinstance(argument, str):
        logical, _, attribute = argument.partition(".")
        return logical, attribute
    items: list[object] = argument if isinstance(argument, list) else [argument]
    if len(items) > 2 and all(isinstance(item, str) for item in items):
        return str(items[0]), ".".join(map(str, items[1:]))
    return str(items[0]) if items else "", items[1] if len(items) > 1 else ""


def check_references(document: TemplateDocument) -> None:
    """Raises InvalidTemplateError for a function without what it takes, and for what refers to nothing."""
    resources, outputs = document["Resources"], document.get("Outputs") or {}
    conditions = document.get("Conditions") or {}
    known = {*resources, *(document.get("Parameters") or {})}
    for value in (conditions, [r.get("Properties") for r in resources.values()], outputs):
        check_arguments(value)
    _check_conditions(conditions, known - resources.keys())
    for block, expressions in (("Resources", _expressions(resources)), ("Outputs", outputs)):
        found = list(references(expressions, f"/{block}"))
        _check_named(block, found, known, document)
        _check_used_conditions(found, conditions, {**resources, **outputs})
    _check_needed(resources)


def _expressions(resources: Mapping[str, DeclaredResource]) -> dict[str, object]:
    return {name: {"Properties": resource.get("Properties") or {}} for name, resource in resources.items()}


def _check_conditions(conditions: Mapping[str, object], parameters: set[str]) -> None:
    found = [each for name, condition in conditions.items() for each in references(condition, f"/Conditions/{name}")]
    wrong = {e.name for e in found if e.kind in ("Ref", "GetAtt") and e.name not in parameters}
    if wrong := {name for name in wrong if not _PSEUDO.fullmatch(name)}:
        raise format_error(
            f"Unresolved dependencies [{', '.join(sorted(wrong))}]. "
            "Cannot reference resources in the Conditions block of the template"
        )
    for each in found:
        if each.kind in ("Condition", "If") and each.name not in conditions:
            raise format_error(f"Unresolved condition dependency {each.name} in the Conditions block of the template")


def _check_named(block: str, found: list[TemplateReference], known: set[str], document: TemplateDocument) -> None:
    for each in found:
        if each.kind == "GetAtt" and each.name not in document["Resources"]:
            raise template_error(f"instance of Fn::GetAtt references undefined resource {each.name}")
    unresolved = {e.name for e in found if e.kind == "Ref" and e.name not in known and not _PSEUDO.fullmatch(e.name)}
    if unresolved:
        raise _unresolved(sorted(unresolved), block)


def _check_used_conditions(
    found: list[TemplateReference], conditions: Mapping[str, object], holders: Mapping[str, Mapping[str, object]]
) -> None:
    for each in found:
        if each.kind == "If" and each.name not in conditions:
            raise template_error(f"unresolved condition dependency {each.name} in Fn::If")
    for holder in holders.values():
        condition = holder.get("Condition")
        if condition is not None and condition not in conditions:
            named = "Resources" if "Type" in holder else "Outputs"
            raise format_error(f"Unresolved condition dependency {condition} in the {named} block of the template")


def _check_needed(resources: Mapping[str, DeclaredResource]) -> None:
    missing = {each for resource in resources.values() for each in needed(resource)} - resources.keys()
    if missing:
        raise _unresolved(sorted(missing), "Resources")


def _unresolved(names: list[str], block: str) -> InvalidTemplateError:
    return format_error(f"Unresolved resource dependencies [{', '.join(names)}] in the {block} block of the template")


def needed(resource: DeclaredResource) -> list[str]:
    """The resources that one says it depends on."""
    named = resource.get("DependsOn", [])
    return [named] if isinstance(named, str) else list(named)


def creation_order(resources: Mapping[str, DeclaredResource]) -> list[str]:
    """Every resource after those that it depends on.

    Raises InvalidTemplateError for a circle.
    """
    waiting = {name: _dependencies(name, resource) & resources.keys() for name, resource in resources.items()}
    ordered: list[str] = []
    while waiting:
        ready = [name for name, needs in waiting.items() if not needs & waiting.keys()]
        if not ready:
            circle = ", ".join(waiting)
            raise InvalidTemplateError(f"Circular dependency between resources: [{circle}]")
        ordered += ready
        for name in ready:
            del waiting[name]
    return ordered


def _dependencies(name: str, resource: DeclaredResource) -> set[str]:
    named = {each.name for each in references(resource.get("Properties")) if each.kind in ("Ref", "GetAtt")}
    return (named | set(needed(resource))) - {name}
