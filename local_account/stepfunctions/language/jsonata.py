"""JSONata in state machines: expressions between ``{% %}``, evaluated with the ``jsonata-python`` package.

Runs in the server process; ``stepfunctions.states`` puts it in the place of moto's bridge to a Java library that is not
there. Adds the functions of Step Functions (step-functions/latest/dg/transforming-data.html) and leaves out ``$eval``.
Differences from AWS: depth is limited by Python's recursion limit instead of 100 levels, and an evaluation by five
seconds but not in memory; ``1/0`` is an error instead of the text ``Infinity``.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import math
import random
import re
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeGuard

from jsonata import Jsonata
from jsonata.utils import Utils

TIME_LIMIT_MS = 5000
DEPTH_LIMIT = 200  # of calls; Python's own limit is met some calls later
RANGE_LIMIT = 360_145  # what AWS was seen to accept; its page on intrinsic functions says 1,000 for JSONPath
ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
EXACT_INTEGERS = 2**53
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")
_NOT_CODE = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|/\*.*?\*/", re.DOTALL)
UNDEFINED = object()


class QueryError(Exception):
    """An expression that cannot be evaluated; ``UndefinedError`` for one that has no value."""


class UndefinedError(QueryError):
    """The expression returned nothing."""


def is_expression(value: object) -> TypeGuard[str]:
    """Whether a value of a definition is a JSONata expression: text between ``{%`` and ``%}``."""
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def body(text: str) -> str:
    """What stands between ``{%`` and ``%}``."""
    return text[2:-2].strip()


def syntax_error(expression: str) -> str | None:
    """What is wrong with an expression, as far as that can be seen without data."""
    if not expression:
        return "The expression is empty"
    try:
        compiled = _compiled(expression)
    except Exception as error:  # the library reports what it does not accept in several ways
        return str(error)
    if compiled.errors:
        return str(compiled.errors[0])
    code = _NOT_CODE.sub("", expression)
    if re.search(r"\$eval\s*\(", code):
        return "The function $eval is not supported; use $parse"
    if re.search(r"\$(\$|(?![A-Za-z_$]))", code) and not _inside_a_step(code):
        return "References to the root ($ or $$) are not supported; use $states"
    return None


def _inside_a_step(code: str) -> bool:
    """``$`` is the context of a predicate, a map or a function chain; only at the top has it nothing to stand for."""
    return bool(re.search(r"[\[({.~@#].*\$", code, re.DOTALL)) and "$$" not in code


def references(expression: str) -> set[str]:
    """Names of the variables an expression mentions, ``states`` among them."""
    return set(_VARIABLE.findall(_NOT_CODE.sub("", expression)))


def states_members(expression: str) -> set[str]:
    """Members of ``$states`` that an expression reads."""
    return set(re.findall(r"\$states\.(\w+)", _NOT_CODE.sub("", expression)))


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> Jsonata:
    return Jsonata(expression)


def evaluate(expression: str, bindings: Mapping[str, object]) -> object:
    """The value of an expression; JSON in, JSON out. Raises QueryError."""
    try:
        # The library keeps what an evaluation works with in the compiled object, and finds that by thread.
        engine = copy.copy(_compiled(expression))
        engine.set_output_convert_nulls(False)
        environment = engine.create_frame(engine.environment)
        environment.set_runtime_bounds(TIME_LIMIT_MS, DEPTH_LIMIT)
        engine.environment = environment
        Jsonata.CURRENT.jsonata = engine
        values = {name: _with_nulls(value) for name, value in bindings.items()}
        result = engine.evaluate(None, FUNCTIONS | values)
    except RecursionError as error:
        raise QueryError("Stack overflow error: the expression is nested too deeply") from error
    except QueryError:
        raise
    except Exception as error:
        code = getattr(error, "error", None)
        raise QueryError(f"{code}: {error}" if code else str(error)) from error
    if result is None:
        raise UndefinedError("returned nothing (undefined)")
    return _as_json(result)


def _with_nulls(value: object) -> object:
    """A copy with the library's own null, since its None is undefined."""
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nulls(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def _as_json(value: object) -> object:
    if value is Utils.NULL_VALUE or value is None:
        return None
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | range | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        return int(value) if value.is_integer() and abs(value) < EXACT_INTEGERS else value
    raise QueryError("returned an unsupported result type")


def _partition(array: object = None, size: object = None) -> object:
    length = _number("partition", 2, size)
    if array is None or length is None or int(length) == 0:
        return None
    items = array if isinstance(array, list) else [array]
    if length < 0:
        raise QueryError("D3137: Argument 2 of function $partition must be positive")
    return [items[start : start + int(length)] for start in range(0, len(items), int(length))] or None


def _range(first: object = None, last: object = None, step: object = None) -> object:
    numbers = [_number("range", n, value) for n, value in enumerate((first, last, step), start=1)]
    start, end, by = (None if number is None else int(number) for number in numbers)
    if start is None or end is None or by is None:
        return None
    if by == 0:
        raise QueryError("D3137: Argument 3 of function $range must not be 0")
    values = range(start, end + (1 if by > 0 else -1), by)
    if len(values) > RANGE_LIMIT:
        raise QueryError("Expression evaluation memory limit exceeded")
    return list(values) if len(values) > 1 else (values[0] if values else None)


def _hash(text: object = None, algorithm: object = None) -> str | None:
    if text is None or algorithm is None:
        return None
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise QueryError(f"D3137: Argument 2 of function $hash must be one of {', '.join(ALGORITHMS)}")
    content = text if isinstance(text, str) else json.dumps(_as_json(text), separators=(",", ":"))
    return hashlib.new(ALGORITHMS[algorithm], content.encode(), usedforsecurity=False).hexdigest()


def _random(seed: object = None) -> float:
    number = _number("random", 1, seed)
    return (random if number is None else random.Random(int(number))).random()  # noqa: S311  # no secret


def _parse(text: object = None) -> object:
    if text is None:
        return None
    if not isinstance(text, str):
        raise QueryError('T0410: Argument 1 of function "parse" does not match function signature')
    try:
        return _with_nulls(json.loads(text))
    except ValueError as error:
        raise QueryError(f"D3121: $parse was given text that is no JSON: {error}") from error


def _number(function: str, position: int, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QueryError(f'T0410: Argument {position} of function "{function}" does not match function signature')
    return value


def _function(implementation: Callable[..., object]) -> object:
    return Jsonata.JLambda(implementation)


FUNCTIONS: dict[str, object] = {
    "partition": _function(_partition),
    "range": _function(_range),
    "hash": _function(_hash),
    "random": _function(_random),
    "uuid": _function(lambda: str(uuid.uuid4())),
    "parse": _function(_parse),
}
