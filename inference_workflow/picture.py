"""A state machine as a picture: SVG drawn from its Amazon States Language, without any other program.

Runs on a laptop; reads a definition's JSON and returns text. Each state is a card: what it is, how often it is tried
again, how long it may take, and in red the names under which it can end the execution (its Fail states, which would
otherwise cover the picture with lines). States stand in layers, each below everything that leads to it; a line that
passes layers bends around what stands there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

CARD_WIDTH, LINE_HEIGHT, PADDING = 268, 17, 12
GAP_X, GAP_Y, MARGIN = 36, 62, 28
BEND_WIDTH = 30
LETTER_WIDTH = 6.3  # of the 12 pixel sans-serif font, a little too wide rather than too narrow
COLORS = {"Task": "#1f5fa8", "Choice": "#8a5a00", "Pass": "#55606e", "Map": "#6a3d9a", "Succeed": "#23803f"}
SWEEPS = 8
State = dict[str, Any]


@dataclass
class Node:
    """A state's card, or (without lines) the place where a line passes a layer."""

    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    color: str = ""
    layer: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return CARD_WIDTH if self.lines else BEND_WIDTH

    @property
    def height(self) -> float:
        return len(self.lines) * LINE_HEIGHT + 2 * PADDING if self.lines else 0.0


@dataclass
class Edge:
    """A transition; ``path`` names the nodes that its line passes."""

    source: str
    target: str
    label: str
    caught: bool
    path: list[str] = field(default_factory=list)


def draw(name: str, definition: str) -> str:
    """The definition as SVG."""
    machine = json.loads(definition)
    states: dict[str, State] = machine["States"]
    nodes = {key: _card(key, state, states) for key, state in states.items() if state["Type"] != "Fail"}
    edges = list(_edges(states))
    _assign_layers(nodes, edges, machine["StartAt"])
    layers = _layers(nodes, edges)
    _order(layers, edges)
    _place(layers)
    return _svg(name, machine.get("Comment", ""), nodes, edges, layers)


def _card(name: str, state: State, states: dict[str, State]) -> Node:
    lines = [("title", name), *[("text", text) for text in _facts(state)]]
    if state.get("End"):
        lines.append(("end", "ends the execution"))
    fails = dict.fromkeys(t for t, _, _ in _targets(state) if states[t]["Type"] == "Fail")
    lines += [("fail", text) for text in _wrapped("fails as: ", list(fails))]
    return Node(name, lines, COLORS.get(state["Type"], "#333"))


def _facts(state: State) -> Iterator[str]:
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


def _limits(state: State) -> Iterator[str]:
    tries = max((retry["MaxAttempts"] for retry in state.get("Retry", [])), default=0)
    if tries:
        yield f"{tries} more attempts, full jitter; {state['TimeoutSeconds']} s each"


def _wrapped(start: str, words: list[str]) -> Iterator[str]:
    """Words in lines that fit the card."""
    letters = int((CARD_WIDTH - 2 * PADDING) / LETTER_WIDTH)
    line = start
    for index, word in enumerate(words):
        piece = word + (", " if index < len(words) - 1 else "")
        if len(line) + len(piece.rstrip()) > letters:
            yield line.rstrip()
            line = ""
        line += piece
    if words:
        yield line


def _targets(state: State) -> Iterator[tuple[str, str, bool]]:
    """Where a state leads: target, what has to be so, and whether an error has to be caught."""
    if "Next" in state:
        yield state["Next"], "", False
    for rule in state.get("Choices", []):
        yield rule["Next"], _condition(rule), False
    if "Default" in state:
        yield state["Default"], "otherwise", False
    for catch in state.get("Catch", []):
        yield catch["Next"], ", ".join(catch["ErrorEquals"]), True


def _condition(rule: dict[str, Any]) -> str:
    if "Condition" in rule:
        return str(rule["Condition"]).strip("{}% ").rpartition("Input.")[2]
    parts = [_condition(part) for part in rule.get("And", [])] + [" or ".join(map(_condition, rule.get("Or", [])))]
    if "StringEquals" in rule:
        parts.append(f"{rule['Variable'].rpartition('.')[2]} = {rule['StringEquals']}")
    return " and ".join(part for part in parts if part)


def _edges(states: dict[str, State]) -> Iterator[Edge]:
    """Transitions between cards; several from one state to another become one line with all their labels."""
    found: dict[tuple[str, str], Edge] = {}
    for name, state in states.items():
        for target, label, caught in _targets(state) if state["Type"] != "Fail" else ():
            if states[target]["Type"] == "Fail":
                continue
            known = found.setdefault((name, target), Edge(name, target, label, caught))
            if label and label not in known.label:
                known.label += f", {label}"
    yield from found.values()


def _assign_layers(nodes: dict[str, Node], edges: list[Edge], start: str) -> None:
    """Each state one layer below the lowest that leads to it; a way back to an earlier state moves nothing."""
    after: dict[str, list[str]] = {}
    for edge in edges:
        after.setdefault(edge.source, []).append(edge.target)

    def descend(name: str, above: tuple[str, ...]) -> None:
        for target in after.get(name, []):
            if target not in above and nodes[target].layer <= nodes[name].layer:
                nodes[target].layer = nodes[name].layer + 1
                descend(target, (*above, target))

    descend(start, (start,))


def _layers(nodes: dict[str, Node], edges: list[Edge]) -> list[list[Node]]:
    """The nodes by layer, with a bend wherever a line passes one."""
    layers: list[list[Node]] = [[] for _ in range(1 + max(node.layer for node in nodes.values()))]
    for node in nodes.values():
        layers[node.layer].append(node)
    for edge in edges:
        first, last = nodes[edge.source].layer, nodes[edge.target].layer
        edge.path = [edge.source]
        for layer in range(first + 1, last):
            bend = Node(f"{edge.source}>{edge.target}@{layer}", layer=layer)
            layers[layer].append(bend)
            edge.path.append(bend.name)
        edge.path.append(edge.target)
    return layers


def _order(layers: list[list[Node]], edges: list[Edge]) -> None:
    """Fewer crossings: every node near the middle of what leads to it, then of what it leads to, some times over."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for edge in edges:
        for upper, lower in zip(edge.path, edge.path[1:], strict=False):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        place = {n.name: (i + 0.5) / len(layer) for layer in layers for i, n in enumerate(layer)}
        for layer in layers:
            middles = {n.name: [place[name] for name in neighbours.get(n.name, [n.name])] for n in layer}
            layer.sort(key=lambda node: sum(middles[node.name]) / len(middles[node.name]))


def _place(layers: list[list[Node]]) -> None:
    """Coordinates: layers below each other, each centred."""
    widths = [sum(node.width for node in layer) + GAP_X * (len(layer) - 1) for layer in layers]
    y = MARGIN + 46.0
    for layer, width in zip(layers, widths, strict=True):
        x = MARGIN + (max(widths) - width) / 2
        for node in layer:
            node.x, node.y = x, y
            x += node.width + GAP_X
        y += max(node.height for node in layer) + GAP_Y


def _svg(name: str, comment: str, nodes: dict[str, Node], edges: list[Edge], layers: list[list[Node]]) -> str:
    every = {node.name: node for layer in layers for node in layer}
    width = max(node.x + node.width for node in every.values()) + MARGIN
    height = max(node.y + node.height for node in every.values()) + MARGIN
    width = max(width, MARGIN * 2 + len(comment) * LETTER_WIDTH)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        _text(MARGIN, MARGIN + 6, name, 'font-size="17" font-weight="bold"'),
        _text(MARGIN, MARGIN + 25, comment, 'fill="#556"'),
    ]
    parts += [_line(edge, every) for edge in edges]
    parts += _labels(edges, every)
    for node in nodes.values():
        parts += _drawn(node)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(edge: Edge, every: dict[str, Node]) -> str:
    stops = [every[name] for name in edge.path]
    points = [(node.x + node.width / 2, node.y) for node in stops]
    x, y = points[0][0], stops[0].y + stops[0].height
    way = f"M{x:.0f} {y:.0f}"
    for node, (next_x, next_y) in zip(stops[1:], points[1:], strict=True):
        middle = (y + next_y) / 2
        way += f"C{x:.0f} {middle:.0f} {next_x:.0f} {middle:.0f} {next_x:.0f} {next_y:.0f}"
        x, y = next_x, next_y + node.height
    dashes = ' stroke-dasharray="5 4"' if edge.caught else ""
    color = "#b3261e" if edge.caught else "#667"
    return f'<path d="{way}" fill="none" stroke="{color}" stroke-width="1.3"{dashes} marker-end="url(#tip)"/>'


def _labels(edges: list[Edge], every: dict[str, Node]) -> Iterator[str]:
    """What has to be so for a transition, on its line; once above the target where several lines say the same."""
    groups: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        if edge.label:
            groups.setdefault((edge.target, edge.label), []).append(edge)
    for (target, label), group in groups.items():
        to_x, to_y = every[target].x + every[target].width / 2, every[target].y
        x, y = to_x, to_y - GAP_Y / 4
        if len(group) == 1:
            source, following = (every[name] for name in group[0].path[:2])
            x = (source.x + source.width / 2 + following.x + following.width / 2) / 2
            y = (source.y + source.height + following.y) / 2 + 4
        half = len(label) * LETTER_WIDTH / 2 + 3
        color = "#b3261e" if group[0].caught else "#556"
        yield f'<rect x="{x - half:.0f}" y="{y - 11:.0f}" width="{2 * half:.0f}" height="15" fill="#fff"/>'
        yield _text(x, y, label, f'text-anchor="middle" font-size="11" fill="{color}"')


def _drawn(node: Node) -> Iterator[str]:
    yield (
        f'<rect x="{node.x:.0f}" y="{node.y:.0f}" width="{node.width:.0f}" height="{node.height:.0f}" rx="6" '
        f'fill="#fbfcfe" stroke="{node.color}" stroke-width="1.5"/>'
    )
    looks = {
        "title": f'font-weight="bold" font-size="13" fill="{node.color}"',
        "text": 'fill="#334"',
        "end": 'fill="#23803f"',
        "fail": 'fill="#b3261e"',
    }
    for index, (kind, text) in enumerate(node.lines):
        yield _text(node.x + PADDING, node.y + PADDING + 12 + index * LINE_HEIGHT, text, looks[kind])


def _text(x: float, y: float, text: str, look: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {look}>{escape(text)}</text>'
