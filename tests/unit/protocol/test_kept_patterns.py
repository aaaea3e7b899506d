"""Filter patterns that an older account took: what cannot be read matches nothing, and nothing fails."""

from __future__ import annotations

import pytest

from local_account.logs.matching import kept_matcher
from local_account.logs.metric_filters import FilteredMetrics, made


@pytest.mark.parametrize("pattern", ["{ $.a ~ 1 }", '"open', "[a,"])
def test_a_kept_pattern_that_cannot_be_read_matches_nothing(pattern: str) -> None:
    assert kept_matcher(pattern)("anything") is None
    counted = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    kept = made("f", pattern, "g", [counted])  # type: ignore[list-item]  # as it is kept
    assert list(FilteredMetrics().values([kept], [{"timestamp": 0, "message": "anything"}])) == []
