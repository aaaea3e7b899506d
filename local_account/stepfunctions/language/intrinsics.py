"""Intrinsic functions: how their text is read, and States.Format.

Runs in the server process. In a string of a call a backslash may stand before a quote, a brace or a backslash, and
before nothing else (states-language.net, "Intrinsic Functions"); moto's grammar knows other escapes.
"""

from __future__ import annotations

import re

from antlr4 import CommonTokenStream, InputStream
from antlr4.tree.Tree import ParseTree
from moto.stepfunctions.parser.asl.antlr.runtime.ASLIntrinsicLexer import ASLIntrinsicLexer
from moto.stepfunctions.parser.asl.antlr.runtime.ASLIntrinsicParser import ASLIntrinsicParser
from moto.stepfunctions.parser.asl.component.intrinsic.argument.argument import ArgumentLiteral
from moto.stepfunctions.parser.asl.component.intrinsic.function.function import Function
from moto.stepfunctions.parser.asl.component.intrinsic.function.statesfunction.generic.string_format import (
    StringFormat,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.parse.asl_parser import ASLParserException, SyntaxErrorListener
from moto.stepfunctions.parser.asl.parse.intrinsic.preprocessor import Preprocessor

from local_account.base.replacements import extends
from local_account.stepfunctions.language.components import component

# What the grammar does not take in a string is written as a mark and a character of the private use area meanwhile.
MARK = "\U0010fffd"
_PRIVATE = 0xE000
_ESCAPABLE = "'{}\\"
_STRING = re.compile(r"'(?:\\.|[^'\\])*'", re.DOTALL)
_SPECIAL = re.compile(rf"\\(.)|([\x00-\x1f\x7f\"{MARK}])", re.DOTALL)
_MARKED = re.compile(f"{MARK}(.)", re.DOTALL)


@extends
class _CallReader(Preprocessor):
    """Reads a call as moto does, but for the escapes in its strings."""

    @staticmethod
    def _text_of_str(parse_tree: ParseTree) -> str:
        return str(parse_tree.getText())[1:-1]


def intrinsic_function(call: str) -> Function:
    """The function of a call. Raises ASLParserException for what is none, ValueError for an escape that is none."""
    listener = SyntaxErrorListener()
    lexer = ASLIntrinsicLexer(InputStream(_STRING.sub(_marked, call)))
    parser = ASLIntrinsicParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(listener)
    tree = parser.func_decl()
    if listener.errors:
        raise ASLParserException(errors=listener.errors)
    found: Function = _CallReader().visit(tree)
    return found


def _marked(string: re.Match[str]) -> str:
    return _SPECIAL.sub(_mark, string[0])


def _mark(special: re.Match[str]) -> str:
    escaped, character = special[1], special[2]
    if escaped is not None and escaped not in _ESCAPABLE:
        raise ValueError(f"'{special[0]}' is no escape in an intrinsic function; those are \\', \\{{, \\}} and \\\\")
    wanted = escaped or character
    return MARK + ("m" if wanted == MARK else chr(_PRIVATE + ord(wanted)))


def _meant(text: str) -> str:
    return _MARKED.sub(lambda found: MARK if found[1] == "m" else chr(ord(found[1]) - _PRIVATE), text)


@component
class LiteralArgument(ArgumentLiteral):
    """A literal in a call."""

    def _eval_argument(self, env: Environment) -> object:  # noqa: ARG002  # moto's
        value = self.definition_value
        return _meant(value) if isinstance(value, str) else value


@component
class FormatCall(StringFormat):
    """States.Format: each pair of braces takes the next argument."""

    def _eval_body(self, env: Environment) -> None:
        first = self.argument_list.arguments[0]
        self.argument_list.eval(env=env)
        template, *values = env.stack.pop()
        if isinstance(first, ArgumentLiteral):
            template = first.definition_value
        if not isinstance(template, str):
            raise TypeError("The first argument of States.Format must be a string")
        pieces = template.split(self._DELIMITER)
        if len(pieces) != len(values) + 1:
            told = "The number of arguments does not match the number of occurrences of {} in the format string"
            raise ValueError(f"{told}: {len(values)} of {len(pieces) - 1}")
        texts = [*map(self._to_str_repr, values), ""]
        env.stack.append("".join(_meant(piece) + text for piece, text in zip(pieces, texts, strict=True)))
