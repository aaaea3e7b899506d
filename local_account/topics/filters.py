"""Which messages a subscription's filter policy lets pass, by the rules of event patterns, which SNS shares.

Runs in the server process. Authority: SNS Developer Guide, subscription filter policies. moto takes conditions that it
never looks at (``equals-ignore-case``), refuses networks (``cidr``), and fails on a number compared with text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.utils import FilterPolicyMatcher

from local_account.base.replacements import replace
from local_account.events import patterns
from local_account.events.pattern_grammar import PatternError, parse_pattern

if TYPE_CHECKING:
    from types_boto3_sns.type_defs import MessageAttributeValueTypeDef

    class _Attribute(MessageAttributeValueTypeDef, total=False):
        """As moto keeps an attribute."""

        Type: str
        Value: str


def install() -> None:
    """Called once, before the first request."""
    replace(FilterPolicyMatcher, "matches", _matches, why="moto takes conditions that it never looks at")


def checked(policy: Mapping[str, object]) -> dict[str, object]:
    """The policy as moto's check may see it, without the conditions that moto does not know.

    Raises moto's SNSInvalidParameter.
    """
    try:
        parse_pattern(json.dumps(policy))
    except PatternError as error:
        reason = str(error).removeprefix("Event pattern is not valid. Reason: ")
        raise SNSInvalidParameter(f"Invalid parameter: FilterPolicy: {reason}") from error
    return cast("dict[str, object]", _plain(policy))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {"prefix": ""} if value.keys() == {"cidr"} else {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _matches(self: FilterPolicyMatcher, message_attributes: Mapping[str, _Attribute] | None, message: str) -> bool:
    if not self.filter_policy:
        return True
    if self.filter_policy_scope == "MessageAttributes":
        attributes = (message_attributes or {}).items()
        return patterns.matches(self.filter_policy, {name: _value(attribute) for name, attribute in attributes})
    try:
        body = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return patterns.matches(self.filter_policy, body)


def _value(attribute: _Attribute) -> object:
    """An attribute's value: text, a number, or the members of an array; none of bytes."""
    kind, value = attribute["Type"].partition(".")[0], attribute["Value"]
    try:
        if attribute["Type"] == "String.Array":
            return json.loads(value)
        return float(value) if kind == "Number" else value if kind == "String" else {}
    except ValueError:
        return {}
