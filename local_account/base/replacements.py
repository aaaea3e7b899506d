"""The register of what is ours in moto: what is replaced, and which of its classes are extended.

Used in the server process. A room calls `replace` while it is installed, and marks each subclass of a class of moto's
with `extends`. A name that moto no longer has, or whose parameters are not those that ours takes, ends the start by
name instead of a failure hours later. `table` is what ``docs/upstream/README.md`` shows. `use_backend` gives moto the
class that it makes a service's backends of, and that class says by `answered_by` what answers the requests.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from local_account.base.errors import AccountError

if TYPE_CHECKING:
    from moto.core.base_backend import BackendDict, BaseBackend
    from moto.core.common_types import TYPE_RESPONSE

    # What answers one address: the request, its URL and its headers make status, headers and body.
    Handler = Callable[[object, str, object], TYPE_RESPONSE]
    Handlers = dict[str, Handler]

_Class = TypeVar("_Class", bound=type)
_Backend = TypeVar("_Backend", bound="BaseBackend")


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
        return _is_private(self.name)


@dataclass(frozen=True)
class Extension:
    """One class of moto's that ours derives from, put where moto's interface takes a class or an object of it."""

    theirs: str
    """The class, dotted."""
    overridden: tuple[str, ...]
    """The names of moto's that ours answers instead, public and private."""


_REGISTER: dict[tuple[str, str], Replacement] = {}
_EXTENSIONS: dict[str, Extension] = {}


def replace(
    owner: object, name: str, ours: object, *, why: str, upstream: str = "", kept_by: Collection[str] = ()
) -> None:
    """Put ``ours`` in the place of ``owner.name``, a module's or a class's, and note it.

    The modules ``kept_by`` may go on with moto's own: they only ask whether an object is of that class. Raises
    AccountError when there is no such name, it was replaced before, the parameters are not the same, or another module
    of moto's was imported before and goes on with what was there.
    """
    where = _dotted(owner)
    if (where, name) in _REGISTER:
        raise AccountError(f"{where}.{name} is replaced twice: one replacement has to do both things")
    theirs = inspect.getattr_static(owner, name, None)
    if theirs is None:
        raise AccountError(f"moto no longer has {where}.{name}, which is replaced here because {why}")
    _check_parameters(f"{where}.{name}", theirs, ours)
    if holders := [holder for holder in _holders(where, name, theirs) if holder not in kept_by]:
        raise AccountError(f"{where}.{name} was imported by {', '.join(holders)} before it could be replaced")
    setattr(owner, name, ours)
    _REGISTER[where, name] = Replacement(where, name, why, upstream)


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


def extends(ours: _Class) -> _Class:
    """Mark a class of ours that derives from one of moto's, and check what it overrides; a class decorator.

    A method whose name begins with one underscore overrides one of moto's: helpers of ours are functions. Raises
    AccountError when moto has no such method, or with other parameters.
    """
    theirs = next(base for base in ours.__mro__[1:] if base.__module__.startswith("moto."))
    overridden = []
    for name, member in vars(ours).items():
        if name.startswith("__") or not (inspect.isroutine(member) or isinstance(member, property)):
            continue
        original = next((vars(base)[name] for base in ours.__mro__[1:] if name in vars(base)), None)
        if original is not None:
            _check_parameters(f"{_dotted(theirs)}.{name}", original, member)
            overridden.append(name)
        elif _is_private(name):
            raise AccountError(f"moto no longer has {_dotted(theirs)}.{name}, which {ours.__qualname__} overrides")
    _EXTENSIONS[f"{ours.__module__}.{ours.__qualname__}"] = Extension(_dotted(theirs), tuple(sorted(overridden)))
    return ours


def replacements() -> list[Replacement]:
    """All that was replaced so far, by owner and name."""
    return [_REGISTER[key] for key in sorted(_REGISTER)]


def extensions() -> list[Extension]:
    """All classes of moto's that were extended so far, by name."""
    return sorted(_EXTENSIONS.values(), key=lambda extension: (extension.theirs, extension.overridden))


def table() -> str:
    """Both lists as Markdown."""
    lines = ["| replaced | why | upstream |", "| --- | --- | --- |"]
    for each in replacements():
        patch = f"[{each.upstream.partition('-')[0]}]({each.upstream})" if each.upstream else ""
        lines.append(f"| `{each.owner.removeprefix('moto.')}.{each.name}` | {each.why} | {patch} |")
    lines += ["", "| extended | overridden |", "| --- | --- |"]
    for extension in extensions():
        names = ", ".join(f"`{name}`" for name in extension.overridden)
        lines.append(f"| `{extension.theirs.removeprefix('moto.')}` | {names} |")
    return "\n".join(lines) + "\n"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _dotted(owner: object) -> str:
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}"
    return str(getattr(owner, "__name__", owner))


def _holders(where: str, name: str, theirs: object) -> list[str]:
    """Modules of moto's that took a name from the module ``where``, which defines it."""
    if getattr(theirs, "__module__", where) != where:
        return []  # one of many references to what another module defines
    modules = {n: module for n, module in list(sys.modules.items()) if n.startswith("moto.") and n != where}
    return [n for n, module in modules.items() if vars(module).get(name) is theirs]


def _check_parameters(what: str, theirs: object, ours: object) -> None:
    """Ours must be callable as theirs is; what is no function (a constant, a property) is not compared."""
    if isinstance(theirs, property) != isinstance(ours, property):
        raise AccountError(f"{what} is {'a property' if isinstance(theirs, property) else 'no property'} in this moto")
    expected, found = _parameters(theirs), _parameters(ours)
    if expected is None or found is None or any(p.kind is p.VAR_POSITIONAL for p in found.values()):
        return
    if list(expected) != list(found):
        raise AccountError(f"{what} takes {', '.join(expected)} in this moto, and what replaces it {', '.join(found)}")


def _parameters(value: object) -> dict[str, inspect.Parameter] | None:
    function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
    if not callable(function) or isinstance(function, type):
        return None
    plain: Callable[..., object] = inspect.unwrap(function)
    return dict(inspect.signature(plain).parameters) if inspect.isroutine(plain) else None
