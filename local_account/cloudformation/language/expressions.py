"""The expressions of a template: conditions and intrinsic functions, evaluated for one stack.

Runs in the server process. Source: CloudFormation's template reference, intrinsic functions and condition functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local_account.cloudformation.language.arguments import sub_arguments
from local_account.cloudformation.language.errors import (
    InvalidTemplateError,
    UnresolvedError,
    format_error,
    template_error,
)
from local_account.cloudformation.language.functions import FUNCTIONS, find_in_map, plain_text
from local_account.cloudformation.language.parameters import is_list
from local_account.cloudformation.language.references import SUBSTITUTION, attribute_arguments
from local_account.cloudformation.records import DeclaredResource, TemplateDocument

UNKNOWN = "{{changeSet:KNOWN_AFTER_APPLY}}"
"""A value that is known once the change set is executed; what depends on one is unknown, too."""
NO_VALUE = object()
"""What ``{"Ref": "AWS::NoValue"}`` becomes: the property is left out."""
_BEING_EVALUATED = object()


@dataclass
class TemplateScope:
    """What expressions of one stack see. ``ref`` and ``attribute`` answer for resources.

    ``text`` sees every text of the template last: it resolves dynamic references.
    """

    document: TemplateDocument
    parameters: Mapping[str, str]
    pseudo: Mapping[str, object]
    ref: Callable[[str], object]
    attribute: Callable[[str, str], object]
    imported: Callable[[str], str]
    stored: Mapping[str, str] = field(default_factory=dict)
    """Values of Parameter Store, by the template's parameter."""
    text: Callable[[str], str] = str
    _conditions: dict[str, object] = field(default_factory=dict)

    def condition(self, name: str) -> bool:
        """Whether a condition holds.

        Raises InvalidTemplateError for an unknown one, for a circle, and for what cannot be a condition.
        """
        if name not in self._conditions:
            expressions = self.document.get("Conditions") or {}
            if name not in expressions:
                raise format_error(f"Unresolved condition dependency {name}")
            self._conditions[name] = _BEING_EVALUATED
            self._conditions[name] = self._truth(expressions[name])
        if self._conditions[name] is _BEING_EVALUATED:
            raise format_error(f"Circular dependency between conditions: [{name}]")
        return bool(self._conditions[name])

    def active_resources(self) -> dict[str, DeclaredResource]:
        """The resources whose condition holds.

        Raises InvalidTemplateError as `condition` does.
        """
        resources = self.document["Resources"]
        return {n: r for n, r in resources.items() if "Condition" not in r or self.condition(r["Condition"])}

    def properties(self, declared: DeclaredResource) -> dict[str, object]:
        """The properties of a resource, evaluated.

        Raises InvalidTemplateError as `resolve` does, and for what is no mapping.
        """
        try:
            resolved = self.resolve(declared.get("Properties") or {})
        except UnresolvedError as error:
            raise format_error(
                f"Unresolved resource dependencies [{error.logical_id}] in the Resources block of the template"
            ) from error
        if resolved is NO_VALUE:
            return {}
        if not isinstance(resolved, dict):
            raise InvalidTemplateError(f"Template format error: Properties must be an object, got {resolved!r}")
        return resolved

    def resolve(self, value: object) -> object:
        """Evaluate every function of a value; members that are AWS::NoValue are left out.

        Raises InvalidTemplateError for what cannot be evaluated.
        """
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(str(argument))
            if name.startswith("Fn::"):
                return self._function(name[4:], argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _truth(self, expression: object) -> bool:
        if not isinstance(expression, dict) or len(expression) != 1:
            raise InvalidTemplateError(f"Template validation error: {expression!r} cannot be used as a condition")
        ((function, argument),) = expression.items()
        if function == "Condition":
            return self.condition(str(argument))
        operands = argument if isinstance(argument, list) else [argument]
        if function == "Fn::Not":
            return not self._truth(operands[0])
        if function == "Fn::And":
            return all(self._truth(each) for each in operands)
        if function == "Fn::Or":
            return any(self._truth(each) for each in operands)
        if function == "Fn::Equals":
            return self._equal(argument)
        raise InvalidTemplateError(f"Template validation error: {function} cannot be used as a condition")

    def _equal(self, argument: object) -> bool:
        if not isinstance(argument, list) or len(argument) != 2:
            raise template_error("every Fn::Equals object requires a list of 2 string parameters.")
        left, right = (self.resolve(each) for each in argument)
        return plain_text(left) == plain_text(right)

    def _ref(self, name: str) -> object:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name not in self.parameters:
            return self.ref(name)
        value = self.stored.get(name, self.parameters[name])
        if is_list((self.document.get("Parameters") or {})[name]):
            return [item.strip() for item in value.split(",")]
        return self.text(value)

    def _function(self, name: str, argument: object) -> object:
        if name == "Sub":
            return self._sub(argument)
        if name == "If":
            condition, then, otherwise = self._three(argument)
            return self.resolve(then if self.condition(str(condition)) else otherwise)
        if name == "GetAtt":
            logical, attribute = attribute_arguments(argument)
            return self.attribute(logical, str(self.resolve(attribute)))
        function = self._functions().get(name)
        if function is None:
            raise InvalidTemplateError(f"The stand-in account does not implement Fn::{name}.")
        resolved = self.resolve(argument)
        if _is_unknown(resolved):
            return UNKNOWN
        try:
            return function(resolved)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise InvalidTemplateError(f"Template error: Fn::{name} cannot be applied to {resolved!r}") from error

    @staticmethod
    def _three(argument: object) -> list[object]:
        if not isinstance(argument, list) or len(argument) != 3:
            raise template_error("Fn::If requires a list argument with three elements")
        return argument

    def _functions(self) -> Mapping[str, Callable[[object], object]]:
        """The functions whose argument is evaluated before they are."""
        mappings = self.document.get("Mappings") or {}
        return {
            **FUNCTIONS,
            "GetAZs": lambda region: _zones(str(region or self.pseudo["AWS::Region"])),
            "ImportValue": lambda name: self.imported(plain_text(name)),
            "FindInMap": lambda argument: find_in_map(mappings, argument),
        }

    def _sub(self, argument: object) -> str:
        text, own = sub_arguments(argument)

        def substitute(match: re.Match[str]) -> str:
            name = match.group(2).strip()
            if match.group(1):
                return "${" + name + "}"
            if name in own:
                return plain_text(self.resolve(own[name]))
            resource, dot, attribute = name.partition(".")
            return plain_text(self.attribute(resource, attribute) if dot else self._ref(name))

        replaced = SUBSTITUTION.sub(substitute, text)
        return UNKNOWN if UNKNOWN in replaced else self.text(replaced)


def _zones(region: str) -> list[str]:
    """The zones of a region: six in Northern Virginia, elsewhere the three that a region has at least."""
    return [f"{region}{zone}" for zone in ("abcdef" if region == "us-east-1" else "abc")]


def _is_unknown(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_is_unknown, value.values()))
    return any(map(_is_unknown, value)) if isinstance(value, list) else value == UNKNOWN
