"""A definition as moto's interpreter wants it: parsed once, with each JSONata expression's place noted on it.

Runs in the server process. Programs are shared by all executions of a definition; evaluation keeps nothing in them.
A Distributed Map reaches moto's parser as an inline one without items; what it is goes on the parsed state.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from local_account.stepfunctions.language.definition import is_distributed
from local_account.stepfunctions.language.queries import expressions, language_of

# What of a Distributed Map moto's interpreter evaluates, as of any other state.
COMMON = {"Type", "Comment", "QueryLanguage", "InputPath", "OutputPath", "ResultPath", "ResultSelector", "Output"}
COMMON |= {"Assign", "Retry", "Catch", "Next", "End"}
INERT = {"StartAt": "Nothing", "States": {"Nothing": {"Type": "Pass", "End": True}}}


@dataclass(frozen=True)
class Distributed:
    """A Distributed Map state, and the definition of its children."""

    state: dict[str, Any]
    language: str
    definition: str

    @property
    def kind(self) -> str:
        return str(self.state["ItemProcessor"]["ProcessorConfig"].get("ExecutionType", "STANDARD"))


@dataclass
class _Once:
    """A program that the first who asks for it parses, while others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    program: Any = None


@lru_cache(maxsize=256)
def _once(_definition: str) -> _Once:
    return _Once()


def program_of(definition: str) -> Any:
    """The parsed definition; parsing takes tens of milliseconds."""
    once = _once(definition)
    with once.lock:
        if once.program is None:
            once.program = _parsed(definition)
        return once.program


def _parsed(definition: str) -> Any:
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

    machine = json.loads(definition)
    states: dict[str, dict[str, Any]] = {}
    maps: dict[str, Distributed] = {}
    language = str(machine.get("QueryLanguage", "JSONPath"))
    inline = _without_maps(machine, language, states, maps)
    program = AmazonStateLanguageParser.parse(json.dumps(inline) if maps else definition)[0]
    note_places(program, states, maps)
    for found in maps.values():
        program_of(found.definition)  # what is wrong with it is found now
    return program


def _without_maps(
    machine: dict[str, Any], language: str, states: dict[str, dict[str, Any]], maps: dict[str, Distributed]
) -> dict[str, Any]:
    """The machine without its Distributed Maps; gathers the states and those Maps by name."""
    changed = {}
    for name, state in machine["States"].items():
        states[name] = state
        own = language_of(state, language)
        if is_distributed(state):
            processor = {k: v for k, v in state["ItemProcessor"].items() if k in {"StartAt", "States", "Comment"}}
            maps[name] = Distributed(state, own, json.dumps({"QueryLanguage": own, **processor}))
            kept = {key: value for key, value in state.items() if key in COMMON}
            changed[name] = {**kept, "ItemProcessor": INERT}
            continue
        inner = {k: _without_maps(state[k], own, states, maps) for k in ("ItemProcessor", "Iterator") if k in state}
        if "Branches" in state:
            inner["Branches"] = [_without_maps(branch, own, states, maps) for branch in state["Branches"]]  # type: ignore[assignment]
        changed[name] = {**state, **inner}
    return {**machine, "States": changed}


def note_places(program: Any, states: dict[str, dict[str, Any]], maps: dict[str, Distributed]) -> None:
    """Tell each expression which field it stands in, and each Distributed Map what it is."""
    from moto.stepfunctions.parser.asl.component.common.string.string_expression import StringJSONata
    from moto.stepfunctions.parser.asl.component.state.state import CommonStateField

    seen: set[int] = set()
    waiting: list[tuple[Any, dict[str, str]]] = [(program, {})]
    while waiting:
        component, places = waiting.pop()
        if id(component) in seen:
            continue
        seen.add(id(component))
        if isinstance(component, CommonStateField):
            places = {expression: path for path, expression in expressions(states.get(component.name, {}))}
            component.distributed = maps.get(component.name)
        if isinstance(component, StringJSONata):
            component.location = places.get(component.expression)
        if isinstance(component, dict):
            waiting += [(item, places) for item in component.values()]
        elif isinstance(component, list | tuple):
            waiting += [(item, places) for item in component]
        elif type(component).__module__.startswith("moto.stepfunctions.parser.asl.component"):
            waiting += [(item, places) for item in getattr(component, "__dict__", {}).values()]
