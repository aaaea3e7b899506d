"""A definition as moto's interpreter wants it: parsed once, with each JSONata expression's place noted on it.

Runs in the server process. Programs are shared by all executions of a definition; evaluation keeps nothing in them.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from local_account.stepfunctions_definition import states_of
from local_account.stepfunctions_queries import expressions


@lru_cache(maxsize=256)
def program_of(definition: str) -> Any:
    """The parsed definition; parsing takes tens of milliseconds."""
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

    program = AmazonStateLanguageParser.parse(definition)[0]
    _note_places(program, dict(states_of(json.loads(definition))))
    return program


def _note_places(program: Any, states: dict[str, dict[str, Any]]) -> None:
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
            places = {expression: path for path, expression in expressions(states[component.name])}
        if isinstance(component, StringJSONata):
            component.location = places.get(component.expression)
        if isinstance(component, dict):
            waiting += [(item, places) for item in component.values()]
        elif isinstance(component, list | tuple):
            waiting += [(item, places) for item in component]
        elif type(component).__module__.startswith("moto.stepfunctions.parser.asl.component"):
            waiting += [(item, places) for item in getattr(component, "__dict__", {}).values()]
