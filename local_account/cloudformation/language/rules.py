"""The Rules of a template: assertions about its parameters, made before anything else is.

Runs in the server process. Source: CloudFormation User Guide, rules section and rule functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from local_account.cloudformation.language.errors import InvalidTemplateError
from local_account.cloudformation.language.expressions import TemplateScope
from local_account.cloudformation.language.functions import plain_text


def check_rules(scope: TemplateScope) -> None:
    """Raises InvalidTemplateError for the first assertion that does not hold, in its own words where it has some."""
    for name, rule in (scope.document.get("Rules") or {}).items():
        applies = rule.get("RuleCondition")
        if applies is not None and not _holds(scope, applies):
            continue
        for assertion in rule["Assertions"]:
            if not _holds(scope, assertion["Assert"]):
                stated = assertion.get("AssertDescription", f"Rule {name} failed.")
                raise InvalidTemplateError(f"Template error: {stated}")


def _holds(scope: TemplateScope, expression: object) -> bool:
    if isinstance(expression, Mapping) and len(expression) == 1:
        ((function, argument),) = expression.items()
        operands = argument if isinstance(argument, list) else [argument]
        if function in _LOGIC:
            return _LOGIC[function]([_holds(scope, each) for each in operands])
        if function in _MEMBERSHIP and len(operands) == 2:
            left, right = (_texts(scope.resolve(each)) for each in operands)
            return _MEMBERSHIP[function](left, right)
        if function == "Fn::Equals" and len(operands) == 2:
            left, right = (_texts(scope.resolve(each)) for each in operands)
            return left == right
    raise InvalidTemplateError(f"Template validation error: {expression!r} cannot be used in a rule")


def _texts(value: object) -> list[str]:
    return [plain_text(each) for each in value] if isinstance(value, list) else [plain_text(value)]


_LOGIC: dict[str, Callable[[list[bool]], bool]] = {
    "Fn::And": all,
    "Fn::Or": any,
    "Fn::Not": lambda values: not values[0],
}
_MEMBERSHIP: dict[str, Callable[[list[str], list[str]], bool]] = {
    "Fn::Contains": lambda items, wanted: all(each in items for each in wanted),
    "Fn::EachMemberEquals": lambda items, wanted: all(each == wanted[0] for each in items),
    "Fn::EachMemberIn": lambda items, allowed: all(each in allowed for each in items),
}
