"""Which members of a request the account acts on, by operation; every other one is refused by name.

Runs in the server process. A room writes a table of each service that it answers as TOML and registers it while it is
installed: ``register(Path(__file__).with_name("members.toml"))``, for several ``register_folder``. From then on the
front of the account (moto's services) and the front of `protocol.service` (our own) refuse what the table does not
name, so that neither a new version of botocore nor a new operation brings a member that does nothing.

    service = "lambda"                          # as requests are signed
    model = "lambda"                            # botocore's name of it, where that is another one
    code = "InvalidParameterValueException"     # how the service calls a value that it does not take

    [acts]        # an operation's members that are acted on; an operation that is not here is refused whole
    CreateAlias = "FunctionName Name FunctionVersion RoutingConfig.AdditionalVersionWeights"
    CreateFunction = "FunctionName Code.{ZipFile S3Bucket S3Key} Environment.Variables"

    "*" = "ExpectedBucketOwner"     # members that are acted on wherever they are

    [values]      # members of which only these values are taken: those that ask for what is done anyway
    "CreateFunction.PackageType" = ["Zip"]

    [harmless]    # members that may be left undone, by the reason; operations with * match several
    "the whole list is answered at once" = "List*.{MaxItems Marker}"

    [refused]     # why a member is refused, where its name does not say it; refused also when it is false or empty
    "CreateFunction.VpcConfig" = "functions run on this machine, in no network of their own"

Members of structures are joined by dots, lists and maps leave no trace; braces hold alternatives. A structure is named
by its members, or with ``.**`` where it is acted on whatever it holds. A member that is not in the table may be sent
when it asks for nothing: false, empty or null. ``MemberTable.problems`` says what in a table the model lacks.
"""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import botocore.session

if TYPE_CHECKING:
    from botocore.model import ServiceModel, Shape

WHOLE = "**"
Tree = dict[str, "Tree"]
"""Members by name, and below each those of its structure; empty for one without members."""


class TableFile(TypedDict, total=False):
    """A table's file."""

    service: str
    model: str
    code: str
    acts: dict[str, str]
    values: dict[str, list[object]]
    harmless: dict[str, str]
    refused: dict[str, str]


@dataclass(frozen=True)
class MemberRefusal:
    """A member of a request that nothing here acts on; ``why`` is a sentence for the client."""

    operation: str
    member: str
    why: str


@dataclass(frozen=True)
class _Rule:
    """What is done about one member: the values that are taken, or why it is refused."""

    taken: tuple[object, ...]
    why: str
    passes: bool = False
    always: bool = False
    """Whether it is refused also when it asks for nothing."""


@dataclass(frozen=True)
class MemberTable:
    """What one service's operations act on."""

    service: str
    model_name: str
    code: str
    acts: Mapping[str, tuple[str, ...]]
    """The paths by operation."""
    everywhere: tuple[str, ...] = ()
    """Paths that are acted on in every operation that has them."""
    values: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """The values that are taken, by ``Operation.Path``."""
    harmless: Mapping[str, str] = field(default_factory=dict)
    """The reason, by ``Operation.Path``, of which the operation may hold ``*``."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a member is refused, by ``Operation.Path``."""
    _rules: dict[tuple[str, str], _Rule] = field(default_factory=dict, compare=False)

    @cached_property
    def model(self) -> ServiceModel:
        """botocore's model of the service."""
        return botocore.session.get_session().get_service_model(self.model_name)

    @cached_property
    def trees(self) -> dict[str, Tree]:
        """What may be sent of each operation."""
        return {name: _tree([*paths, *self.everywhere, *self._let_pass(name)]) for name, paths in self.acts.items()}

    def shape(self, operation: str) -> Shape | None:
        """The input of an operation; None where it has none."""
        return self.model.operation_model(operation).input_shape if operation in self.model.operation_names else None

    def refusals(self, operation: str, request: Mapping[str, object]) -> Iterator[MemberRefusal]:
        """What of a request nothing acts on. ``request`` is in the members of botocore's model."""
        shape = self.shape(operation)
        if shape is None or operation not in self.acts:
            return
        for path, value in _given(request, shape, ""):
            if why := self._refused(operation, path, value):
                yield MemberRefusal(operation, path, why)

    def untouched(self, operation: str) -> list[str]:
        """The paths of the model that are neither acted on nor harmless."""
        shape, tree = self.shape(operation), self.trees[operation]
        return [] if shape is None else sorted(path for path in paths_of(shape) if not _allows(tree, path))

    def problems(self) -> list[str]:
        """What in the table the model lacks, and structures that are not named by their members."""
        found = [f"{name} is no operation of {self.model_name}" for name in self.acts.keys() - self._operations()]
        named = [(name, path) for name, paths in self.acts.items() for path in paths]
        return found + [problem for name, path in (*named, *self._exact()) if (problem := self._problem(name, path))]

    def _operations(self) -> set[str]:
        return set(self.model.operation_names)

    def _exact(self) -> list[tuple[str, str]]:
        keys = (key.partition(".") for key in (*self.values, *self.harmless, *self.reasons))
        return [(name, path) for name, _, path in keys if "*" not in name]

    def _problem(self, operation: str, path: str) -> str:
        shape = self.shape(operation)
        known = set(paths_of(shape)) if shape else set()
        whole = path.removesuffix(f".{WHOLE}")
        if path == whole and path in known:
            return ""
        if any(each == whole or each.startswith(f"{whole}.") for each in known):
            inside = f"{operation}.{path} is a structure: name its members, or {path}.{WHOLE} for whatever it holds"
            return "" if path != whole or f"{operation}.{path}" in self.reasons else inside
        return f"{operation} has no member {path}"

    def _let_pass(self, operation: str) -> Iterator[str]:
        for key in (*self.harmless, *self.values):
            name, _, path = key.partition(".")
            if fnmatch.fnmatchcase(operation, name):
                yield path

    def _taken(self, operation: str, path: str) -> tuple[object, ...]:
        keys = (key for key in self.values if fnmatch.fnmatchcase(f"{operation}.{path}", key))
        return next((self.values[key] for key in keys), ())

    def _refused(self, operation: str, path: str, value: object) -> str:
        if (operation, path) not in self._rules:
            self._rules[operation, path] = self._rule(operation, path)
        rule = self._rules[operation, path]
        if rule.taken:
            shown = ", ".join(str(each) for each in rule.taken)
            return "" if value in rule.taken else f"takes {shown} for {operation}'s {path}, not {value!r}"
        return "" if rule.passes or (not rule.always and _asks_for_nothing(value)) else rule.why

    def _rule(self, operation: str, path: str) -> _Rule:
        """What holds for a member, found out once."""
        where = f"{operation}.{path}"
        said = f"does not implement {operation}'s {path}"
        for key, why in self.reasons.items():
            if where == key or where.startswith(f"{key}."):
                return _Rule(self._taken(operation, path), f"{said}: {why}", always=True)
        passes = _allows(self.trees[operation], path)
        return _Rule(self._taken(operation, path), said, passes=passes)


def _tree(paths: Iterable[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        node = tree
        for name in path.split("."):
            node = node.setdefault(name, {})
    return tree


def _allows(tree: Tree, path: str) -> bool:
    for name in path.split("."):
        if WHOLE in tree:
            return True
        if name not in tree:
            return False
        tree = tree[name]
    return True


def _asks_for_nothing(value: object) -> bool:
    return value is None or value is False or value in ("", b"", [], {})


def paths_of(shape: Shape, before: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """The paths of a structure's members, each to where no structure is below it; a structure in itself is one step."""
    for name, member in shape.members.items():
        path, inner = f"{before}{name}", _structure(member)
        if inner is None or not inner.members or inner.name in above:
            yield path
        else:
            yield from paths_of(inner, f"{path}.", above | {shape.name, inner.name})


def _structure(shape: Shape) -> Shape | None:
    """The structure that a shape is, or that the items of its lists and maps are."""
    while shape.type_name in {"list", "map"}:
        shape = shape.member if shape.type_name == "list" else shape.value
    return shape if shape.type_name == "structure" else None


def _given(value: object, shape: Shape, path: str) -> Iterator[tuple[str, object]]:
    """The members that a request has, each as far as no structure is below it."""
    if shape.type_name == "structure" and not shape.members:
        if path:
            yield path, value is not None  # to be there is all that it can say
    elif shape.type_name == "structure" and isinstance(value, Mapping):
        for name, member in value.items():
            if name in shape.members:
                yield from _given(member, shape.members[name], f"{path}.{name}" if path else str(name))
    elif shape.type_name in {"list", "map"} and _structure(shape) is not None and isinstance(value, Mapping | list):
        inner = shape.member if shape.type_name == "list" else shape.value
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _given(item, inner, path)
    else:
        yield path, value


def expanded(words: str) -> list[str]:
    """Paths of a text with words and braces: ``A.{B C.{D E}}`` becomes ``A.B``, ``A.C.D`` and ``A.C.E``."""
    paths, stack, word = [], [""], ""
    for character in f"{words} ":
        if character == "{":
            stack.append(stack[-1] + word)
            word = ""
        elif character == "}" or character.isspace():
            paths += [stack[-1] + word] if word else []
            word = ""
            if character == "}":
                stack.pop()
        else:
            word += character
    return paths


_TABLES: dict[str, MemberTable] = {}


def read_table(file: Path) -> MemberTable:
    """The table of a TOML file."""
    held = cast("TableFile", tomllib.loads(file.read_text(encoding="utf-8")))
    harmless = {path: why for why, words in held.get("harmless", {}).items() for path in expanded(words)}
    return MemberTable(
        held["service"],
        held.get("model", held["service"]),
        held.get("code", "ValidationException"),
        {name: tuple(expanded(words)) for name, words in held["acts"].items() if name != "*"},
        tuple(expanded(held["acts"].get("*", ""))),
        {path: tuple(values) for path, values in held.get("values", {}).items()},
        harmless,
        held.get("refused", {}),
    )


def register(file: Path) -> None:
    """Hold the requests of a service against the table of a file."""
    table = read_table(file)
    _TABLES[table.service] = table


def register_folder(folder: Path) -> None:
    """Register each table of a folder."""
    for file in sorted(folder.glob("*.toml")):
        register(file)


def table_of(service: str) -> MemberTable | None:
    """The table of a service, by the name that requests are signed with."""
    return _TABLES.get(service)


def tables() -> list[MemberTable]:
    """All that were registered, by service."""
    return [_TABLES[name] for name in sorted(_TABLES)]
