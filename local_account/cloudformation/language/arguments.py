"""What the functions of a template take; the wording of errors is AWS's.

Runs in the server process. An argument that is a function itself is not looked into: what becomes of it is known when
the stack is made. Source: CloudFormation's template reference, intrinsic functions and condition functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from local_account.cloudformation.language.errors import InvalidTemplateError, template_error

_NAME = re.compile(r"!.*|[A-Za-z0-9_.: ]+", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def sub_arguments(argument: object) -> tuple[str, Mapping[str, object]]:
    """The text of a Fn::Sub and the variables that it brings itself.

    Raises InvalidTemplateError for what is neither.
    """
    if isinstance(argument, str):
        return argument, {}
    if isinstance(argument, list) and len(argument) == 2:
        text, own = argument
        if isinstance(text, str) and isinstance(own, Mapping):
            return text, own
    raise template_error(
        "One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, "
        "and an optional second argument to specify a mapping of values to replace in the string"
    )


def check_arguments(value: object) -> None:
    """Raises InvalidTemplateError for a function in the value that has not the arguments which it takes."""
    if isinstance(value, list):
        for item in value:
            check_arguments(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if len(value) == 1 and (key == "Ref" or str(key).startswith("Fn::")):
                _check_function(str(key), item)
            check_arguments(item)


def _check_function(name: str, argument: object) -> None:
    if name not in _CHECKS:
        raise template_error(
            f"Encountered unsupported function: {name} Supported functions are: [{', '.join(_CHECKS)}]"
        )
    _CHECKS[name](argument)


def _any(_argument: object) -> None:
    """What takes whatever its own evaluation takes."""


def _sub(argument: object) -> None:
    text, _ = sub_arguments(argument)
    for name in _VARIABLE.findall(text):
        if not _NAME.fullmatch(name):
            raise template_error(
                "variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, "
                "and colons"
            )


def _ref(argument: object) -> None:
    if not isinstance(argument, str):
        raise InvalidTemplateError("Template format error: Every Ref object must have a single String value.")


def _get_att(argument: object) -> None:
    items: object = argument.split(".", 1) if isinstance(argument, str) else argument
    whole = items if isinstance(items, list) and len(items) >= 2 and isinstance(items[0], str) else [""]
    if not all(item not in ("", [], {}) for item in whole):
        raise template_error(
            "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"
        )


def _list_of(least: int, most: int, message: str) -> Callable[[object], None]:
    """A check for a list of so many arguments; a function in its place is another matter."""

    def check(argument: object) -> None:
        if not isinstance(argument, list) or not least <= len(argument) <= most:
            raise template_error(message)

    return check


def _select(argument: object) -> None:
    message = "Fn::Select requires a list argument with two elements: an integer index and a list"
    _list_of(2, 2, message)(argument)
    index, items = argument if isinstance(argument, list) else (0, [])
    if isinstance(index, list) or not isinstance(items, list | Mapping):
        raise template_error(message)


def _join(argument: object) -> None:
    message = (
        "every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined "
        "or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
    )
    _list_of(2, 2, message)(argument)
    delimiter, items = argument if isinstance(argument, list) else ("", [])
    if not isinstance(delimiter, str) or not isinstance(items, list | Mapping):
        raise template_error(message)


def _boolean(name: str) -> Callable[[object], None]:
    return _list_of(2, 10, f"every {name} object requires a list of at least 2 and at most 10 boolean parameters.")


_CHECKS: dict[str, Callable[[object], None]] = {
    "Fn::Base64": _any,
    "Fn::GetAtt": _get_att,
    "Fn::Join": _join,
    "Fn::FindInMap": _list_of(
        3,
        4,
        "every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return "
        "value",
    ),
    "Fn::Select": _select,
    "Ref": _ref,
    "Fn::If": _list_of(3, 3, "Fn::If requires a list argument with three elements"),
    "Fn::Equals": _list_of(2, 2, "every Fn::Equals object requires a list of 2 string parameters."),
    "Fn::And": _boolean("Fn::And"),
    "Fn::Or": _boolean("Fn::Or"),
    "Fn::Not": _list_of(1, 1, "every Fn::Not object requires one boolean parameter."),
    "Fn::Sub": _sub,
    "Fn::GetAZs": _any,
    "Fn::Split": _list_of(
        2,
        2,
        "every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a "
        "function that returns a string to be split.",
    ),
    "Fn::ImportValue": _any,
    "Fn::Cidr": _list_of(
        2, 3, "every Fn::Cidr object requires two or three parameters: the address block, the count and the bits."
    ),
    "Fn::ToJsonString": _any,
    "Fn::Length": _any,
}
