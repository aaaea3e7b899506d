"""Components of moto's interpreter that are ours: which class extends which, and putting them into a parsed program.

Runs in the server process. A program that moto's parser has read is a tree of components; `adopt` gives each of them a
class in which ours stands directly before the one of moto's that it extends, so that subclasses of moto's keep what
they override themselves.
"""

from __future__ import annotations

import types
from functools import cache
from typing import TypeVar

from moto.stepfunctions.parser.asl.component.component import Component

from local_account.base.replacements import extends

_Component = TypeVar("_Component", bound=type[Component])
_OURS: dict[type[Component], type[Component]] = {}


def component(ours: _Component) -> _Component:
    """Mark a class of ours for components of the class that it extends, and of that one's subclasses."""
    _OURS[ours.__mro__[1]] = extends(ours)
    return ours


def adopt(part: Component) -> None:
    """Make one component of a parsed program ours, where a class of ours extends its class."""
    part.__class__ = _own_class(type(part))


@cache
def _own_class(kind: type[Component]) -> type[Component]:
    ours = tuple(_OURS[base] for base in kind.__mro__ if base in _OURS)
    if not ours or issubclass(kind, ours):
        return kind
    bases = ours if kind in _OURS else (kind, *ours)
    # Under moto's name, which is the name of a field in the causes of errors.
    made: type[Component] = types.new_class(kind.__name__, bases, exec_body=lambda body: body.update(_place_of(kind)))
    return made


def _place_of(kind: type[Component]) -> dict[str, object]:
    return {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
