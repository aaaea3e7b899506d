"""CloudWatch Logs of the account: moto's groups and streams, whose filters are kept, looked at and acted on.

Runs in the server process. moto keeps metric filters without looking at an event, delivers every event to a
subscription and takes a pattern that it cannot read for one that matches everything.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from moto.logs import models, urls
from moto.logs.exceptions import InvalidParameterException, LimitExceededException, ResourceNotFoundException
from moto.logs.models import LogsBackend, LogStream, logs_backends

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.base.arns import own_arn
from local_account.base.clock import CLOCK
from local_account.base.replacements import answered_by, extends, replace, use_backend
from local_account.cloudwatch.backend import watched_metrics
from local_account.logs.answers import LogAnswers
from local_account.logs.insights.search import execute_query
from local_account.logs.matching import MessageFilter, kept_matcher, matcher
from local_account.logs.metric_filters import (
    FILTERS_LIMIT,
    FilteredMetrics,
    LogEvent,
    MetricFilter,
    Transformation,
    made,
)
from local_account.protocol.members import register

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers
    from local_account.cloudwatch.telemetry import MetricValue

log = logging.getLogger(__name__)

OLDEST_MS, NEWEST_MS = 14 * 24 * 3600 * 1000, 2 * 3600 * 1000
"""Events older than the one, or further ahead than the other, are not taken in (PutLogEvents)."""
_NOT_EXECUTED = (
    "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute your "
    "function."
)
_send = LogStream._send_log_events


def install(account: Account) -> None:
    """Called once, before the first request."""
    register(Path(__file__).with_name("members.toml"))
    use_backend(logs_backends, FilteredLogs)
    FilteredLogs.account = account
    replace(
        models, "EventMessageFilter", MessageFilter, why="moto matches everything with a pattern that it cannot read"
    )
    replace(models, "execute_query", execute_query, why="moto drops the commands of a query that it does not know")
    replace(LogStream, "_send_log_events", _send_matching, why="moto delivers every event, whatever the pattern")


def _send_matching(
    self: LogStream, service: str, destination_arn: str, filter_name: str, log_events: list[dict[str, object]]
) -> None:
    """Hand on the events that the subscription's pattern matches; their ids are text."""
    match = kept_matcher(self.log_group.subscription_filters[filter_name].filter_pattern)
    events = [{**event, "id": str(event["id"])} for event in log_events if match(str(event["message"]))]
    if not events:
        return
    if may_hand_to(FilteredLogs.account, destination_arn, self.log_group.name):
        _send(self, service, destination_arn, filter_name, events)
    else:
        log.warning("%s hands nothing to %s, which does not let it in", self.log_group.name, destination_arn)


@extends
class FilteredLogs(LogsBackend):
    """moto's groups and streams, answered by `LogAnswers`."""

    account: ClassVar[Account]
    metrics: ClassVar[FilteredMetrics] = FilteredMetrics()

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(LogAnswers, urls.url_paths)

    @property
    def metric_filters(self) -> list[MetricFilter]:
        """All filters, as moto keeps them."""
        return cast("list[MetricFilter]", self.filters.metric_filters)

    def filters_of(self, group: str) -> list[MetricFilter]:
        """A group's metric filters."""
        return [each for each in self.metric_filters if each["logGroupName"] == group]

    def put_log_events(
        self, log_group_name: str, log_stream_name: str, log_events: list[dict[str, object]]
    ) -> tuple[str, dict[str, object]]:
        """PutLogEvents; what metric filters find becomes metrics."""
        answer = super().put_log_events(log_group_name, log_stream_name, log_events)
        filters = self.filters_of(log_group_name)
        if filters:
            _tell(self.account, list(self.metrics.values(filters, _taken(cast("list[LogEvent]", log_events)))))
        return answer

    def delete_log_group(self, log_group_name: str) -> None:
        """DeleteLogGroup, with its metric filters."""
        super().delete_log_group(log_group_name)
        for each in self.filters_of(log_group_name):
            self.metric_filters.remove(each)

    def put_metric_filter(
        self,
        filter_name: str,
        filter_pattern: str,
        log_group_name: str,
        metric_transformations: list[Transformation],  # type: ignore[override]  # moto says str, and means this
    ) -> None:
        """PutMetricFilter: make or change one. Raises moto's errors."""
        matcher(filter_pattern)
        if log_group_name not in self.groups:
            raise ResourceNotFoundException
        others = [each for each in self.filters_of(log_group_name) if each["filterName"] != filter_name]
        if len(others) >= FILTERS_LIMIT:
            raise LimitExceededException
        self.filters.delete_filter(filter_name, log_group_name)
        self.metric_filters.append(made(filter_name, filter_pattern, log_group_name, metric_transformations))

    def put_subscription_filter(
        self, log_group_name: str, filter_name: str, filter_pattern: str, destination_arn: str, role_arn: str
    ) -> None:
        """PutSubscriptionFilter: make or change one, to a function that lets Logs in. Raises moto's errors."""
        matcher(filter_pattern)
        group = self.groups.get(log_group_name)
        kept = dict(group.subscription_filters) if group else {}
        if group and filter_name in kept:
            group.subscription_filters.pop(filter_name)  # moto counts it before it looks whether it is changed
        try:
            super().put_subscription_filter(log_group_name, filter_name, filter_pattern, destination_arn, role_arn)
            if not may_hand_to(self.account, destination_arn, log_group_name):
                raise InvalidParameterException(_NOT_EXECUTED)
        except Exception:
            if group:
                group.subscription_filters.clear()
                group.subscription_filters.update(kept)
            raise


def may_hand_to(account: Account, destination: str, group: str) -> bool:
    """Whether a destination lets CloudWatch Logs in: a function's policy names it, with or without the region."""
    arn = own_arn(destination, account.account_id, account.region)
    if arn is None or arn.service != "lambda":
        return True
    source = account.arn("logs", f"log-group:{group}:*")
    for service in ("logs.amazonaws.com", f"logs.{account.region}.amazonaws.com"):
        try:
            account.authority.demand_of_service(service, "lambda:InvokeFunction", str(arn), source)
        except AccessDeniedError:
            continue
        return True
    return False


def _taken(events: Sequence[LogEvent]) -> list[LogEvent]:
    """Those that are neither too old nor too far ahead, as PutLogEvents takes them in."""
    now = int(time.time() * 1000)
    return [each for each in events if now - OLDEST_MS <= each["timestamp"] <= now + NEWEST_MS]


def _tell(account: Account, values: Sequence[MetricValue]) -> None:
    """Metrics are in the account's time, events in this machine's."""
    ahead = timedelta(seconds=CLOCK.time() - time.time())
    watched_metrics(account).add_values([dataclasses.replace(each, at=each.at + ahead) for each in values])
    account.snapshots.mark_dirty("monitoring")
