"""Words of CloudWatch Logs Insights' query language.

Runs in the server process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from local_account.logs import conditions


class InsightsError(ValueError):
    """A query that Insights does not take, or that nothing here carries out."""


_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*\s*)*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<regex>/(?:[^/\\\n]|\\.)+/i?)
      | (?P<name>`[^`]+`|@?[A-Za-z_][\w@]*(?:\.[\w@]+|\[\d+\])*)
      | (?P<span>\d+(?:ms|mo|[smhdwqy])\b)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<mark>=~|!=|<=|>=|[=<>()\[\],|*+/%^-])
    )""",
    re.VERBOSE,
)
_DIVISION = re.compile(r"\s*(?P<mark>/)")


@dataclass(frozen=True)
class Token:
    """A word, what kind of one it is, and where in the query it stands."""

    kind: str
    text: str
    begin: int
    end: int


def tokens_of(query: str) -> list[Token]:
    """The words of a query without its comments; raises InsightsError."""
    found: list[Token] = []
    at, end = 0, len(re.sub(r"(\s|#[^\n]*)*\Z", "", query))
    while at < end:
        match = _TOKEN.match(query, at)
        if match is not None and match.lastgroup == "regex" and not _may_be_regex(found):
            match = _DIVISION.match(query, at)
        if match is None or match.lastgroup is None:
            raise InsightsError(f"unexpected symbol found {query[at:].strip()[:20]} at {at}")
        kind = match.lastgroup
        found.append(Token(kind, match.group(kind), match.start(kind), match.end(kind)))
        at = match.end()
    return found


def _may_be_regex(before: list[Token]) -> bool:
    """Whether a slash begins a regular expression, and does not divide."""
    since = [token.text.lower() for token in before]
    command = since[len(since) - since[::-1].index("|") :] if "|" in since else since
    return since[-1:] in (["like"], ["=~"]) or command[:1] == ["parse"]


class QueryReader:
    """Goes through the words of a query."""

    def __init__(self, query: str) -> None:
        self.query, self._tokens, self._at = query, tokens_of(query), 0

    @property
    def next(self) -> Token:
        """The word that comes; one without text at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else Token("end", "", -1, -1)

    def take(self) -> Token:
        """The word that comes, and go on."""
        token = self.next
        self._at += 1
        return token

    def took(self, *words: str) -> bool:
        """Whether these words come, in any case of letters; then go on behind them."""
        coming = self._tokens[self._at : self._at + len(words)]
        there = len(coming) == len(words) and all(
            token.kind in {"name", "mark"} and token.text.lower() == word
            for token, word in zip(coming, words, strict=True)
        )
        self._at += len(words) if there else 0
        return there

    def expect(self, kind: str, text: str = "") -> Token:
        """The word that comes, which has to be of a kind; raises InsightsError."""
        token = self.take()
        if token.kind != kind or (text and token.text != text):
            raise InsightsError(f"expected {text or kind}, got {token.text or 'the end of the query'}")
        return token

    def since(self, begin: Token) -> str:
        """What the query says from a word to the last one that was taken."""
        return self.query[begin.begin : self._tokens[self._at - 1].end]


def unquoted(text: str) -> str:
    """What stands between quotation marks or backticks."""
    return text[1:-1] if text[0] == "`" else conditions.unquoted(text)
