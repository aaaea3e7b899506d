"""Which of the two answers a client wants: the array of probabilities, or the verbose document.

Runs in the hosting container. Reads an ``Accept`` header as RFC 9110 (12.5.1) describes it, with media ranges, weights
and parameters; ``application/json;verbose`` is the built-in algorithms' way to ask for labels.
"""

from __future__ import annotations

import math

JSON_TYPE = "application/json"
VERBOSE_TYPE = "application/json;verbose"
RANGES = (JSON_TYPE, "application/*", "*/*")  # from specific to general: the first that is named decides


def negotiate(accept: str) -> str | None:
    """JSON_TYPE or VERBOSE_TYPE, whichever ``accept`` prefers; None when it takes neither.

    Without a header anything is taken, and anything is the array. Of two that weigh the same the verbose one is
    answered: who names it means it. A range with a weight that is no number counts as not named.
    """
    weights: dict[str, float] = {}
    for part in (accept.strip() or "*/*").split(","):
        media_type, weight, verbose = _media_range(part)
        name = VERBOSE_TYPE if verbose and media_type == JSON_TYPE else media_type
        if 0 <= weight <= 1:
            weights[name] = max(weight, weights.get(name, 0.0))
    plain = next((weights[name] for name in RANGES if name in weights), 0.0)
    verbose_weight = weights.get(VERBOSE_TYPE, 0.0)
    if max(plain, verbose_weight) == 0:
        return None
    return VERBOSE_TYPE if verbose_weight >= plain else JSON_TYPE


def _media_range(text: str) -> tuple[str, float, bool]:
    """Media type, weight (NaN when it is not a number) and whether ``verbose`` is asked for, of one media range."""
    media_type, *parameters = (part.strip().lower() for part in text.split(";"))
    values = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parameters)}
    try:
        weight = float(values.get("q", "1"))
    except ValueError:
        weight = math.nan
    return media_type, weight, values.get("verbose") in {"", "1", "true"}
