"""A state machine as a picture: a Mermaid flowchart written from its Amazon States Language.

Runs on a laptop; reads a definition's JSON and returns text, which GitHub and most editors draw. Each state is a box:
what it is, how often it is tried again, how long it may take, and the names under which it can end the execution (its
Fail states, which would otherwise cover the picture with lines). A dashed line is one that an error takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

# The colours of what the states do; the rest is drawn in Mermaid's own.
CLASSES = {
    "Task": "stroke:#1f5fa8",
    "Choice": "stroke:#8a5a00",
    "Pass": "stroke:#55606e",
    "Map": "stroke:#6a3d9a",
    "Succeed": "stroke:#23803f",
}
# Ends a line of text early enough for a box of a readable width.
LINE_CHARACTERS = 44
# What would end a text, or be taken for Mermaid's or HTML's own.
_ESCAPED = str.maketrans({character: f"#{ord(character)};" for character in '#"<>&'})


class DrawnRetry(TypedDict):
    """A retrier of a state."""

    MaxAttempts: int


class DrawnCatch(TypedDict):
    """A catcher of a state."""

    ErrorEquals: list[str]
    Next: str


class DrawnRule(TypedDict, total=False):
    """A rule of a Choice state, in JSONPath or (``Condition``) in JSONata."""

    Next: str
    Condition: str
    Variable: str
    StringEquals: str
    And: list[DrawnRule]
    Or: list[DrawnRule]


class DrawnReader(TypedDict):
    """Where the items of a Distributed Map come from."""

    Resource: str
    ReaderConfig: dict[str, str]


class DrawnProcessor(TypedDict):
    """What a Distributed Map does with its items."""

    ProcessorConfig: dict[str, str]
    States: dict[str, DrawnState]


class DrawnState(TypedDict, total=False):
    """What of a state is drawn."""

    Type: str
    Next: str
    End: bool
    Resource: str
    Parameters: dict[str, object]
    Arguments: dict[str, object]
    TimeoutSeconds: int
    Retry: list[DrawnRetry]
    Catch: list[DrawnCatch]
    Choices: list[DrawnRule]
    Default: str
    ItemReader: DrawnReader
    ItemProcessor: DrawnProcessor


class DrawnMachine(TypedDict):
    """A state machine in Amazon States Language, as far as it is drawn."""

    StartAt: str
    States: dict[str, DrawnState]


@dataclass
class Edge:
    """A line from one state to another, with what has to be so; ``caught`` when an error takes it."""

    source: str
    target: str
    label: str
    caught: bool


def draw(definition: str) -> str:
    """Write a definition as a Mermaid flowchart."""
    machine: DrawnMachine = json.loads(definition)
    shown = {name: state for name, state in machine["States"].items() if state["Type"] != "Fail"}
    lines = ["flowchart TD", f"    start(( )) --> {_identity(machine['StartAt'])}"]
    lines += [f'    {_identity(name)}["{_box(name, state, machine["States"])}"]' for name, state in shown.items()]
    lines += [f"    {_line(edge)}" for edge in _edges(shown)]
    for kind, style in CLASSES.items():
        if members := [_identity(name) for name, state in shown.items() if state["Type"] == kind]:
            lines += [f"    classDef {kind.lower()} {style}", f"    class {','.join(members)} {kind.lower()}"]
    return "\n".join(lines) + "\n"


def page(name: str, definition: str) -> str:
    """Write a Markdown page that shows a definition."""
    return f"# {name}\n\n```mermaid\n{draw(definition)}```\n"


def _box(name: str, state: DrawnState, states: dict[str, DrawnState]) -> str:
    lines = [*_facts(state)]
    if state.get("End"):
        lines.append("ends the execution")
    lines += _wrapped("fails as: ", [t for t in dict.fromkeys(_failures(state)) if states[t]["Type"] == "Fail"])
    return "<br>".join([f"<b>{_escaped(name)}</b>", *(_escaped(line) for line in lines)])


def _failures(state: DrawnState) -> Iterator[str]:
    return (target for target, _, _ in _targets(state))


def _facts(state: DrawnState) -> Iterator[str]:
    """What the state does, in a few lines."""
    if state["Type"] == "Task":
        given = state.get("Parameters") or state.get("Arguments") or {}
        called = str(given.get("FunctionName", "")).removeprefix("${").removesuffix("Arn}")
        service = ":".join(state["Resource"].split(":")[-2:])
        yield f"{service} {called}".strip()
        yield from _limits(state)
    elif state["Type"] == "Map":
        reader = state["ItemReader"]
        kind = reader.get("ReaderConfig", {}).get("InputType", "")
        yield f"Distributed Map over {reader['Resource'].rpartition(':')[2]} {kind}".strip()
        processor = state["ItemProcessor"]
        children = processor["ProcessorConfig"]["ExecutionType"].title()
        for name, inner in processor["States"].items():
            yield f"each batch ({children}): {name}"
            yield from _limits(inner)
    else:
        yield state["Type"]


def _limits(state: DrawnState) -> Iterator[str]:
    tries = max((retry["MaxAttempts"] for retry in state.get("Retry", [])), default=0)
    if tries:
        yield f"{tries} more attempts, full jitter; {state['TimeoutSeconds']} s each"


def _wrapped(start: str, words: list[str]) -> Iterator[str]:
    """Words in lines that are not too long."""
    line = start
    for index, word in enumerate(words):
        piece = word + (", " if index < len(words) - 1 else "")
        if len(line) + len(piece.rstrip()) > LINE_CHARACTERS:
            yield line.rstrip()
            line = ""
        line += piece
    if words:
        yield line


def _targets(state: DrawnState) -> Iterator[tuple[str, str, bool]]:
    """Where a state leads: target, what has to be so, and whether an error has to be caught."""
    if "Next" in state:
        yield state["Next"], "", False
    for rule in state.get("Choices", []):
        yield rule["Next"], _condition(rule), False
    if "Default" in state:
        yield state["Default"], "otherwise", False
    for catch in state.get("Catch", []):
        yield catch["Next"], ", ".join(catch["ErrorEquals"]), True


def _condition(rule: DrawnRule) -> str:
    if "Condition" in rule:
        return str(rule["Condition"]).strip("{}% ").rpartition("Input.")[2]
    parts = [_condition(part) for part in rule.get("And", [])] + [" or ".join(map(_condition, rule.get("Or", [])))]
    if "StringEquals" in rule:
        parts.append(f"{rule['Variable'].rpartition('.')[2]} = {rule['StringEquals']}")
    return " and ".join(part for part in parts if part)


def _edges(shown: dict[str, DrawnState]) -> Iterator[Edge]:
    """Lines between boxes; several from one state to another become one line with all their labels."""
    found: dict[tuple[str, str], Edge] = {}
    for name, state in shown.items():
        for target, label, caught in _targets(state):
            if target not in shown:
                continue
            known = found.setdefault((name, target), Edge(name, target, label, caught))
            if label and label not in known.label:
                known.label += f", {label}"
    yield from found.values()


def _line(edge: Edge) -> str:
    arrow = "-.->" if edge.caught else "-->"
    label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
    return f"{_identity(edge.source)} {arrow}{label} {_identity(edge.target)}"


def _identity(name: str) -> str:
    """A state's name as Mermaid takes it; a state may be called with blanks, or ``end``."""
    return "end_" if name == "end" else re.sub(r"\W", "_", name)


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED)
