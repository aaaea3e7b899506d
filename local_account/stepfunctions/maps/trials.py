"""What TestState tells of a Map whose result is a mock: its items, its limits, and whether too many have failed.

Runs in the server process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local_account.stepfunctions.language.documents import DistributedMap
from local_account.stepfunctions.language.failures import failure
from local_account.stepfunctions.maps.items import MapFields, given_items, selected_items
from local_account.stepfunctions.maps.records import THRESHOLD, tolerates

if TYPE_CHECKING:
    from local_account.stepfunctions.environment import ExecutionEnvironment
    from local_account.stepfunctions.flow.trial import Trial


def try_map(spec: DistributedMap, env: ExecutionEnvironment, trial: Trial) -> None:
    """Note what the Map's members come to. Raises StateFailure for those that are none, and for too many failures."""
    frame = env.open_inner_frame()
    fields = MapFields(frame, spec, env.stack[-1])
    jsonpath = spec.language == "JSONPath"
    if "ItemReader" in spec.state:
        items = json.loads(trial.item_data or "[]")
    else:
        items = given_items(fields)
        if jsonpath:
            trial.note("afterItemsPath", items)
    if spec.state.keys() & {"ItemSelector", "Parameters"} and jsonpath and isinstance(items, list):
        trial.note("afterItemSelector", list(selected_items(fields, items, lambda: True)))
    state = spec.state
    trial.note("maxConcurrency", fields.whole(state, "MaxConcurrency", "MaxConcurrency") or 0)
    count = fields.whole(state, "ToleratedFailureCount", "ToleratedFailureCount")
    share = fields.number(state, "ToleratedFailurePercentage", "ToleratedFailurePercentage", 100)
    for name, value in (("toleratedFailureCount", count), ("toleratedFailurePercentage", share)):
        if value is not None:
            trial.note(name, value)
    limited = count is not None or share is not None
    total = len(items) if isinstance(items, list) else 0
    if limited and not tolerates(trial.failed_iterations, total, count, share):
        raise failure(env, "States.ExceedToleratedFailureThreshold", THRESHOLD)
