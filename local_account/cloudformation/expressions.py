"""The expressions of a template: conditions and intrinsic functions, evaluated for one stack.

Runs in the server process. Source: CloudFormation's template reference, intrinsic functions and condition functions.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local_account.cloudformation.records import DeclaredResource, TemplateDocument
from local_account.cloudformation.template import SUBSTITUTION, InvalidTemplateError, plain_text, sub_arguments

NO_VALUE = object()
"""What ``{"Ref": "AWS::NoValue"}`` becomes: the property is left out."""


@dataclass
class TemplateScope:
    """What expressions of one stack see. ``ref`` and ``attribute`` answer for resources."""

    document: TemplateDocument
    parameters: Mapping[str, str]
    pseudo: Mapping[str, object]
    ref: Callable[[str], object]
    attribute: Callable[[str, str], object]
    imported: Callable[[str], str]
    ssm_value: Callable[[str], str]
    _conditions: dict[str, bool] = field(default_factory=dict)

    def condition(self, name: str) -> bool:
        """Whether a condition holds.

        Raises InvalidTemplateError for an unknown one, and for what cannot be a condition.
        """
        if name not in self._conditions:
            expressions = self.document.get("Conditions") or {}
            if name not in expressions:
                raise InvalidTemplateError(f"Template format error: Unresolved condition dependency {name}")
            self._conditions[name] = self._truth(expressions[name])
        return self._conditions[name]

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
        resolved = self.resolve(declared.get("Properties") or {})
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
        if function == "Fn::Not":
            return not self._truth(argument[0])
        if function == "Fn::And":
            return all(self._truth(each) for each in argument)
        if function == "Fn::Or":
            return any(self._truth(each) for each in argument)
        if function == "Fn::Equals":
            left, right = (self.resolve(each) for each in argument)
            return plain_text(left) == plain_text(right)
        raise InvalidTemplateError(f"Template validation error: {function} cannot be used as a condition")

    def _ref(self, name: str) -> object:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name not in self.parameters:
            return self.ref(name)
        declared = (self.document.get("Parameters") or {})[name]
        kind, value = str(declared.get("Type", "String")), self.parameters[name]
        if kind.startswith("AWS::SSM::Parameter::Value"):
            value = self.ssm_value(value)
        if "List" in kind:
            return [item.strip() for item in value.split(",")]
        return value

    def _function(self, name: str, argument: object) -> object:
        if name == "Sub":
            return self._sub(argument)
        if name == "If":
            condition, then, otherwise = _listed(argument)
            return self.resolve(then if self.condition(str(condition)) else otherwise)
        if name == "GetAtt":
            parts = [*argument.partition(".")][::2] if isinstance(argument, str) else _listed(argument)
            return self.attribute(str(parts[0]), str(self.resolve(parts[1])))
        function = self._functions().get(name)
        if function is None:
            raise InvalidTemplateError(f"The stand-in account does not implement Fn::{name}.")
        resolved = self.resolve(argument)
        try:
            return function(resolved)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InvalidTemplateError(f"Template error: Fn::{name} cannot be applied to {resolved!r}") from error

    def _functions(self) -> dict[str, Callable[[object], object]]:
        """The functions whose argument is evaluated before they are."""
        return {
            "Join": _join,
            "Split": _split,
            "Select": _select,
            "Base64": lambda text: base64.b64encode(str(text).encode()).decode(),
            "GetAZs": lambda region: [f"{region or self.pseudo['AWS::Region']}{zone}" for zone in "abc"],
            "ImportValue": lambda name: self.imported(str(name)),
            "FindInMap": self._find_in_map,
            "ToJsonString": json.dumps,
            "Length": lambda items: len(_listed(items)),
        }

    def _find_in_map(self, argument: object) -> object:
        mapping, first, second = _listed(argument)
        return self.document["Mappings"][mapping][first][second]

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

        return SUBSTITUTION.sub(substitute, text)


def _listed(argument: object) -> list[object]:
    """The arguments of a function; raises TypeError where there is no list of them."""
    if not isinstance(argument, list):
        raise TypeError(f"expected a list, got {argument!r}")
    return argument


def _join(argument: object) -> str:
    separator, items = _listed(argument)
    return str(separator).join(map(plain_text, _listed(items)))


def _split(argument: object) -> list[str]:
    separator, text = _listed(argument)
    return str(text).split(str(separator))


def _select(argument: object) -> object:
    index, items = _listed(argument)
    return _listed(items)[int(str(index))]
