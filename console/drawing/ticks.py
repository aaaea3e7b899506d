"""Where the ticks of an axis stand.

Runs in the console's process. Values in, values out.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14400)


def number_ticks(low: float, high: float, wanted: int = 4, least_step: float = 0.0) -> list[float]:
    """Round numbers from ``low`` to ``high``, at least ``least_step`` apart."""
    if high <= low:
        return [low]
    rough = max((high - low) / wanted, least_step)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def time_ticks(start: float, end: float, wanted: int = 5) -> list[float]:
    """Full minutes, hours or days between two times in seconds."""
    step = next((m * 60.0 for m in _MINUTES if (end - start) / (m * 60) <= wanted), _MINUTES[-1] * 60.0)
    first = math.ceil(start / step)
    return [number * step for number in range(first, math.floor(end / step) + 1)]


def time_text(at: float, span: float) -> str:
    """``14:05``, or ``11-30 14:00`` where the axis spans more than a day."""
    found = datetime.fromtimestamp(at, UTC)
    return f"{found:%m-%d %H:%M}" if span > 86400 else f"{found:%H:%M}"


def number_text(value: float) -> str:
    """``1,200``, ``0.95``, ``1.2M``."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
