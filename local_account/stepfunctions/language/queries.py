"""Checks of the query language in a definition: JSONata expressions that cannot be evaluated, fields of the other one.

Runs in the server process; reads the definition's JSON only. (step-functions/latest/dg/transforming-data.html)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from local_account.stepfunctions.language import jsonata

LANGUAGES = ("JSONPath", "JSONata")
JSONPATH_ONLY = {
    "CausePath",
    "ErrorPath",
    "HeartbeatSecondsPath",
    "InputPath",
    "ItemsPath",
    "MaxConcurrencyPath",
    "OutputPath",
    "Parameters",
    "ResultPath",
    "ResultSelector",
    "SecondsPath",
    "TimeoutSecondsPath",
    "TimestampPath",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentagePath",
    "Variable",
}
JSONATA_ONLY = {"Arguments", "Condition", "Items", "Output"}
MACHINES = {"Branches", "ItemProcessor", "Iterator"}  # these hold states of their own
WITHOUT_RESULT = ("Arguments", "Items", "ItemReader", "ItemSelector", "ItemBatcher", "Choices", "TimeoutSeconds")
LITERAL = {"Comment", "Resource", "Next", "Default", "StartAt", "Type", "QueryLanguage", "Result"}


def language_of(state: Mapping[str, object], inherited: str) -> str:
    """The query language of a state, its own or that of the machine it is in."""
    return str(state.get("QueryLanguage", inherited))


def expressions(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every expression below a state's member as (where, expression), as the causes of errors name the place."""
    if jsonata.is_expression(value):
        yield path, jsonata.body(value)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from expressions(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not (path == "" and key in MACHINES | LITERAL):
                yield from expressions(item, f"{path}/{key}" if path else key)


@dataclass(frozen=True)
class Inherited:
    """The query language that a state has where it names none, and that of the whole machine."""

    here: str
    machine: str

    def within(self, state: Mapping[str, object]) -> Inherited:
        """That of the states which a state holds."""
        return Inherited(language_of(state, self.here), self.machine)


def query_problems(name: str, state: Mapping[str, object], inherited: Inherited, where: str) -> Iterator[str]:
    """What is wrong with the query language of one state."""
    language = language_of(state, inherited.here)
    if language not in LANGUAGES:
        yield f"SCHEMA_VALIDATION_FAILED: 'QueryLanguage' is one of {LANGUAGES}, not {language!r} at {where}"
        return
    if inherited.machine == "JSONata" and language == "JSONPath":
        yield (
            f"SCHEMA_VALIDATION_FAILED: 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state "
            f"machine at {where}"
        )
    foreign = JSONATA_ONLY if language == "JSONPath" else JSONPATH_ONLY
    for path, field in _fields(state):
        if field in foreign:
            yield (
                f"SCHEMA_VALIDATION_FAILED: The field '{field}' is not supported with QueryLanguage {language} in "
                f"state {name} at {where}/{path}"
            )
    if language == "JSONata":
        yield from _expression_problems(state, where)


def _fields(state: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The members whose names belong to the language, not to the data of templates."""
    for key, value in state.items():
        yield key, key
        if key in {"Choices", "Catch"} and isinstance(value, list):
            for index, rule in enumerate(value):
                yield from ((f"{key}[{index}]/{member}", member) for member in (rule if isinstance(rule, dict) else ()))
        if key in {"ItemReader", "ResultWriter"} and isinstance(value, dict):
            yield from ((f"{key}/{member}", member) for member in value)


def _expression_problems(state: Mapping[str, object], where: str) -> Iterator[str]:
    for path, expression in expressions(state):
        if fault := jsonata.syntax_error(expression):
            yield f"INVALID_JSONATA_EXPRESSION: {fault}: '{expression}' at {where}/{path}"
            continue
        members = jsonata.states_members(expression)
        if unknown := members - {"input", "result", "errorOutput", "context"}:
            yield f"INVALID_JSONATA_EXPRESSION: $states has no '{sorted(unknown)[0]}' at {where}/{path}"
        if "errorOutput" in members and not path.startswith("Catch["):
            yield f"INVALID_JSONATA_EXPRESSION: $states.errorOutput exists in 'Catch' only at {where}/{path}"
        if "result" in members and path.startswith((*WITHOUT_RESULT, "Catch[")):
            yield f"INVALID_JSONATA_EXPRESSION: $states.result does not exist yet at {where}/{path}"
