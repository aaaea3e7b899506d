"""The functions of templates whose arguments are evaluated before they are.

Runs in the server process. Source: CloudFormation's template reference, intrinsic functions.
"""

from __future__ import annotations

import base64
import ipaddress
import itertools
import json
from collections.abc import Callable, Mapping

from local_account.cloudformation.language.errors import template_error


def plain_text(value: object) -> str:
    """A value as CloudFormation writes it: booleans in small letters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_shown(value: object) -> object:
    """Properties as CloudFormation shows them: every scalar is text."""
    if isinstance(value, Mapping):
        return {key: as_shown(item) for key, item in value.items()}
    return [as_shown(item) for item in value] if isinstance(value, list) else plain_text(value)


def shown_json(value: object) -> str:
    """Properties as CloudFormation shows them, as JSON without spaces."""
    return json.dumps(as_shown(value), separators=(",", ":"))


def listed(argument: object) -> list[object]:
    """The arguments of a function; raises TypeError where there is no list of them."""
    if not isinstance(argument, list):
        raise TypeError(f"expected a list, got {argument!r}")
    return argument


def find_in_map(mappings: Mapping[str, Mapping[str, Mapping[str, object]]], argument: object) -> object:
    """The value of a map for two keys.

    Raises InvalidTemplateError for a map or a key that is not there.
    """
    name, first, second = (plain_text(each) for each in listed(argument)[:3])
    if name not in mappings:
        raise template_error(f"Mapping named '{name}' is not present in the 'Mappings' section of template.")
    try:
        return mappings[name][first][second]
    except KeyError:
        raise template_error(f"Unable to get mapping for {name}::{first}::{second}") from None


def _join(argument: object) -> str:
    separator, items = listed(argument)
    return str(separator).join(map(plain_text, listed(items)))


def _split(argument: object) -> list[str]:
    separator, text = listed(argument)
    return plain_text(text).split(str(separator))


def _select(argument: object) -> object:
    index, items = listed(argument)
    chosen = listed(items)
    if not plain_text(index).lstrip("-").isdigit():
        raise template_error("Fn::Select requires a list argument with two elements: an integer index and a list")
    if not 0 <= int(str(index)) < len(chosen):
        raise template_error(f"Fn::Select cannot select nonexistent value at index {index}")
    return chosen[int(str(index))]


def _base64(text: object) -> str:
    if isinstance(text, Mapping | list):
        raise template_error("every Fn::Base64 object must have a String-typed value.")
    return base64.b64encode(plain_text(text).encode()).decode()


def _cidr(argument: object) -> list[str]:
    block, count, *bits = listed(argument)
    network = ipaddress.ip_network(str(block))
    prefix = network.max_prefixlen - int(str(bits[0] if bits else 8))
    wanted = int(str(count))
    if not 1 <= wanted <= 256:
        raise ValueError(count)
    found = [str(each) for each in itertools.islice(network.subnets(new_prefix=prefix), wanted)]
    if len(found) < wanted:
        raise ValueError(count)
    return found


FUNCTIONS: dict[str, Callable[[object], object]] = {
    "Base64": _base64,
    "Cidr": _cidr,
    "Join": _join,
    "Length": lambda items: len(listed(items)),
    "Select": _select,
    "Split": _split,
    "ToJsonString": lambda value: json.dumps(value, separators=(",", ":")),
}
