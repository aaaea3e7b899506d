"""CloudWatch Logs in the stand-in account."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

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


def test_groups_are_found_by_a_part_of_their_name_and_by_their_arn(account: RunningAccount) -> None:
    logs = account.client("logs")
    for name in ("/found/one", "/found/two"):
        logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName="/found/one", logStreamName="s")
    pages = [logs.describe_log_groups(logGroupNamePattern="ound/", limit=1)]
    pages.append(logs.describe_log_groups(logGroupNamePattern="ound/", limit=1, nextToken=pages[0]["nextToken"]))
    found = [group for page in pages for group in page["logGroups"]]
    assert [group["logGroupName"] for group in found] == ["/found/one", "/found/two"]
    assert found[0].keys() == {
        "arn", "creationTime", "logGroupArn", "logGroupClass", "logGroupName", "metricFilterCount"
    }  # fmt: skip
    assert "nextToken" not in pages[1]
    for identifier in ("/found/one", found[0]["arn"].removesuffix(":*")):
        streams = logs.describe_log_streams(logGroupIdentifier=identifier)["logStreams"]
        assert [stream["logStreamName"] for stream in streams] == ["s"]
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.describe_log_streams(logGroupIdentifier="/found/none")
    with pytest.raises(ClientError, match="name and LogGroup ARN are mutually exclusive"):
        logs.describe_log_streams(logGroupIdentifier="/found/one", logGroupName="/found/one")
    with pytest.raises(logs.exceptions.InvalidParameterException, match="prefix and LogGroup name pattern"):
        logs.describe_log_groups(logGroupNamePattern="a", logGroupNamePrefix="a")
