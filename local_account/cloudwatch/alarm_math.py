"""CloudWatch's metric math, as far as alarms need it: arithmetic, comparisons, IF, FILL and sums over metrics.

Runs in the server process, on values: a series has one value (or None: no data) for each period that an alarm looks at,
oldest first. Follows "Using math expressions with CloudWatch metrics" in the CloudWatch User Guide: a result is missing
where an operand is, and where it would be divided by zero. Whatever else metric math knows is refused by name.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

Series = tuple[float | None, ...]
Value = float | Series | list[Series]  # a number, a time series, several of them

_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.And: lambda a, b: bool(a) and bool(b),
    ast.Or: lambda a, b: bool(a) or bool(b),
}
_AGGREGATES: dict[str, Callable[[Iterable[float]], float]] = {"SUM": sum, "AVG": fmean, "MIN": min, "MAX": max}
_FUNCTIONS = {*_AGGREGATES, "IF", "FILL", "METRICS", "ABS"}
# What the grammar spells differently from Python's, whose parser reads it.
_SPELLINGS = ((r"\^", "**"), (r"&&", " and "), (r"\|\|", " or "), (r"\bAND\b", "and"), (r"\bOR\b", "or"))


class MathError(Exception):
    """An expression that cannot be read, or that asks for what is not implemented."""


class Expression:
    """A parsed expression; ``names`` are the ids that it refers to."""

    def __init__(self, text: str) -> None:
        self.text = text
        spelled = text
        for pattern, python in _SPELLINGS:
            spelled = re.sub(pattern, python, spelled)
        try:
            self._tree = ast.parse(spelled.strip(), mode="eval").body
        except SyntaxError as error:
            raise MathError(f"The expression {text!r} cannot be read: {error.msg}.") from error
        self.names = {n.id for n in ast.walk(self._tree) if isinstance(n, ast.Name)} - _FUNCTIONS - {"REPEAT"}
        # Reading it through once meets all that is not implemented.
        self.over(dict.fromkeys(self.names, (1.0,)), list(self.names))

    def over(self, series: Mapping[str, Series], metrics: Sequence[str]) -> Series:
        """The expression's series; ``metrics`` are the ids that METRICS() stands for."""
        length = max((len(s) for s in series.values()), default=1)
        found = _Evaluation(self.text, series, metrics, length).value(self._tree)
        if isinstance(found, list):
            raise MathError(f"The expression {self.text!r} gives several time series; an alarm compares one.")
        return (found,) * length if isinstance(found, float) else found


class _Evaluation:
    def __init__(self, text: str, series: Mapping[str, Series], metrics: Sequence[str], length: int) -> None:
        self._text, self._series, self._metrics, self._length = text, series, metrics, length

    def value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.Name) and node.id in self._series:
            return self._series[node.id]
        if isinstance(node, ast.List):
            return [self._one(part) for part in node.elts]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._call(node.func.id, node.args)
        return self._operation(node)

    def _operation(self, node: ast.expr) -> Value:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self._each(operator.neg, self.value(node.operand))
        parts: list[ast.expr] = []
        operation: ast.AST = node
        if isinstance(node, ast.BinOp):
            operation, parts = node.op, [node.left, node.right]
        elif isinstance(node, ast.BoolOp):
            operation, parts = node.op, node.values
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            operation, parts = node.ops[0], [node.left, *node.comparators]
        if type(operation) not in _OPERATORS:
            raise self._unknown(ast.unparse(node))
        found, *others = [self.value(part) for part in parts]
        for other in others:
            found = self._each(_OPERATORS[type(operation)], found, other)
        return found

    def _unknown(self, part: str) -> MathError:
        return MathError(
            f"The stand-in account does not evaluate {part} in the metric math {self._text!r}: it knows arithmetic, "
            f"comparisons, AND, OR, and {', '.join(sorted(_FUNCTIONS))}."
        )

    def _one(self, node: ast.expr) -> Series:
        found = self.value(node)
        if isinstance(found, list):
            raise self._unknown(ast.unparse(node))
        return (found,) * self._length if isinstance(found, float) else found

    def _call(self, name: str, arguments: list[ast.expr]) -> Value:
        if name == "METRICS" and len(arguments) <= 1:
            return self._all_metrics(arguments)
        if name == "ABS" and len(arguments) == 1:
            return self._each(abs, self.value(arguments[0]))
        if name == "IF" and len(arguments) in (2, 3):
            return self._if(*arguments)
        if name == "FILL" and len(arguments) == 2:
            return self._fill(self.value(arguments[0]), arguments[1])
        if name in _AGGREGATES and len(arguments) == 1:
            return self._aggregate(_AGGREGATES[name], self.value(arguments[0]))
        raise self._unknown(f"{name} with {len(arguments)} argument(s)")

    def _all_metrics(self, arguments: list[ast.expr]) -> list[Series]:
        part = ""
        if arguments:
            if not (isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str)):
                raise self._unknown(f"METRICS({ast.unparse(arguments[0])})")
            part = arguments[0].value
        return [self._series[name] for name in self._metrics if part in name]

    def _if(self, condition: ast.expr, then: ast.expr, otherwise: ast.expr | None = None) -> Series:
        chosen, yes = self._one(condition), self._one(then)
        no: Series = self._one(otherwise) if otherwise is not None else (None,) * self._length
        return tuple(None if c is None else (y if c else n) for c, y, n in zip(chosen, yes, no, strict=True))

    def _fill(self, found: Value, filler: ast.expr) -> Value:
        if isinstance(found, list):
            return [self._filled(series, filler) for series in found]
        return found if isinstance(found, float) else self._filled(found, filler)

    def _filled(self, series: Series, filler: ast.expr) -> Series:
        if isinstance(filler, ast.Name) and filler.id == "REPEAT":
            last: float | None = None
            filled = []
            for value in series:
                last = last if value is None else value
                filled.append(last)
            return tuple(filled)
        return tuple(f if value is None else value for value, f in zip(series, self._one(filler), strict=True))

    def _aggregate(self, aggregate: Callable[[Iterable[float]], float], found: Value) -> Value:
        """Of several series: one series; of one series: one number."""
        if isinstance(found, list):
            columns = [[v for v in column if v is not None] for column in zip(*found, strict=True)]
            return tuple(float(aggregate(c)) if c else None for c in columns) or (None,) * self._length
        if isinstance(found, float):
            return found
        present = [v for v in found if v is not None]
        return float(aggregate(present)) if present else (None,) * self._length

    def _each(self, function: Callable[..., float], *operands: Value) -> Value:
        if any(isinstance(operand, list) for operand in operands):
            raise self._unknown("arithmetic on several time series at once")
        if all(isinstance(operand, float) for operand in operands):
            alone = _applied(function, *operands)
            return (None,) * self._length if alone is None else alone
        columns = [operand if isinstance(operand, tuple) else (operand,) * self._length for operand in operands]
        return tuple(_applied(function, *row) for row in zip(*columns, strict=True))


def _applied(function: Callable[..., float], *values: object) -> float | None:
    if any(value is None for value in values):
        return None
    try:
        found = function(*values)
    except (ZeroDivisionError, OverflowError):
        return None
    return None if isinstance(found, complex) else float(found)
