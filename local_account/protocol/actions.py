"""Actions of a service: methods that say which call of the API they implement, and the error that they answer with.

Runs in the server process. A method is marked with the name that the API gives it; any object may hold such methods:

    class Tags:
        @action("AddTags")
        def add(self, request: AddTagsInputTypeDef) -> Reply: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""
Reply = Mapping[str, object]
"""What an action answers: the members of the operation's output in botocore's model."""
Action = Callable[..., Reply | None]
"""Takes the request, of the shape that its own annotation names; None answers an empty structure."""
_Marked = TypeVar("_Marked", bound=Action)


class ServiceError(Exception):
    """An error as the service answers it, with the HTTP status ``status``.

    ``code`` is the exception's name on the wire; empty, it is the service's word for a request that it does not accept.
    """

    def __init__(self, message: str, code: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def action(*names: str) -> Callable[[_Marked], _Marked]:
    """Mark a method as the implementation of the API's actions ``names``."""

    def mark(method: _Marked) -> _Marked:
        method.__dict__["aws_actions"] = names
        return method

    return mark


def actions_of(holder: object) -> dict[str, Action]:
    """The marked methods of an object (or a class), by the action's name."""
    found: dict[str, Action] = {}
    cls = holder if isinstance(holder, type) else type(holder)
    for attribute in dir(cls):
        names = getattr(getattr(cls, attribute), "__dict__", {}).get("aws_actions", ())
        found |= {name: getattr(holder, attribute) for name in names}
    return found
