"""Where expressions stand in states: JSONata in place of moto's bridge to Java, variables in JSONPath, conditions.

Runs in the server process. Each class here extends one of moto's components.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from moto.stepfunctions.parser.asl.component.common.assign.assign_decl import AssignDecl
from moto.stepfunctions.parser.asl.component.common.assign.assign_template_binding import (
    AssignTemplateBindingStringExpressionSimple,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException
from moto.stepfunctions.parser.asl.component.common.path.result_path import ResultPath
from moto.stepfunctions.parser.asl.component.common.query_language import QueryLanguageMode
from moto.stepfunctions.parser.asl.component.common.string.string_expression import (
    JSONPATH_ROOT_PATH,
    StringContextPath,
    StringIntrinsicFunction,
    StringJSONata,
    StringJsonPath,
    StringVariableSample,
)
from moto.stepfunctions.parser.asl.component.state.choice.comparison.comparison import ConditionStringJSONata
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError, extract_json

from local_account.stepfunctions.environment import ExecutionEnvironment, own
from local_account.stepfunctions.language import jsonata
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.encoding import copy_json, dumps
from local_account.stepfunctions.language.failures import RUNTIME, StateFailure, failure

_STEP = re.compile(r"\.([^.\[\]'\"()*?@$]+)|\[['\"](.+?)['\"]\]|\[(\d+)\]")
_REFERENCE = re.compile(rf"\$(?:{_STEP.pattern})*")
_ITEM = re.compile(r"(.+)\[\d+\]$")
WRONG_TYPES = "The function does not take arguments of these types"
_PYTHONS = re.compile(
    r"object|must be str|not iterable|unsupported operand|not supported|unhashable|index out of range|indices"
)
_JSON_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


@component
class JsonataExpression(StringJSONata):
    """An expression between ``{%`` and ``%}``."""

    location: str | None = None
    """The field that it stands in, as the causes of errors name it."""

    def _eval_body(self, env: Environment) -> None:
        env.stack.append(expression_value(own(env), self.expression, self.location))


@component
class VariableReference(StringVariableSample):
    """A variable in JSONPath, with the path into it."""

    def _eval_body(self, env: Environment) -> None:
        if self.query_language_mode == QueryLanguageMode.JSONata:
            env.stack.append(expression_value(own(env), self.expression))
            return
        name = next(iter(jsonata.references(self.expression)))
        rest = self.expression[len(name) + 1 :]
        value = env.variable_store.get(name)
        env.stack.append(copy_json(extract_json(f"${rest}", value) if rest else value))


@component
class DataPath(StringJsonPath):
    """A path into what a state is at; moto copies what it finds with copy.deepcopy."""

    def _eval_body(self, env: Environment) -> None:
        value = env.stack[-1]
        found = value if self.json_path == JSONPATH_ROOT_PATH else _at(self.json_path, value)
        env.stack.append(copy_json(found))


def _at(path: str, data: object) -> object:
    """What is at a path. Past the end of a list it is null, as AWS was seen to answer."""
    try:
        return extract_json(path, data)
    except NoSuchJsonPathError:
        held = _ITEM.match(path)
        if held and isinstance(extract_json(held[1], data), list):
            return None
        raise


@component
class ContextPath(StringContextPath):
    """A path into the context object."""

    def _eval_body(self, env: Environment) -> None:
        context = env.states.context_object.context_object_data
        if self.json_path == JSONPATH_ROOT_PATH:
            env.stack.append(copy_json(context))
            return
        try:
            env.stack.append(copy_json(extract_json(self.json_path, context)))
        except NoSuchJsonPathError as missing:
            cause = (
                f"The JSONPath '${self.json_path}' specified for the field '{env.next_field_name}' "
                f"could not be found in the input '{dumps(context)}'"
            )
            raise failure(own(env), "States.Runtime", cause) from missing


@component
class ResultPlace(ResultPath):
    """Where in its input a state puts its result; moto parses the path each time, and reports what Python says."""

    def _eval_body(self, env: Environment) -> None:
        if self.result_path_src is None:
            env.stack[:] = [env.states.get_input()]
            return
        data, result = env.states.get_input(), env.stack.pop()
        try:
            env.stack.append(_placed(data, _steps(self.result_path_src), copy_json(result)))
        except (TypeError, LookupError) as conflict:
            cause = f"Unable to apply ReferencePath {self.result_path_src} to input {dumps(data)}"
            raise failure(own(env), "States.ReferencePathConflict", cause) from conflict


def _placed(data: object, steps: Sequence[str | int], result: object) -> object:
    """The data with the result at a place, made where it is not there. TypeError, LookupError: it cannot be there."""
    if not steps:
        return result
    step, *rest = steps
    if isinstance(step, str) and isinstance(data, dict):
        data[step] = _placed(data.get(step, {}), rest, result)
    elif isinstance(step, int) and isinstance(data, list):
        data[step] = _placed(data[step], rest, result)
    else:
        raise TypeError(type(data))
    return data


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[str | int, ...]:
    """The members and indexes that a reference path goes by. LookupError for a path that is none."""
    if not _REFERENCE.fullmatch(path):
        raise LookupError(path)
    return tuple(int(index) if index else name or quoted for name, quoted, index in _STEP.findall(path))


@component
class Assignment(AssignDecl):
    """Kept until the state is left: its Output sees the variables as they were."""

    def _eval_body(self, env: Environment) -> None:
        assigned: dict[str, object] = {}
        for binding in self.declaration_bindings:
            binding.eval(env=env)
            assigned.update(env.stack.pop())
        own(env).assigned = assigned


@component
class AssignedPath(AssignTemplateBindingStringExpressionSimple):
    """A variable that takes what a path or a call finds."""

    def _field_name(self) -> str:
        return f"{self.identifier}.$"


@component
class JsonataCondition(ConditionStringJSONata):
    """A JSONata condition of a Choice, which has to come to true or false."""

    def _eval_body(self, env: Environment) -> None:
        self.string_jsonata.eval(env=env)
        if not isinstance(env.stack[-1], bool):
            raise unexpected_type(own(env), self.string_jsonata, "boolean", env.stack[-1])


@component
class IntrinsicCall(StringIntrinsicFunction):
    """A call of an intrinsic function; its error names the whole call."""

    def _eval_body(self, env: Environment) -> None:
        given = env.stack[-1] if env.stack else None
        try:
            self.function.eval(env=env)
        except FailureEventException:
            raise
        except NoSuchJsonPathError as missing:
            context = env.states.context_object.context_object_data
            searched = given if missing.data == context else missing.data  # the context object itself is not shown
            told = (
                f"The JsonPath argument for the field '{missing.json_path}' could not be found in the input "
                f"'{dumps(searched)}'"
            )
            raise _failed_call(self, env, told) from missing
        except Exception as error:
            told = WRONG_TYPES if _PYTHONS.search(str(error)) else str(error)
            raise _failed_call(self, env, told) from error


def expression_value(env: ExecutionEnvironment, expression: str, location: str | None = None) -> object:
    """What a JSONata expression comes to where ``env`` stands. Raises States.QueryEvaluationError."""
    wanted = jsonata.references(expression)
    variables = env.visible_variables
    bindings = {name: variables[name] for name in wanted & variables.keys()}
    if "states" in wanted:
        bindings["states"] = env.data.members(jsonata.states_members(expression))
    try:
        return jsonata.evaluate(expression, bindings)
    except jsonata.QueryError as error:
        where = f" specified for the field '{location}'" if location else ""
        told = f" {error}." if str(error).startswith("returned ") else f" threw an error during evaluation. {error}"
        cause = f"The JSONata expression '{expression}'{where}{told}"
        raise failure(env, "States.QueryEvaluationError", cause, location) from error


def _failed_call(call: StringIntrinsicFunction, env: Environment, told: str) -> StateFailure:
    cause = f"The function '{call.intrinsic_function_derivation}' had the following error: {told}"
    return failure(own(env), RUNTIME, cause)


def unexpected_type(env: ExecutionEnvironment, part: StringJSONata, expected: str, value: object) -> StateFailure:
    """An expression that came to something of another type than its field takes."""
    location = part.location if isinstance(part, JsonataExpression) else None
    found = json_type(value)
    cause = (
        f"The JSONata expression '{part.expression}' specified for the field '{location}' returned an unexpected "
        f"result type. Expected '{expected}', but was '{found}' for value: {dumps(value)}"
    )
    return failure(env, "States.QueryEvaluationError", cause, location)


def json_type(value: object) -> str:
    """The type of a value as JSON has it."""
    return _JSON_TYPES.get(type(value), "null")
