"""The register of what is replaced in moto: each replacement says what, by what, why, and where it belongs upstream.

Used in the server process. A room calls `replace` while it is installed; a name that moto no longer has, or whose
parameters are not those that ours takes, ends the start by name instead of a failure hours later. A subclass that
moto's own interface lets us put in its place is no replacement and has no entry here.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from local_account.base.errors import AccountError


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
