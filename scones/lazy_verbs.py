"""Verbs whose code is imported when they are called: no verb pays for another, and the list of them for none.

Runs on a laptop or in CodeBuild.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

if TYPE_CHECKING:
    from typer._click import Command, Context


@dataclass(frozen=True)
class LazyVerb:
    """Where a verb's code stands, ``module:name`` of a function or of a `typer.Typer`, and its line in the list."""

    place: str
    help: str

    def load(self, name: str) -> Command:
        """Import the code and make a command of it."""
        module, _, attribute = self.place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
            alone.command(name=name)(found)
            found = alone
        command = get_command(found)
        command.name = name
        return command


def lazy_group(verbs: Mapping[str, LazyVerb]) -> type[TyperGroup]:
    """Make a class of groups that know their verbs by line, and import the one that is called."""

    class LazyGroup(TyperGroup):
        """Lists lines; resolves to code."""

        def __init__(self, **attributes: object) -> None:
            super().__init__(**attributes)  # type: ignore[arg-type]  # typer's own keywords, handed on
            self.commands = {name: TyperCommand(name, help=verb.help) for name, verb in verbs.items()}

        def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
            name, line, rest = super().resolve_command(ctx, args)
            return name, verbs[name].load(name) if line and name else None, rest

    return LazyGroup


def whole_group(verbs: Mapping[str, LazyVerb]) -> TyperGroup:
    """Import every verb: for what looks at all of them."""
    return TyperGroup(commands={name: verb.load(name) for name, verb in verbs.items()})
