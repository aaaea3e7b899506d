"""Logs Insights' queries: every command is carried out, or refused by name."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from tests.local.conftest import RunningAccount

REPORT = (
    "REPORT RequestId: 7b1c\tDuration: {ms} ms\tBilled Duration: {ms} ms\tMemory Size: 128 MB\tMax Memory Used: 64 MB\t"
)
LINES = [
    json.dumps({"level": "ERROR", "ms": 12, "path": "/a", "user": {"id": 1}, "ok": False}),
    json.dumps({"level": "INFO", "ms": 30, "path": "/a", "user": {"id": 2}, "ok": True}),
    json.dumps({"level": "INFO", "ms": 90, "path": "/b", "user": {"id": 2}}),
    REPORT.format(ms="10.5"),
    REPORT.format(ms="21.5"),
    "plain words: took 7 s for scone",
]
GROUP = "/queries"


@pytest.fixture(scope="module")
def minute(account: RunningAccount) -> int:
    """The second at which a minute began, in which the lines were written, a second from each other."""
    logs, begin = account.client("logs"), int(time.time()) // 60 * 60 - 120
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="s")
    events = [{"timestamp": (begin + number) * 1000, "message": line} for number, line in enumerate(LINES)]
    logs.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=events)
    return begin


def ask(account: RunningAccount, minute: int, query: str, **more: int) -> list[dict[str, str]]:
    logs = account.client("logs")
    started = logs.start_query(
        logGroupName=GROUP, startTime=minute, endTime=minute + 59, queryString=query, **more
    )  # fmt: skip
    answer = logs.get_query_results(queryId=started["queryId"])
    assert answer["status"] == "Complete"
    rows = [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]
    return [{name: value for name, value in row.items() if name != "@ptr"} for row in rows]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("fields level, user.id as who | filter ms > 20 | sort ms asc",
         [{"level": "INFO", "who": "2"}, {"level": "INFO", "who": "2"}]),
        ("filter level = 'ERROR' | display path, ms * 2 as twice", [{"path": "/a", "twice": "24"}]),
        ("filter @message like /took \\d+/ | parse @message 'took * s for *' as s, what | display s, what",
         [{"s": "7", "what": "scone"}]),
        ("parse @message /took (?<s>\\d+) s/ | filter ispresent(s) | display s", [{"s": "7"}]),
        ("filter @type = 'REPORT' | stats avg(@duration) as mean, max(@maxMemoryUsed) / 1 as x by @type", None),
        ("filter @type = 'REPORT' | stats avg(@duration) as mean, max(@maxMemoryUsed), count(*) by @type",
         [{"@type": "REPORT", "mean": "16", "max(@maxMemoryUsed)": "64000000", "count(*)": "2"}]),
        ("stats count(*) as n, sum(ms) as total, pct(ms, 50) as half by path | sort path desc",
         [{"path": "/b", "n": "1", "total": "90", "half": "90"},
          {"path": "/a", "n": "2", "total": "42", "half": "21"},
          {"n": "3"}]),
        ("stats count_distinct(user.id), earliest(level), latest(level)",
         [{"count_distinct(user.id)": "2", "earliest(level)": "ERROR", "latest(level)": "INFO"}]),
        ("filter not (level in ['INFO', 'WARN']) and ispresent(level) | display level", [{"level": "ERROR"}]),
        ("filter path not like '/b' and path != '' | dedup path | display toupper(level) as l, strlen(path)",
         [{"l": "INFO", "strlen(path)": "2"}]),
        ("filter ok = 1 or ok = 0 | sort @timestamp asc | limit 1 | display ok", [{"ok": "0"}]),
        ("# a remark\nfilter ms / 2 = 15 | display ms, `user.id`", [{"ms": "30", "user.id": "2"}]),
    ],
)  # fmt: skip
def test_a_query_does_what_it_says(
    account: RunningAccount, minute: int, query: str, rows: list[dict[str, str]] | None
) -> None:
    if rows is None:
        with pytest.raises(account.client("logs").exceptions.MalformedQueryException):
            ask(account, minute, query)
    else:
        assert ask(account, minute, query) == rows


def test_spans_of_time_are_counted(account: RunningAccount, minute: int) -> None:
    found = ask(account, minute, "stats count(*) as n by bin(1m) as at | sort at")
    expected = time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime(minute))
    assert found == [{"at": expected, "n": str(len(LINES))}]


def test_what_a_query_leaves_open_is_the_newest_events(account: RunningAccount, minute: int) -> None:
    found = ask(account, minute, "fields @timestamp, @message", limit=2)
    assert [row["@message"] for row in found] == LINES[:-3:-1]
    assert found[0]["@timestamp"] == time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime(minute + len(LINES) - 1))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("pattern @message", "pattern"),
        ("fields @message | anomaly", "anomaly"),
        ("stats variance(ms)", "variance"),
        ("filter jsonParse(@message) = 1", "jsonparse"),
        ("filter (level = 1", "expected )"),
        ("fields @message |", "end of the query"),
        ("filter @message like /(/", "no regular expression"),
        ("", "end of the query"),
        ("limit some", "expected number"),
        ("filter " + "(" * 200 + "1", "in each other"),
        ("filter " + "not " * 200 + "1", "in each other"),
        ("fields ~", "unexpected symbol"),
    ],
)  # fmt: skip
def test_what_is_not_carried_out_is_refused(account: RunningAccount, minute: int, query: str, named: str) -> None:
    with pytest.raises(account.client("logs").exceptions.MalformedQueryException) as refused:
        ask(account, minute, query)
    assert named in str(refused.value)


def test_queries_are_described_as_they_were_started(account: RunningAccount, minute: int) -> None:
    logs = account.client("logs")
    ask(account, minute, "fields @message")
    newest = logs.describe_queries(logGroupName=GROUP, status="Complete")["queries"][0]
    assert newest["queryString"] == f'SOURCE "{GROUP}" START={minute}000 END={minute + 59}999 | fields @message'
    assert newest["queryLanguage"] == "CWLI"
    assert not logs.describe_queries(logGroupName=GROUP, status="Scheduled")["queries"]
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match="Log group '/none' does not exist for account"):
        logs.start_query(logGroupName="/none", startTime=0, endTime=1, queryString="fields @message")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_query_results(queryId=str(uuid.uuid4()))
