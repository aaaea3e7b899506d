"""Runs queries over moto's log groups, in the place of moto's own reader of queries.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from moto.core.exceptions import JsonRESTError

from local_account.logs.insights.events import Fields, fields_of
from local_account.logs.insights.queries import POINTER, parse_query
from local_account.logs.insights.tokens import InsightsError

if TYPE_CHECKING:
    from moto.logs.models import LogGroup


def execute_query(log_groups: Sequence[LogGroup], query: str, start_time: int, end_time: int) -> list[dict[str, str]]:
    """Rows of a query over events from ``start_time`` to ``end_time``, seconds since 1970, both included.

    Raises moto's MalformedQueryException.
    """
    try:
        return parse_query(query).run(_events(log_groups, start_time * 1000, end_time * 1000 + 999))
    except InsightsError as error:
        raise JsonRESTError("MalformedQueryException", str(error)) from error


def _events(groups: Sequence[LogGroup], start: int, end: int) -> Iterator[Fields]:
    for group in groups:
        name = f"{group.account_id}:{group.name}"
        for stream in list(group.streams.values()):
            for event in list(stream.events):
                if start <= event.timestamp <= end:
                    told = (event.message, event.timestamp, event.ingestion_time, name, stream.log_stream_name)
                    yield {**fields_of(*told), POINTER: str(event.event_id)}
