"""A pipeline's definition as a graph: which step waits for which, in columns from left to right.

Runs in the console's process. Values in, values out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

_NAMED = re.compile(r"Steps\.([A-Za-z0-9-]+)")


class StepDefinition(msgspec.Struct, frozen=True, rename="pascal"):
    """A step as the definition has it."""

    name: str
    type: str = ""
    arguments: dict[str, object] = {}
    depends_on: list[str] = []


class PipelineDefinition(msgspec.Struct, frozen=True, rename="pascal"):
    """A definition, as far as the graph needs it."""

    steps: list[dict[str, object]] = []
    parameters: list[dict[str, object]] = []


@dataclass(frozen=True)
class GraphStep:
    """A step, the column that it stands in, and what it waits for."""

    name: str
    kind: str
    column: int
    after: tuple[str, ...]


def steps_of(definition: str) -> list[GraphStep]:
    """Every step of a definition, also those behind conditions."""
    found: dict[str, GraphStep] = {}
    for name, kind, after in _walk(msgspec.json.decode(definition, type=PipelineDefinition).steps, ()):
        known = tuple(each for each in after if each in found)
        column = 1 + max((found[each].column for each in known), default=-1)
        found[name] = GraphStep(name, kind, column, known)
    return list(found.values())


def _walk(steps: list[dict[str, object]], behind: tuple[str, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, kind and what it waits for; what stands behind a condition waits for the condition."""
    found = []
    for raw in steps:
        step = msgspec.convert(raw, StepDefinition)
        branches = [step.arguments.pop(name, []) for name in ("IfSteps", "ElseSteps")]
        named = dict.fromkeys([*behind, *step.depends_on, *_NAMED.findall(json.dumps(step.arguments))])
        named.pop(step.name, None)
        found.append((step.name, step.type, tuple(named)))
        for branch in branches:
            if isinstance(branch, list):
                found += _walk(branch, (step.name,))
    return found


def direct(steps: Sequence[GraphStep]) -> list[tuple[str, str]]:
    """The pairs (before, after) that follow from no others."""
    reached: dict[str, set[str]] = {}
    for step in steps:
        reached[step.name] = set(step.after).union(*(reached[each] for each in step.after))
    pairs = []
    for step in steps:
        implied = set[str]().union(*(reached[each] for each in step.after))
        pairs += [(before, step.name) for before in step.after if before not in implied]
    return pairs


def default_parameters(definition: str) -> dict[str, str]:
    """The parameters that have a default, with it."""
    found = msgspec.json.decode(definition, type=PipelineDefinition).parameters
    return {str(p["Name"]): str(p.get("DefaultValue", "")) for p in found}
