"""The table of captured traffic answers SQL: the ready queries of the documentation, here and as Athena is asked."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from moto.athena.models import QueryResults, athena_backends

from monitoring.store import update
from monitoring.store.store import Store
from scones.errors import SconesError
from scones.stage.connection import Connection
from scones.stage.names import Names, classes_digest
from scones.stage.settings import PROJECT_ROOT, Settings
from scones.traffic import query
from tests.unit.monitoring.test_report_drift import START, capture, line

SECTION = (PROJECT_ROOT / "docs/monitoring.md").read_text(encoding="utf-8").partition("## Asking in SQL")[2]
READY = re.findall(r"```sql\n(.*?)```", SECTION.partition("\n## ")[0], re.DOTALL)
CLASSES = ("bicycle", "motorcycle")


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The store of three hours, 20 requests each, of which two were sent twice."""
    folder = tmp_path_factory.mktemp("query")
    for hour in range(3):
        for number in range(20):
            at = START + timedelta(hours=hour, minutes=number)
            share = 0.97 if number % 4 else 0.6
            name = f"{hour}-{max(number, 2)}"
            capture(folder / "captures", at, line(name, at, [share, round(1 - share, 2)]))
    words = ["--captures", str(folder / "captures"), "--state", str(folder / "state"), "--classes", ",".join(CLASSES)]
    assert update.main(words) == 0
    return sorted((folder / "state").rglob("day=*/[0-9]*.parquet"))


def test_the_table_of_the_stack_is_where_the_job_writes(hours: list[Path]) -> None:
    assert hours[0].parent.name == f"day={START:%Y-%m-%d}"
    assert f"classes={classes_digest(CLASSES)}" in hours[0].parts


def test_there_are_six_queries_to_begin_with() -> None:
    assert len(READY) == 6


@pytest.mark.parametrize("sql", READY)
def test_each_of_them_is_answered(sql: str, hours: list[Path]) -> None:
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    answer = query.ask_files(hours, sql)
    assert answer.rows
    assert json.dumps(answer.rows)


def test_it_counts_each_event_once(hours: list[Path]) -> None:
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    sql = "SELECT endpoint, day, count(*) FROM predictions WHERE NOT duplicate GROUP BY endpoint, day"
    ((_, day, count),) = query.ask_files(hours, sql).rows
    assert (day, count) == (f"{START:%Y-%m-%d}", 3 * 18)


def test_a_half_written_file_is_left_out_and_named(hours: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    copies = [tmp_path.joinpath(*path.parts[-6:]) for path in hours]
    for copy, path in zip(copies, hours, strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    copies[1].write_bytes(hours[1].read_bytes()[:-30])
    answer = query.ask_files(copies, "SELECT count(*) FROM predictions")
    assert answer.left_out == (f"{copies[1].parent.name}/{copies[1].name}",)
    assert answer.rows == [[40]]


@pytest.mark.parametrize("sql", ["-- how many\n select 1", "/* a * b */ (SELECT 1)", "with x as (select 1) from x"])
def test_comments_may_stand_before_a_question(sql: str, hours: list[Path]) -> None:
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    assert query.ask_files(hours, sql).rows == [[1]]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1 FROM nothing", "DuckDB: Catalog Error"),
        ("", "expected a question in SQL"),
        ("-- nothing", "expected a question in SQL"),
        ("drop table predictions", "expected a question in SQL.*got 'drop table predictions'"),
        ("-- SELECT\n(DELETE FROM predictions", "expected a question in SQL"),
        ("/* a */ DROP TABLE predictions /* b */ SELECT 1", "expected a question in SQL"),
        ("SELECT * FROM read_csv('/etc/passwd')", "DuckDB: .*disabled"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(sql: str, message: str, hours: list[Path]) -> None:
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    with pytest.raises(SconesError, match=message) as raised:
        query.ask_files(hours, sql)
    assert "\n" not in str(raised.value)


def test_nothing_captured_is_said() -> None:
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    with pytest.raises(SconesError, match="nothing was captured in that time"):
        query.ask_files([], "SELECT 1")


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> Connection:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    settings = Settings("production")
    return Connection(settings, Names.of(settings, "123456789012"), boto3.Session(region_name="us-east-1"))


def test_on_aws_athena_is_asked_in_the_stages_database(production: Connection) -> None:
    with mock_aws():
        answers = athena_backends["123456789012"]["us-east-1"].query_results_queue
        answers.append(QueryResults([{"Data": [{"VarCharValue": each}]} for each in ("n", "7")], []))
        answer = query.ask(production, "SELECT count(*) AS n FROM predictions", datetime.now(UTC))
        assert (answer.columns, answer.rows) == (["n"], [["7"]])
        (asked,) = athena_backends["123456789012"]["us-east-1"].executions.values()
        assert asked.context["Database"] == "scones-production"
        assert asked.config["OutputLocation"].startswith(f"{production.names.query_results_uri}/")


def test_athena_is_asked_nothing_that_changes_the_table(production: Connection) -> None:
    with mock_aws():
        with pytest.raises(SconesError, match="expected a question in SQL"):
            query.ask(production, "DROP TABLE predictions", datetime.now(UTC))
        assert not athena_backends["123456789012"]["us-east-1"].executions


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_why_athena_fails_is_said_in_one_line(state: str) -> None:
    class Failing:
        def get_query_execution(self, **_: str) -> dict[str, object]:
            return {"QueryExecution": {"Status": {"State": state, "StateChangeReason": "COLUMN_NOT_FOUND: line 1:8"}}}

    with pytest.raises(SconesError, match=f"Athena: the query is {state}: COLUMN_NOT_FOUND: line 1:8"):
        query._wait(Failing(), "id", 0.0)  # type: ignore[arg-type]


def test_the_store_of_a_stages_classes_is_the_tables() -> None:
    from monitoring.captures.line import Classes

    root = Store(Path("state"), Classes.of(CLASSES)).root
    assert root == Path("state/captured") / f"classes={classes_digest(CLASSES)}"
