"""CloudWatch Logs in the stand-in account."""

from __future__ import annotations

import time

from tests.local.conftest import RunningAccount


def test_a_prefix_selects_the_streams(account: RunningAccount) -> None:
    logs = account.client("logs")
    logs.create_log_group(logGroupName="/trial/jobs")
    for stream in ("first/algo-1", "second/algo-1"):
        logs.create_log_stream(logGroupName="/trial/jobs", logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": f"said by {stream} {n}"} for n in range(3)]
        logs.put_log_events(logGroupName="/trial/jobs", logStreamName=stream, logEvents=events)

    def messages(prefix: str) -> list[str]:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="/trial/jobs", logStreamNamePrefix=prefix, PaginationConfig={"PageSize": 2}
        )
        return [event["message"] for page in pages for event in page["events"]]

    assert messages("second/") == [f"said by second/algo-1 {n}" for n in range(3)]
    assert messages("third/") == []
