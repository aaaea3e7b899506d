"""The register of what is replaced in moto: each replacement says what, by what, why, and where it belongs upstream.

Used in the server process. A room calls `replace` while it is installed; a name that moto no longer has, or whose
parameters are not those that ours takes, ends the start by name instead of a failure hours later. A subclass that
moto's own interface lets us put in its place is no replacement and has no entry here: `use_backend` gives moto the
class that it makes a service's backends of, and that class says by `answered_by` what answers the requests.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from local_account.base.errors import AccountError

if TYPE_CHECKING:
    from moto.core.base_backend import BackendDict, BaseBackend
    from moto.core.common_types import TYPE_RESPONSE

    # What answers one address: the request, its URL and its headers make status, headers and body.
    Handler = Callable[[object, str, object], TYPE_RESPONSE]
    Handlers = dict[str, Handler]

_Backend = TypeVar("_Backend", bound="BaseBackend")


def use_backend(backends: BackendDict[_Backend], ours: type[_Backend]) -> None:
    """Have moto make the backends of a service of ``ours``, a subclass of its own class.

    Raises AccountError when it is no subclass, or when a backend was made before.
    """
    if not issubclass(ours, backends.backend):
        raise AccountError(f"{_dotted(ours)} is no subclass of moto's {_dotted(backends.backend)}")
    if backends:
        raise AccountError(f"moto's {backends.service_name} was used before {_dotted(ours)} took its place")
    backends.backend = ours


def answered_by(response: type, paths: Mapping[str, Handler]) -> Handlers:
    """A backend's ``url_paths``: the addresses of moto's table ``paths``, answered by the methods of ``response``."""
    return {path.format(""): getattr(response, handler.__name__) for path, handler in paths.items()}


@dataclass(frozen=True)
class Replacement:
    """One attribute of moto's that is ours."""

    owner: str
    """Module or class, dotted."""
    name: str
    why: str
    upstream: str
    """The patch text in ``docs/upstream/`` that would make it needless; empty where moto is not at fault."""

    @property
    def private(self) -> bool:
        """Whether the name is none of moto's interface."""
        return self.name.startswith("_") and not self.name.startswith("__")


_REGISTER: dict[tuple[str, str], Replacement] = {}


def replace(owner: object, name: str, ours: object, *, why: str, upstream: str = "") -> None:
    """Put ``ours`` in the place of ``owner.name``, a module's or a class's, and note it.

    Raises AccountError when there is no such name, it was replaced before, or the parameters are not the same.
    """
    where = _dotted(owner)
    if (where, name) in _REGISTER:
        raise AccountError(f"{where}.{name} is replaced twice: one replacement has to do both things")
    theirs = inspect.getattr_static(owner, name, None)
    if theirs is None:
        raise AccountError(f"moto no longer has {where}.{name}, which is replaced here because {why}")
    _check_parameters(f"{where}.{name}", theirs, ours)
    setattr(owner, name, ours)
    _REGISTER[where, name] = Replacement(where, name, why, upstream)


def replacements() -> list[Replacement]:
    """All that was replaced so far, by owner and name."""
    return [_REGISTER[key] for key in sorted(_REGISTER)]


def _dotted(owner: object) -> str:
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}"
    return str(getattr(owner, "__name__", owner))


def _check_parameters(what: str, theirs: object, ours: object) -> None:
    """Ours must be callable as theirs is; what is no function (a constant, a property) is not compared."""
    expected, found = _parameters(theirs), _parameters(ours)
    if expected is None or found is None or any(p.kind is p.VAR_POSITIONAL for p in found.values()):
        return
    if list(expected) != list(found):
        raise AccountError(f"{what} takes {', '.join(expected)} in this moto, and what replaces it {', '.join(found)}")


def _parameters(value: object) -> dict[str, inspect.Parameter] | None:
    function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
    if not inspect.isroutine(function):
        return None
    return dict(inspect.signature(inspect.unwrap(function)).parameters)
