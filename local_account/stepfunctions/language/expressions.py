"""Where expressions stand in states: JSONata in place of moto's bridge to Java, variables in JSONPath, conditions.

Runs in the server process; ``stepfunctions.states`` installs it.
"""

from __future__ import annotations

from typing import Any

from local_account.stepfunctions.language import jsonata
from local_account.stepfunctions.language.encoding import copy_json, dumps
from local_account.stepfunctions.language.failures import failure

NO_TRANSITION = "Failed to transition out of the state. The state does not point to a next state."


def hook_expressions() -> None:
    from moto.stepfunctions.parser.asl.component.common.assign.assign_decl import AssignDecl
    from moto.stepfunctions.parser.asl.component.common.query_language import QueryLanguageMode
    from moto.stepfunctions.parser.asl.component.common.string import string_expression as strings
    from moto.stepfunctions.parser.asl.utils.json_path import extract_json

    def evaluate_expression(component: Any, env: Any) -> None:
        env.stack.append(expression_value(env, component.expression, getattr(component, "location", None)))

    def evaluate_variable(component: Any, env: Any) -> None:
        if component.query_language_mode == QueryLanguageMode.JSONata:
            evaluate_expression(component, env)
            return
        name = next(iter(jsonata.references(component.expression)))
        rest = component.expression[len(name) + 1 :]
        value = env.variable_store.get(name)
        env.stack.append(copy_json(extract_json(f"${rest}", value) if rest else value))

    def assign(component: Any, env: Any) -> None:
        """Kept until the state is left: its Output sees the variables as they were."""
        env.assigned = {}
        for binding in component.declaration_bindings:
            binding.eval(env=env)
            env.assigned.update(env.stack.pop())

    strings.StringJSONata._eval_body = evaluate_expression
    strings.StringVariableSample._eval_body = evaluate_variable
    AssignDecl._eval_body = assign


def expression_value(env: Any, expression: str, location: str | None = None) -> Any:
    """What a JSONata expression comes to where ``env`` stands."""
    store = env.variable_store
    wanted = jsonata.references(expression)
    variables = {**store._outer_scope, **store._inner_scope}
    bindings = {name: variables[name] for name in wanted & variables.keys()}
    if "states" in wanted:
        members = jsonata.states_members(expression)
        data = env.states._states_data
        bindings["states"] = {name: data[name] for name in members or data if name in data}
    try:
        return jsonata.evaluate(expression, bindings)
    except jsonata.QueryError as error:
        where = f" specified for the field '{location}'" if location else ""
        told = f" {error}." if str(error).startswith("returned ") else f" threw an error during evaluation. {error}"
        cause = f"The JSONata expression '{expression}'{where}{told}"
        raise failure(env, "States.QueryEvaluationError", cause, location) from error


def unexpected_type(env: Any, component: Any, expected: str, value: Any) -> Exception:
    """An expression that came to something of another type than its field takes."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    location = getattr(component, "location", None)
    cause = (
        f"The JSONata expression '{component.expression}' specified for the field '{location}' returned an unexpected "
        f"result type. Expected '{expected}', but was '{names.get(type(value), 'null')}' for value: {dumps(value)}"
    )
    return failure(env, "States.QueryEvaluationError", cause, location)


def hook_choices() -> None:
    from moto.stepfunctions.parser.asl.component.state.choice.comparison.comparison import ConditionStringJSONata
    from moto.stepfunctions.parser.asl.component.state.choice.state_choice import StateChoice

    original = StateChoice._eval_state

    def condition(component: Any, env: Any) -> None:
        component.string_jsonata.eval(env=env)
        if not isinstance(env.stack[-1], bool):
            raise unexpected_type(env, component.string_jsonata, "boolean", env.stack[-1])

    def choose(state: Any, env: Any) -> None:
        try:
            original(state, env)
        except RuntimeError as error:
            raise failure(env, "States.Runtime", NO_TRANSITION) from error

    ConditionStringJSONata._eval_body = condition
    StateChoice._eval_state = choose
