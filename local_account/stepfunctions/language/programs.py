"""A definition as the interpreter wants it: parsed once, its components made ours, each expression's place noted on it.

Runs in the server process. Programs are shared by all executions of a definition; evaluation keeps nothing in them.
A Distributed Map reaches moto's parser as an inline one without items; what it is goes on the parsed state.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from antlr4 import CommonTokenStream, InputStream
from antlr4.ParserRuleContext import ParserRuleContext
from antlr4.tree.Tree import ParseTree
from moto.stepfunctions.parser.asl.antlr.runtime.ASLLexer import ASLLexer
from moto.stepfunctions.parser.asl.antlr.runtime.ASLParser import ASLParser
from moto.stepfunctions.parser.asl.component.common.assign.assign_decl import AssignDecl
from moto.stepfunctions.parser.asl.component.common.jsonata.jsonata_template_value_terminal import (
    JSONataTemplateValueTerminalLit,
)
from moto.stepfunctions.parser.asl.component.common.query_language import QueryLanguage, QueryLanguageMode
from moto.stepfunctions.parser.asl.component.common.string.string_expression import (
    StringIntrinsicFunction,
    StringLiteral,
)
from moto.stepfunctions.parser.asl.component.component import Component
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.choice.choice_rule import ChoiceRule
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
from moto.stepfunctions.parser.asl.parse.asl_parser import ASLParserException, SyntaxErrorListener
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor

from local_account.base.replacements import extends
from local_account.stepfunctions import states as _states  # noqa: F401  # its components have to be ours
from local_account.stepfunctions import tasks as _tasks  # noqa: F401  # the same
from local_account.stepfunctions.language.components import adopt
from local_account.stepfunctions.language.definition import Machine, State, is_distributed, members_of
from local_account.stepfunctions.language.documents import DistributedMap, MapDocument
from local_account.stepfunctions.language.expressions import JsonataExpression
from local_account.stepfunctions.language.intrinsics import intrinsic_function
from local_account.stepfunctions.language.jsonata import body
from local_account.stepfunctions.language.queries import expressions, language_of
from local_account.stepfunctions.maps.iterations import MapState

# What of a Distributed Map moto's interpreter evaluates, as of any other state.
COMMON = {"Type", "Comment", "QueryLanguage", "InputPath", "OutputPath", "ResultPath", "ResultSelector", "Output"}
COMMON |= {"Assign", "Retry", "Catch", "Next", "End"}
INERT = {"StartAt": "Nothing", "States": {"Nothing": {"Type": "Pass", "End": True}}}
_PARTS = "moto.stepfunctions.parser.asl.component."


@dataclass
class _Once:
    """A program that the first who asks for it parses, while others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    program: Program | None = None


@extends
class _Reader(Preprocessor):
    """Has the query languages of the levels it is in for itself; moto's has one list for all, of which what an invalid
    definition had opened is never taken again."""

    def __init__(self) -> None:
        super().__init__()
        self._query_language_per_scope = []

    @staticmethod
    def _inner_string_of(parser_rule_context: ParserRuleContext) -> str | None:
        """The string that a literal stands for, not its text."""
        text = str(parser_rule_context.getText())
        found = json.loads(text)
        return found if found is None else str(found)

    def visitString_literal(self, ctx: ASLParser.String_literalContext) -> StringLiteral:  # noqa: N802  # moto's
        """A literal as JSON has it; moto reads it as a literal of Python."""
        return StringLiteral(literal_value=self._inner_string_of(ctx) or "")

    def visitJsonata_template_value_terminal_string_literal(  # noqa: N802  # moto's
        self, ctx: ASLParser.Jsonata_template_value_terminal_string_literalContext
    ) -> JSONataTemplateValueTerminalLit:
        """The same, in a template of JSONata."""
        return JSONataTemplateValueTerminalLit(value=self._inner_string_of(ctx.string_literal()))

    def _open_query_language_scope(self, parse_tree: ParseTree) -> None:
        """A state within one of JSONata may be of JSONPath, unless the whole machine is of JSONata."""
        scopes = self._query_language_per_scope
        if not scopes or scopes[0].query_language_mode == QueryLanguageMode.JSONata:
            super()._open_query_language_scope(parse_tree)
            return
        around, self._query_language_per_scope = scopes, [QueryLanguage()]
        try:
            super()._open_query_language_scope(parse_tree)
            found = self._query_language_per_scope[-1]
        finally:
            self._query_language_per_scope = around
        named = '"QueryLanguage"' in "".join(str(child.getText())[:15] for child in parse_tree.children)
        scopes.append(found if named else scopes[-1])

    def _inner_jsonata_expr(self, ctx: ParserRuleContext) -> str:
        self._raise_if_query_language_is_not(query_language_mode=QueryLanguageMode.JSONata, ctx=ctx)
        return body(self._inner_string_of(ctx) or "")

    def visitString_intrinsic_function(  # noqa: N802  # moto's
        self, ctx: ASLParser.String_intrinsic_functionContext
    ) -> StringIntrinsicFunction:
        """A call of an intrinsic function, by the text that the literal stands for."""
        call = str(json.loads(ctx.STRINGINTRINSICFUNC().getText()))
        return StringIntrinsicFunction(call, intrinsic_function(call))

    def visitChoice_rule_comparison_variable(self, ctx: ASLParser.Choice_rule_comparison_variableContext) -> ChoiceRule:  # noqa: N802  # moto's
        """A rule with one comparison, of which moto drops what it assigns."""
        rule = super().visitChoice_rule_comparison_variable(ctx)
        if rule.assign is None:
            found = [part for child in ctx.children if isinstance(part := self.visit(child), AssignDecl)]
            vars(rule)["assign"] = found[0] if found else None
        return rule


@lru_cache(maxsize=256)
def _once(_definition: str) -> _Once:
    return _Once()


def program_of(definition: str) -> Program:
    """The parsed definition; parsing takes tens of milliseconds."""
    once = _once(definition)
    with once.lock:
        if once.program is None:
            once.program = _parsed(definition)
        return once.program


def _parsed(definition: str) -> Program:
    machine: Machine = json.loads(definition)
    states: dict[str, State] = {}
    maps: dict[str, DistributedMap] = {}
    inline = _without_maps(machine, str(machine.get("QueryLanguage", "JSONPath")), states, maps)
    # Written anew, so that each string is as short as JSON allows: the grammar takes some by their first characters.
    program = parse(json.dumps(inline, ensure_ascii=False), states, maps)
    for found in maps.values():
        program_of(found.definition)  # what is wrong with it is found now
    return program


def parse(definition: str, states: Mapping[str, object], maps: Mapping[str, DistributedMap]) -> Program:
    """The program of a definition without Distributed Maps, as moto's parser makes it, of components that are ours.

    ``states`` are the members of all its states by their names, ``maps`` the Distributed Maps among them. Raises
    ASLParserException, or what moto raises for what it does not accept.
    """
    listener = SyntaxErrorListener()
    parser = ASLParser(CommonTokenStream(ASLLexer(InputStream(definition))))
    parser.removeErrorListeners()
    parser.addErrorListener(listener)
    tree = parser.state_machine()
    if listener.errors:
        raise ASLParserException(errors=listener.errors)
    program: Program = _Reader().visit(tree)
    _make_ours(program, states, maps)
    return program


def _without_maps(
    machine: Machine, language: str, states: dict[str, State], maps: dict[str, DistributedMap]
) -> dict[str, object]:
    """The machine without its Distributed Maps; gathers the states and those Maps by name."""
    changed: dict[str, object] = {}
    for name, value in members_of(machine["States"]).items():
        states[name] = state = members_of(value)
        own = language_of(state, language)
        if is_distributed(state):
            processor = members_of(state["ItemProcessor"])
            kept = {k: v for k, v in processor.items() if k in {"StartAt", "States", "Comment"}}
            maps[name] = DistributedMap(cast(MapDocument, state), own, json.dumps({"QueryLanguage": own, **kept}))
            changed[name] = {**{k: v for k, v in state.items() if k in COMMON}, "ItemProcessor": INERT}
            continue
        inner: dict[str, object] = {
            k: _without_maps(members_of(state[k]), own, states, maps)
            for k in ("ItemProcessor", "Iterator")
            if k in state
        }
        if isinstance(branches := state.get("Branches"), list):
            inner["Branches"] = [_without_maps(branch, own, states, maps) for branch in branches]
        changed[name] = {**state, **inner}
    return {**machine, "States": changed}


def _make_ours(program: Program, states: Mapping[str, object], maps: Mapping[str, DistributedMap]) -> None:
    """Give every component its class, each expression the field it stands in, each Distributed Map what it is."""
    seen: set[int] = set()
    waiting: list[tuple[object, dict[str, str]]] = [(program, {})]
    while waiting:
        part, places = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Component):
            adopt(part)
        if isinstance(part, CommonStateField):
            places = {expression: path for path, expression in expressions(states.get(part.name, {}))}
        if isinstance(part, MapState):
            part.distributed = maps.get(part.name)
            part.document = cast(MapDocument, states.get(part.name))
        if isinstance(part, JsonataExpression):
            part.location = places.get(part.expression)
        waiting += [(held, places) for held in _held_by(part)]


def _held_by(part: object) -> Iterable[object]:
    if isinstance(part, dict):
        return part.values()
    if isinstance(part, list | tuple):
        return part
    return vars(part).values() if type(part).__module__.startswith(_PARTS) and hasattr(part, "__dict__") else ()
