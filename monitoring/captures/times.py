"""Times of captured records: from ISO 8601, and as microseconds since 1970, many at once.

Runs in the monitoring container. Values in, values out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
LAST_TIME_US = 7_258_118_400_000_000  # 2200-01-01, the first moment of capture_line.LAST_YEAR
TIME_CHARACTERS = 20
_TIME = "2026-01-31T12:00:00Z"
_DIGITS = np.array([character.isdigit() for character in _TIME])
_AFTER_HOUR = [14, 15, 17, 18]  # the digits of minutes and seconds
_IN_HOUR = [at for at in range(len(_TIME)) if at not in _AFTER_HOUR]
_BETWEEN = np.frombuffer(b"--T::Z", np.uint8)
# Columns: year, month, day, hour, minute, second; rows: the fourteen digits.
_PLACE_VALUES = np.zeros((14, 6), np.int64)
_PLACE_VALUES[:4, 0] = (1000, 100, 10, 1)
for _unit in range(1, 6):
    _PLACE_VALUES[2 + 2 * _unit : 4 + 2 * _unit, _unit] = (10, 1)


def parse_time(text: str) -> datetime:
    """An ISO 8601 time in UTC, with or without a fraction; one without an offset is taken as UTC. Raises ValueError."""
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected an ISO 8601 time such as 2026-01-31T12:00:00Z, got {text!r}") from error


def microseconds(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - EPOCH) // MICROSECOND


def moment(time_us: int) -> datetime:
    """The time in UTC."""
    return EPOCH + time_us * MICROSECOND


def times_us(texts: list[str]) -> npt.NDArray[np.int64]:
    """Microseconds since 1970; -1 for what is no time."""
    joined = "".join(texts)
    if texts and joined.isascii() and set(map(len, texts)) == {TIME_CHARACTERS}:
        return times_of_characters(np.frombuffer(joined.encode(), np.uint8).reshape(-1, TIME_CHARACTERS))
    return np.array([_time_us(text) for text in texts], np.int64)


def times_of_characters(characters: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The same for uint8 [n, TIME_CHARACTERS]: ASCII text of the usual width."""
    if len(characters) > 1 and (times := _times_of_one_hour(characters)) is not None:
        return times
    digits = characters[:, _DIGITS] - np.uint8(ord("0"))  # what stands before "0" wraps to more than 9
    if not ((digits <= 9).all() and (characters[:, ~_DIGITS] == _BETWEEN).all()):
        return np.array([_time_us(row.tobytes().decode("ascii")) for row in characters], np.int64)
    year, month, day, hour, minute, second = (digits.astype(np.int64) @ _PLACE_VALUES).T
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    following = (months + 1).astype("datetime64[D]").astype(np.int64)
    right = (month >= 1) & (month <= 12) & (day >= 1) & (days < following) & (hour < 24) & (minute < 60) & (second < 60)
    result = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000
    return np.where(right & (year >= 1970), result, -1)


def _times_of_one_hour(characters: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64] | None:
    """The same where all are of one hour, as an endpoint's lines mostly are, else None."""
    columns = np.ascontiguousarray(characters.T)
    same, digits = columns[_IN_HOUR], columns[_AFTER_HOUR] - np.uint8(ord("0"))
    if not ((characters[0, ~_DIGITS] == _BETWEEN).all() and (same == same[:, :1]).all()):
        return None
    if digits[::2].max() > 5 or digits[1::2].max() > 9:
        return None
    first = int(times_of_characters(characters[:1])[0])
    if first < 0:
        return np.full(len(characters), -1)
    after = 1_000_000 * (np.array([600, 60, 10, 1]) @ digits.astype(np.int64))
    times: npt.NDArray[np.int64] = first - after[0] + after
    return times


def _time_us(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
        return microseconds(time.replace(tzinfo=UTC) if time.tzinfo is None else time)
    except (ValueError, OverflowError):
        return -1
