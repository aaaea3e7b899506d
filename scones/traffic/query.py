"""Asks the table of captured traffic in SQL: Athena does on AWS, DuckDB on this machine.

Runs on a laptop or in CodeBuild. Both ask the same files, the hours that the monitoring job keeps, under the same name,
`TRAFFIC_TABLE`. Which of both it is stands in the stage's file: ``[monitoring] query``.
"""

from __future__ import annotations

import importlib
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, cast

from botocore.exceptions import BotoCoreError, ClientError

from scones.errors import SconesError
from scones.stage.connection import Connection, list_keys, split_uri
from scones.stage.monitoring_settings import DUCKDB
from scones.stage.names import TRAFFIC_TABLE

LONGEST_S = 600.0
"""As long as a question to Athena may take; its own limit is 30 minutes."""
MOST_ROWS = 10_000
_CONNECTIONS = 16
_MARK = b"PAR1"
_DAY = re.compile(r"/day=(\d{4}-\d\d-\d\d)/(?:\d\d|day)\.parquet$")
_QUESTION = re.compile(
    r"(?:\s|\(|--[^\n]*+|/\*(?:(?!\*/).)*+\*/)*+(?:SELECT|WITH|VALUES|EXPLAIN|DESCRIBE|SHOW)\b",
    re.DOTALL | re.IGNORECASE,
)
# Of DuckDB: no file but the given ones, and no way back.
_LIMITS = ("SET enable_external_access = false", "SET lock_configuration = true")
# Of an hour that has a file of its own, its day's file says nothing (`monitoring.store.days`).
_VIEW = """CREATE TABLE {table} AS SELECT * EXCLUDE (filename) REPLACE (make_timestamp(epoch_us("time")) AS "time")
FROM read_parquet(?, hive_partitioning = true, union_by_name = true, filename = true,
hive_types = {{'classes': VARCHAR, 'endpoint': VARCHAR, 'variant': VARCHAR, 'day': VARCHAR}})
WHERE NOT (filename LIKE '%/day.parquet' AND list_contains(
    ?, replace(filename, '/day.parquet', strftime(make_timestamp(epoch_us("time")), '/%H.parquet'))))"""


@dataclass(frozen=True)
class TableAnswer:
    """Columns by name and rows of values that JSON has; ``cut``: there were more than MOST_ROWS."""

    columns: list[str]
    rows: list[list[object]]
    cut: bool = False
    left_out: tuple[str, ...] = ()
    """Files that are no whole Parquet files."""


class AthenaClient(Protocol):
    """The calls of Athena that are made."""

    def start_query_execution(self, **request: object) -> Mapping[str, str]:
        """Answers the id."""

    def get_query_execution(self, *, QueryExecutionId: str) -> Mapping[str, Mapping[str, Mapping[str, str]]]:  # noqa: N803 - AWS's name
        """Answers the state."""

    def get_query_results(self, **request: object) -> Mapping[str, object]:
        """Answers a page of rows, the first of which are the columns' names."""


def ask(connection: Connection, sql: str, since: datetime) -> TableAnswer:
    """The answer; ``since``: of days before this one nothing is read here. Raises SconesError with one line."""
    if connection.settings.monitoring.query == DUCKDB:
        with tempfile.TemporaryDirectory(prefix="scones-query-") as folder:
            return ask_files(_fetched(connection, Path(folder), since), sql)
    return ask_athena(connection, sql)


def _check(sql: str) -> None:
    """Raise SconesError for what would change the table, which Athena would do where the caller may."""
    if not _QUESTION.match(sql):
        got = " ".join(sql.split())[:40] or "none"
        raise SconesError(f"expected a question in SQL (SELECT, WITH, VALUES, EXPLAIN, DESCRIBE or SHOW), got {got!r}")


def ask_files(files: Sequence[Path], sql: str) -> TableAnswer:
    """Ask hours of the store in a folder with DuckDB. Raises SconesError."""
    _check(sql)
    try:
        duckdb = importlib.import_module("duckdb")
    except ImportError as error:
        raise SconesError("expected DuckDB, which asks the table here: pip install 'scones-mlops[query]'") from error
    whole = [path for path in files if _is_whole(path)]
    if not whole:
        raise SconesError("nothing was captured in that time: take a longer one with --since, or report first")
    try:
        with duckdb.connect() as database:
            names = [str(path) for path in whole]
            database.execute(_VIEW.format(table=TRAFFIC_TABLE), [names, names])
            for limit in _LIMITS:
                database.execute(limit)
            found = database.execute(sql)
            columns = [str(each[0]) for each in found.description or []]
            rows = found.fetchmany(MOST_ROWS + 1)
    except duckdb.Error as error:
        raise SconesError(f"DuckDB: {' '.join(str(error).split())}") from error
    return TableAnswer(
        columns,
        [[_plain(value) for value in row] for row in rows[:MOST_ROWS]],
        cut=len(rows) > MOST_ROWS,
        left_out=tuple(f"{path.parent.name}/{path.name}" for path in files if path not in whole),
    )


def _is_whole(path: Path) -> bool:
    """A Parquet file begins and ends with its mark; one that was cut off would fail the whole question."""
    with path.open("rb") as file:
        begins = file.read(len(_MARK)) == _MARK
        file.seek(max(0, path.stat().st_size - len(_MARK)))
        return begins and file.read() == _MARK


def ask_athena(connection: Connection, sql: str, pause_s: float = 1.0) -> TableAnswer:
    """Ask Athena, which bills what it reads. Raises SconesError with its reason."""
    _check(sql)
    client = cast(AthenaClient, connection.client("athena"))
    try:
        identity = client.start_query_execution(
            QueryString=sql,
            QueryExecutionContext={"Database": connection.names.traffic_database, "Catalog": "AwsDataCatalog"},
            ResultConfiguration={"OutputLocation": connection.names.query_results_uri},
        )["QueryExecutionId"]
        _wait(client, identity, pause_s)
        return _results(client, identity)
    except (ClientError, BotoCoreError) as error:
        raise SconesError(f"Athena: {error}") from error


def _wait(client: AthenaClient, identity: str, pause_s: float) -> None:
    deadline = time.monotonic() + LONGEST_S
    while True:
        state = client.get_query_execution(QueryExecutionId=identity)["QueryExecution"]["Status"]
        if state["State"] == "SUCCEEDED":
            return
        if state["State"] in ("FAILED", "CANCELLED"):
            raise SconesError(f"Athena: the query is {state['State']}: {state.get('StateChangeReason', 'no reason')}")
        if time.monotonic() > deadline:
            raise SconesError(f"Athena: query {identity} still runs after {LONGEST_S:g} s: ask of fewer days")
        time.sleep(pause_s)


def _results(client: AthenaClient, identity: str) -> TableAnswer:
    rows: list[list[object]] = []
    more: dict[str, object] = {}
    while len(rows) <= MOST_ROWS + 1:
        page = client.get_query_results(QueryExecutionId=identity, **more)
        found = cast("Mapping[str, list[Mapping[str, list[Mapping[str, str]]]]]", page["ResultSet"])
        rows += [[cell.get("VarCharValue") for cell in row["Data"]] for row in found.get("Rows", [])]
        if not page.get("NextToken"):
            break
        more = {"NextToken": page["NextToken"]}
    names = [str(name) for name in rows[0]] if rows else []
    return TableAnswer(names, rows[1 : MOST_ROWS + 1], len(rows) > MOST_ROWS + 1)


def _fetched(connection: Connection, folder: Path, since: datetime) -> list[Path]:
    try:
        return _fetched_once(connection, folder / "first", since)
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        # A report has put the hours of a day together meanwhile.
        return _fetched_once(connection, folder / "second", since)


def _fetched_once(connection: Connection, folder: Path, since: datetime) -> list[Path]:
    s3 = connection.client("s3")
    uri = f"{connection.names.monitoring_state_uri}/captured"
    bucket, prefix = split_uri(uri)
    keys = [key for key in list_keys(s3, uri) if (day := _DAY.search(key)) and day[1] >= f"{since:%Y-%m-%d}"]
    paths = [folder / key.removeprefix(f"{prefix}/") for key in keys]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        list(pool.map(lambda key, path: s3.download_file(bucket, key, str(path)), keys, paths))
    return paths


def _plain(value: object) -> object:
    """As JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
