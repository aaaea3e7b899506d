"""The page that says what becomes of each member of a request: acted on, taken without effect, refused.

Printed by ``local_account.server.catalogue`` from the tables that the front refuses by (`protocol.members`), so that it
promises nothing that is not so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from local_account.protocol.members import MemberTable, paths_of, tables

HEAD = """# Members of requests in the stand-in account

Printed by `python -m local_account.server.catalogue` from the tables by which the account refuses. A member that is
acted on has the effect that AWS's API reference tells of; one that is taken without effect changes nothing here, for
the reason that is given; every other one is refused by name when it asks for anything, and so is an operation that is
not in its service's table. A name stands for all that is inside; `Name.…` for some of it.
"""


def members_page() -> str:
    """The whole page in Markdown."""
    return "\n".join([HEAD, *(line for table in tables() for line in _service(table))]) + "\n"


def _service(table: MemberTable) -> Iterator[str]:
    yield f"## {table.service}"
    yield ""
    reasons = [f"- taken without effect: {why} (`{path}`)" for path, why in sorted(table.harmless.items())]
    reasons += [f"- refused: {why} (`{path}`)" for path, why in sorted(table.reasons.items())]
    values = {path: ", ".join(f"`{each}`" for each in taken) for path, taken in sorted(table.values.items())}
    reasons += [f"- `{path}` takes {taken}" for path, taken in values.items()]
    if reasons:
        yield from (*reasons, "")
    yield "| operation | acted on | refused |"
    yield "| --- | --- | --- |"
    for operation in sorted(table.acts):
        yield _row(table, operation)
    yield ""


def _row(table: MemberTable, operation: str) -> str:
    shape = table.shape(operation)
    known = sorted(paths_of(shape)) if shape else []
    refused = {*table.untouched(operation)}
    harmless = {path for path in known if path not in refused and not _acts(table, operation, path)}
    acted = [path for path in known if path not in refused | harmless]
    return f"| {operation} | {_shown(acted, known)} | {_shown(refused, known)} |"


def _acts(table: MemberTable, operation: str, path: str) -> bool:
    named = (each.removesuffix(".**") for each in (*table.acts[operation], *table.everywhere))
    return any(path == each or path.startswith(f"{each}.") for each in named)


def _shown(paths: Iterable[str], known: Iterable[str]) -> str:
    """The members at the top of some paths; ``Name.…`` where not all that is known of it is among them."""
    chosen, whole = set(paths), list(known)
    tops = sorted({path.partition(".")[0] for path in chosen})
    inside = {top: {path for path in whole if path.partition(".")[0] == top} for top in tops}
    return " ".join(f"`{top}`" if inside[top] <= chosen else f"`{top}.…`" for top in tops)
