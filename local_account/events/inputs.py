"""What a target receives: the event, a part of it, a constant, or a template filled from it.

Runs in the server process; follows EventBridge's input transformation
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from local_account.base.arns import last_part
from local_account.events.documents import EventTarget

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\['([^']+)'\]|\[\"([^\"]+)\"\]|\[(\d+)\]")
_VARIABLE = re.compile(r"<([\w.-]+)>")


def at_path(event: object, path: str) -> object:
    """The value at a JSON path of names and indices, None where the event has none."""
    position = 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            return None
        position = step.end()
        name = step[1] or step[2] or step[3]
        if name is not None and isinstance(event, dict):
            event = event.get(name)
        elif step[4] is not None and isinstance(event, list) and int(step[4]) < len(event):
            event = event[int(step[4])]
        else:
            return None
    return event


def target_input(target: EventTarget, event: Mapping[str, object], rule_arn: str) -> str:
    """The payload for one target of a rule."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(at_path(event, target["InputPath"]))
    if "InputTransformer" in target:
        transformer = target["InputTransformer"]
        values: dict[str, object] = {
            name: at_path(event, path) for name, path in transformer.get("InputPathsMap", {}).items()
        }
        values |= {
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": last_part(rule_arn),
            "aws.events.event.ingestion-time": event["time"],
            "aws.events.event": {_member(key): value for key, value in event.items() if key != "detail"},
            "aws.events.event.json": event,
        }
        return fill(transformer["InputTemplate"], values)
    return json.dumps(event)


def _member(name: str) -> str:
    """How the transformer calls a member of the event: it has no dashes."""
    return "detailType" if name == "detail-type" else name


def fill(template: str, values: Mapping[str, object]) -> str:
    """Put values into ``<name>``: as JSON outside quotes, as text inside them; unknown names stay as they are."""
    parts: list[str] = []
    position, quoted = 0, False
    for found in _VARIABLE.finditer(template):
        between = template[position : found.start()]
        quoted ^= len(re.findall(r'(?<!\\)"', between)) % 2 == 1
        parts.append(between)
        parts.append(_written(values[found[1]], quoted) if found[1] in values else found[0])
        position = found.end()
    return "".join([*parts, template[position:]])


def _written(value: object, quoted: bool) -> str:
    if not quoted:
        return json.dumps("" if value is None else value, separators=(",", ":"), ensure_ascii=False)
    if value is None:
        return ""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)[1:-1]
    # An object in quotes loses its own, so that the whole stays one text.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace('"', "")
