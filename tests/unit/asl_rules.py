"""Amazon States Language's rules for a definition's structure, read from https://states-language.net and AWS's guide.

Written apart from the stand-in account's own checks, so that a definition is looked at twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

COMMON = {"Type", "Comment", "QueryLanguage"}
TRANSITION = {"Next", "End"}
JSONPATH = {"InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector"}
JSONATA = {"Arguments", "Output", "Assign"}
FIELDS: dict[str, set[str]] = {
    "Task": COMMON | TRANSITION | {"Resource", "TimeoutSeconds", "HeartbeatSeconds", "Retry", "Catch", "Credentials"},
    "Pass": COMMON | TRANSITION | {"Result"},
    "Choice": COMMON | {"Choices", "Default"},
    "Fail": COMMON | {"Error", "Cause", "ErrorPath", "CausePath"},
    "Succeed": COMMON,
    "Map": COMMON
    | TRANSITION
    | {"ItemProcessor", "ItemReader", "ItemBatcher", "ItemSelector", "ItemsPath", "ResultWriter", "Label"}
    | {"MaxConcurrency", "MaxConcurrencyPath", "ToleratedFailurePercentage", "ToleratedFailurePercentagePath"}
    | {"Retry", "Catch"},
}
PATHS = {"ErrorPath", "CausePath", "ItemsPath", "MaxConcurrencyPath", "ToleratedFailurePercentagePath"}
RETRY = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"}
MAX_DELAY_LIMIT_S = 31_622_400
READERS: dict[str, set[str | None]] = {
    "listObjectsV2": {None},
    "getObject": {"CSV", "JSON", "JSONL", "MANIFEST", "PARQUET"},
}


def problems(text: str, express: bool = False) -> list[str]:
    """Everything that the definition does against the rules."""
    machine = json.loads(text)
    names = list(_names(machine))
    found = [f"two states are called {name}" for name in {n for n in names if names.count(n) > 1}]
    if len(text.encode()) > 1_048_576:
        found.append("the definition is larger than 1 MiB")
    found += _machine(machine, machine.get("QueryLanguage", "JSONPath"), "top")
    if express and ("waitForTaskToken" in text or ".sync" in text or '"DISTRIBUTED"' in text):
        found.append("an Express workflow neither waits for others nor distributes")
    return found


def _names(machine: dict[str, Any]) -> Iterator[str]:
    for name, state in machine["States"].items():
        yield name
        if state["Type"] == "Map":
            yield from _names(state["ItemProcessor"])


def _machine(machine: dict[str, Any], language: str, where: str) -> Iterator[str]:
    states = machine["States"]
    if machine.get("StartAt") not in states:
        yield f"{where}: StartAt leads nowhere"
    targets = {machine.get("StartAt")} | {target for state in states.values() for target in _targets(state)}
    yield from (f"{where}: {target} is no state" for target in targets - states.keys())
    yield from (f"{where}: nothing leads to {name}" for name in states.keys() - targets)
    for name, state in states.items():
        if len(name) > 80:
            yield f"{name}: the name is longer than 80 characters"
        yield from (f"{name}: {problem}" for problem in _state(state, language))


def _targets(state: dict[str, Any]) -> Iterator[str]:
    yield from (state[field] for field in ("Next", "Default") if field in state)
    yield from (rule["Next"] for field in ("Choices", "Catch") for rule in state.get(field, []))


def _state(state: dict[str, Any], language: str) -> Iterator[str]:
    kind = state["Type"]
    allowed = FIELDS[kind] | ((JSONPATH if language == "JSONPath" else JSONATA) if kind != "Fail" else set())
    yield from (f"{field} is not allowed in {language} {kind}" for field in state.keys() - allowed)
    if language == "JSONata":
        yield from (f"{field} is JSONPath's" for field in state.keys() & PATHS)
        yield from (f"{key} is a JSONPath member" for key in _keys(state) if key.endswith(".$"))
    elif "{%" in json.dumps(state):
        yield "it holds a JSONata expression"
    if kind in {"Task", "Pass", "Map"} and ("Next" in state) == (state.get("End") is True):
        yield "it needs one of Next and End"
    if kind == "Fail" and ({"Error", "ErrorPath"} <= state.keys() or {"Cause", "CausePath"} <= state.keys()):
        yield "a text and a path for the same thing"
    if kind == "Task" and not re.match(r"arn:aws:states:::[a-z0-9-]+:[A-Za-z0-9]+$", state["Resource"]):
        yield f"the resource {state['Resource']} is none"
    for rule in state.get("Choices", []):
        if ("Condition" in rule) != (language == "JSONata"):
            yield f"a rule of the other language than {language}"
    yield from _errors(state)
    if kind == "Map":
        yield from _map(state, language)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _keys(item)


def _errors(state: dict[str, Any]) -> Iterator[str]:
    for field in ("Retry", "Catch"):
        rules = state.get(field, [])
        for index, rule in enumerate(rules):
            errors = rule["ErrorEquals"]
            if not errors or ("States.ALL" in errors and (errors != ["States.ALL"] or index != len(rules) - 1)):
                yield f"{field}: States.ALL stands alone and last, and no list is empty"
    caught = [error for rule in state.get("Catch", []) for error in rule["ErrorEquals"]]
    if len(caught) != len(set(caught)):
        yield "Catch names an error twice"
    for retry in state.get("Retry", []):
        yield from (f"Retry: {field} is unknown" for field in retry.keys() - RETRY)
        if not 0 < retry["IntervalSeconds"] <= retry["MaxDelaySeconds"] < MAX_DELAY_LIMIT_S:
            yield "Retry: MaxDelaySeconds must be at least IntervalSeconds"
        if retry["BackoffRate"] < 1 or retry["JitterStrategy"] not in {"FULL", "NONE"}:
            yield "Retry: BackoffRate below 1, or an unknown JitterStrategy"


def _map(state: dict[str, Any], language: str) -> Iterator[str]:
    processor = state["ItemProcessor"]
    config = processor["ProcessorConfig"]
    if config["Mode"] != "DISTRIBUTED" or config["ExecutionType"] not in {"STANDARD", "EXPRESS"}:
        yield "ProcessorConfig"
    if len(state["Label"]) > 40 or not re.fullmatch(r"[\w-]+", state["Label"]):
        yield "Label has at most 40 characters and none that a name may not have"
    if "ItemReader" in state and {"ItemsPath", "Items"} & state.keys():
        yield "items come from a reader or from the input, not from both"
    action = state["ItemReader"]["Resource"].rpartition(":")[2]
    kind = state["ItemReader"].get("ReaderConfig", {}).get("InputType")
    if kind not in READERS[action]:
        yield f"ItemReader: {action} does not read {kind}"
    if not {"MaxItemsPerBatch", "MaxItemsPerBatchPath", "MaxInputBytesPerBatch"} & state["ItemBatcher"].keys():
        yield "ItemBatcher needs a limit"
    if state["ItemBatcher"].get("MaxInputBytesPerBatch", 0) > 262_144:
        yield "ItemBatcher: MaxInputBytesPerBatch is at most 256 KiB"
    if not state["ResultWriter"]["Resource"].endswith(":s3:putObject"):
        yield "ResultWriter"
    for name, inner in processor["States"].items():
        if config["ExecutionType"] == "EXPRESS" and inner.get("TimeoutSeconds", 0) > 300:
            yield f"{name}: an Express child ends after five minutes"
    yield from _machine(processor, language, "ItemProcessor")
