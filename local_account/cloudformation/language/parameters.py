"""The parameters of a template: which value each has, and whether it may have it; the wording is AWS's.

Runs in the server process. Source: CloudFormation User Guide, parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from local_account.cloudformation.language.errors import InvalidTemplateError, format_error
from local_account.cloudformation.language.functions import plain_text
from local_account.cloudformation.records import DeclaredParameter, TemplateDocument

FROM_STORE = "AWS::SSM::Parameter::Value"
MASKED = "****"
_TYPE = re.compile(r"String|Number|CommaDelimitedList|(List<)?(Number|String|AWS::[A-Za-z0-9:]+(<.+>)?)>?")


def parameter_values(document: TemplateDocument, given: Mapping[str, str]) -> dict[str, str]:
    """The value of every parameter, as text.

    Raises InvalidTemplateError for an unknown parameter, one without a value, and a value that is not allowed.
    """
    declared = document.get("Parameters") or {}
    if unknown := [name for name in given if name not in declared]:
        raise InvalidTemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = [name for name, declaration in declared.items() if name not in given and "Default" not in declaration]
    if missing:
        raise InvalidTemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    values = {name: plain_text(given.get(name, declaration.get("Default"))) for name, declaration in declared.items()}
    for name, declaration in declared.items():
        _check_parameter(name, declaration, values[name])
    return values


def stored_values(
    document: TemplateDocument, values: Mapping[str, str], fetch: Callable[[str], str | None]
) -> dict[str, str]:
    """What the parameters of Parameter Store hold now, by the template's parameter; ``fetch`` gives None for none.

    Raises InvalidTemplateError for a parameter that is not there.
    """
    declared = (document.get("Parameters") or {}).items()
    found = {name: fetch(values[name]) for name, each in declared if str(each["Type"]).startswith(FROM_STORE)}
    if missing := [values[name] for name, value in found.items() if value is None]:
        raise InvalidTemplateError(
            f"Unable to fetch parameters [{','.join(missing)}] from parameter store for this account."
        )
    return {name: value for name, value in found.items() if value is not None}


def is_secret(declaration: DeclaredParameter) -> bool:
    """Whether the value is not to be shown."""
    return plain_text(declaration.get("NoEcho", False)) == "true"


def is_list(declaration: DeclaredParameter) -> bool:
    """Whether the parameter's value is a list, whose items are separated by commas."""
    return "List" in str(declaration["Type"])


def _check_parameter(name: str, declaration: DeclaredParameter, value: str) -> None:
    kind = str(declaration["Type"])
    if not _TYPE.fullmatch(kind):
        raise format_error(f"Unrecognized parameter type: {kind}")
    if kind == "Number":
        _number(name, value)
    allowed = [plain_text(each) for each in declaration.get("AllowedValues", [])]
    for each in value.split(",") if is_list(declaration) and allowed else [value]:
        problem = _problem(name, declaration, each.strip() if is_list(declaration) else each, allowed)
        if problem:
            stated = declaration.get("ConstraintDescription")
            raise InvalidTemplateError(
                f"Parameter {name} failed to satisfy constraint: {stated}" if stated else problem
            )


def _problem(name: str, declaration: DeclaredParameter, value: str, allowed: list[str]) -> str:
    if allowed and value not in allowed:
        return f"Parameter '{name}' must be one of AllowedValues"
    if (pattern := str(declaration.get("AllowedPattern", ""))) and not _matches(name, pattern, value):
        return f"Parameter '{name}' must match pattern {pattern}"
    if str(declaration["Type"]) == "Number":
        return _out_of_range(name, declaration, _number(name, value))
    shortest, longest = (int(str(declaration.get(bound, len(value)))) for bound in ("MinLength", "MaxLength"))
    if len(value) < shortest:
        return f"Parameter '{name}' must contain at least {shortest} characters"
    return f"Parameter '{name}' must contain at most {longest} characters" if len(value) > longest else ""


def _matches(name: str, pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error as error:
        raise format_error(f"Parameter {name} has a AllowedPattern that cannot be read: {error}") from error


def _out_of_range(name: str, declaration: DeclaredParameter, number: float) -> str:
    if number < _bound(declaration.get("MinValue"), number):
        return f"Parameter '{name}' must be a number not less than {declaration['MinValue']}"
    if number > _bound(declaration.get("MaxValue"), number):
        return f"Parameter '{name}' must be a number not greater than {declaration['MaxValue']}"
    return ""


def _bound(stated: object, otherwise: float) -> float:
    return otherwise if stated is None else float(str(stated))


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise InvalidTemplateError(f"Parameter '{name}' must be a number.") from error
