"""The transforms of a template, one after the other: those of its parts, the innermost first, then those of all of it.

Runs in the server process, while a request is answered; a transform that fails has the stack, or the change set, fail.
A macro's function cannot call CloudFormation, which waits for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from local_account.cloudformation.language.errors import InvalidTemplateError
from local_account.cloudformation.language.parameters import is_list, parameter_values
from local_account.cloudformation.records import TemplateDocument
from local_account.cloudformation.template import read_template
from local_account.cloudformation.transforms.loops import LanguageExtensions
from local_account.cloudformation.transforms.macros import Macros, Section, TransformCall, as_section
from local_account.cloudformation.transforms.serverless import SERVERLESS, translated
from local_account.protocol.records import view

_PART, _WHOLE = "Fn::Transform", "Transform"
_INCLUDE, _EXTENSIONS = "AWS::Include", "AWS::LanguageExtensions"
_NAME = re.compile(r"\$\{(?P<literal>!?)(?P<name>[^}]+)\}")
_OF_AWS = {_INCLUDE, _EXTENSIONS, SERVERLESS}


def transforms_of(body: str) -> list[str]:
    """The names of the transforms that a template asks for.

    Raises InvalidTemplateError for a name that is no text, and for a transform of AWS that there is not here.
    """
    if _WHOLE not in body:
        return []
    document = read_template(body)
    names = [name for name, _ in [*map(_named, _parts(document)), *map(_named, _whole(document))]]
    if unknown := [name for name in names if name.startswith("AWS::") and name not in _OF_AWS]:
        raise InvalidTemplateError(f"The stand-in account does not implement Transform ({unknown[0]}).")
    return names


def transformed(macros: Macros, body: str, given: Mapping[str, str]) -> str:
    """The template that the transforms make of one; the same text where it asks for none.

    Raises TransformError for a transform that is not there, and for one that fails.
    """
    if not transforms_of(body):
        return body
    document = read_template(body)
    values = _values(document, given)
    asked = list(_whole(document))
    document.pop(_WHOLE, None)
    document = as_section(_in_parts(macros, document, values))
    for each in asked:
        name, parameters = _named(each)
        document = as_section(_applied(macros, TransformCall(name, parameters, document), values))
        document.pop(_WHOLE, None)
    return json.dumps(document)


def _values(document: Section, given: Mapping[str, str]) -> dict[str, object]:
    template = view(TemplateDocument, document)
    declared = template.get("Parameters") or {}
    return {
        name: [item.strip() for item in value.split(",")] if is_list(declared[name]) else value
        for name, value in parameter_values(template, given).items()
    }


def _whole(document: Section) -> Iterator[object]:
    yield from _listed(document.get(_WHOLE, []))


def _listed(asked: object) -> list[object]:
    """One transform, or several that are applied one after the other."""
    return asked if isinstance(asked, list) else [asked]


def _parts(value: object) -> Iterator[object]:
    for item in value if isinstance(value, list) else value.values() if isinstance(value, Mapping) else ():
        yield from _parts(item)
    if isinstance(value, Mapping) and _PART in value:
        yield from _listed(value[_PART])


def _named(asked: object) -> tuple[str, Mapping[str, object]]:
    if isinstance(asked, str):
        return asked, {}
    name = asked.get("Name") if isinstance(asked, Mapping) else None
    if not isinstance(asked, Mapping) or not isinstance(name, str):
        raise InvalidTemplateError("Key Name of transform definition must be a string.")
    parameters = asked.get("Parameters") or {}
    return name, parameters if isinstance(parameters, Mapping) else {}


def _in_parts(macros: Macros, value: object, values: Mapping[str, object]) -> object:
    if isinstance(value, list):
        return [_in_parts(macros, item, values) for item in value]
    if not isinstance(value, Mapping):
        return value
    done: Section = {key: _in_parts(macros, item, values) for key, item in value.items() if key != _PART}
    made: object = done
    for each in _listed(value.get(_PART, [])):
        name, parameters = _named(each)
        made = _applied(macros, TransformCall(name, parameters, as_section(made)), values)
    return made


def _applied(macros: Macros, call: TransformCall, values: Mapping[str, object]) -> object:
    pseudo = {"AWS::Region": macros.account.region, "AWS::AccountId": macros.account.account_id}
    parameters = {key: known_value(item, {**pseudo, **values}) for key, item in call.parameters.items()}
    if call.name == _INCLUDE:
        return {**call.fragment, **macros.included(parameters.get("Location"))}
    if call.name == _EXTENSIONS:
        mappings = call.fragment.get("Mappings")
        known = mappings if isinstance(mappings, Mapping) else {}
        return LanguageExtensions({**pseudo, **values}, known).extended(call.fragment)
    if call.name == SERVERLESS:
        return translated(call.fragment, {**pseudo, **values}, macros.account.region)
    return macros.apply(TransformCall(call.name, parameters, call.fragment), values)


def known_value(value: object, values: Mapping[str, object]) -> object:
    """A parameter of a transform, with what ``Ref``, ``Fn::Sub`` and ``Fn::Join`` come to before the stack is made."""
    if isinstance(value, list):
        return [known_value(item, values) for item in value]
    if not isinstance(value, Mapping):
        return value
    return _come_to({key: known_value(item, values) for key, item in value.items()}, values)


def _come_to(value: Section, values: Mapping[str, object]) -> object:
    """The value of a function; what is none, or asks for what is not known yet, as it is."""
    match value:
        case {"Ref": str() as name, **rest} if not rest:
            return values.get(name, value)
        case {"Fn::Sub": str() as text}:
            return _substituted(text, values) or value
        case {"Fn::Sub": [str() as text, dict() as own]}:
            return _substituted(text, {**values, **own}) or value
        case {"Fn::Join": [str() as between, list() as items]} if all(isinstance(item, str) for item in items):
            return between.join(map(str, items))
    return value


def _substituted(text: str, values: Mapping[str, object]) -> str:
    """The text with its ``${names}`` replaced; empty where one is not known."""
    names = [match["name"] for match in _NAME.finditer(text) if not match["literal"]]
    if any(not isinstance(values.get(name), str) for name in names):
        return ""
    return _NAME.sub(lambda match: f"${{{match['name']}}}" if match["literal"] else str(values[match["name"]]), text)
