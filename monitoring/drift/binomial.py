"""How large a share may be of which a sample is known (Clopper and Pearson, 1934).

Runs in the monitoring container.
"""

from __future__ import annotations

import numpy as np

_HALVINGS = 60


def largest_share(hits: int, count: int, error: float) -> float:
    """Answers the share with which so few hits among ``count`` have the chance ``error``, 0 to 1; 1 for no others."""
    if hits == count:
        return 1.0
    numbers = np.arange(hits + 1)
    factorials = np.concatenate([[0.0], np.log(np.arange(1, count + 1)).cumsum()])
    ways = factorials[count] - factorials[numbers] - factorials[count - numbers]
    low, high = hits / count, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2.0
        chance = np.exp(ways + numbers * np.log(share) + (count - numbers) * np.log1p(-share)).sum()
        low, high = (share, high) if chance > error else (low, share)
    return high
