"""What CloudWatch Logs answers: moto's words, completed, and those of operations that moto does not know.

Runs in the server process. Authority: Amazon CloudWatch Logs API Reference; answers of AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from moto.core.exceptions import JsonRESTError
from moto.logs.exceptions import InvalidParameterException, ResourceNotFoundException
from moto.logs.responses import LogsResponse

from local_account.base.arns import name_of
from local_account.base.replacements import extends
from local_account.logs.matching import matcher
from local_account.logs.metric_filters import MetricFilter, described

if TYPE_CHECKING:
    from moto.logs.models import LogQuery

    from local_account.logs.service import FilteredLogs


GROUPS_LIMIT = 50
RETENTIONS_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
"""CloudWatch Logs API, PutRetentionPolicy."""


@extends
class LogAnswers(LogsResponse):
    """moto's answers, and those that it does not know."""

    @property
    def logs_backend(self) -> FilteredLogs:
        """The groups of this account."""
        return cast("FilteredLogs", super().logs_backend)

    def filter_log_events(self) -> str:
        """FilterLogEvents, also by ``logStreamNamePrefix`` (docs/upstream/106)."""
        matcher(self._get_param("filterPattern") or "")  # also where there is no event to look at
        _check_token(self)
        prefix = self._get_param("logStreamNamePrefix")
        group = self.logs_backend.groups.get(self._get_param("logGroupName"))
        if prefix is None or group is None:
            return super().filter_log_events()
        names = [name for name in group.streams if name.startswith(prefix)]
        if not names:  # moto takes an empty list for every stream
            return json.dumps({"events": [], "searchedLogStreams": []})
        parameters = ("startTime", "endTime", "limit", "nextToken", "filterPattern", "interleaved")
        events, next_token, searched = self.logs_backend.filter_log_events(
            group.name, names, *[self._get_param(parameter) for parameter in parameters]
        )
        return json.dumps({"events": events, "nextToken": next_token, "searchedLogStreams": searched})

    def create_log_stream(self) -> str:
        """CreateLogStream; raises moto's ResourceAlreadyExistsException, which names a group."""
        group = self.logs_backend.groups.get(self._get_param("logGroupName"))
        if group is not None and self._get_param("logStreamName") in group.streams:
            raise _refusal("ResourceAlreadyExistsException", "The specified log stream already exists")
        return super().create_log_stream()

    def delete_log_stream(self) -> str:
        """DeleteLogStream; raises moto's ResourceNotFoundException."""
        group = self.logs_backend.groups.get(self._get_param("logGroupName"))
        if group is not None and self._get_param("logStreamName") not in group.streams:
            raise _refusal("ResourceNotFoundException", "The specified log stream does not exist.")
        return super().delete_log_stream()

    def put_metric_filter(self) -> str:
        """PutMetricFilter; what else it refuses, the front has refused."""
        names = ("filterName", "filterPattern", "logGroupName", "metricTransformations")
        self.logs_backend.put_metric_filter(*[self._get_param(name) for name in names])
        return "{}"

    def describe_metric_filters(self) -> str:
        """DescribeMetricFilters; raises moto's errors."""
        group, name, namespace = (self._get_param(each) for each in ("logGroupName", "metricName", "metricNamespace"))
        if group is not None and group not in self.logs_backend.groups:
            raise ResourceNotFoundException
        if (name is None) != (namespace is None):
            words = "If you include the metricName parameter, you must also include the metricNamespace parameter."
            raise _refusal("InvalidParameterException", words)
        found = self.logs_backend.describe_metric_filters(self._get_param("filterNamePrefix"), group, name, namespace)
        page, token = _page(
            sorted(cast("list[MetricFilter]", found), key=lambda each: (each["filterName"], each["logGroupName"])), self
        )
        return _said({"metricFilters": [described(each) for each in page], "nextToken": token})

    def test_metric_filter(self) -> str:
        """TestMetricFilter: which messages a pattern matches, and the fields that it names."""
        match = matcher(self._get_param("filterPattern"))
        found = [(number, text, match(text)) for number, text in enumerate(self._get_param("logEventMessages"), 1)]
        matches = [
            {"eventNumber": number, "eventMessage": text, "extractedValues": event.extracted()}
            for number, text, event in found
            if event is not None
        ]
        return json.dumps({"matches": matches})

    def delete_metric_filter(self) -> str:
        """DeleteMetricFilter; raises moto's ResourceNotFoundException, which moto forgets."""
        name, group = self._get_param("filterName"), self._get_param("logGroupName")
        if not any(each["filterName"] == name for each in self.logs_backend.filters_of(group)):
            raise _refusal("ResourceNotFoundException", "The specified metric filter does not exist.")
        return super().delete_metric_filter()

    def put_retention_policy(self) -> str:
        """PutRetentionPolicy; raises moto's InvalidParameterException for days that CloudWatch Logs does not know."""
        days = self._get_param("retentionInDays")
        if days not in RETENTIONS_DAYS:
            shown = ", ".join(map(str, RETENTIONS_DAYS))
            message = (
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{shown}]"
            )
            raise _refusal("InvalidParameterException", message)
        return super().put_retention_policy()

    def describe_log_groups(self) -> str:
        """DescribeLogGroups, with their class; by a part of their names, of which the answer is a short one."""
        pattern = self._get_param("logGroupNamePattern")
        if pattern and self._get_param("logGroupNamePrefix"):
            words = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            raise _refusal("InvalidParameterException", words)
        if pattern:
            names = sorted(name for name in self.logs_backend.groups if pattern in name)
            members = ("arn", "creationTime", "logGroupArn", "logGroupClass", "logGroupName", "metricFilterCount")
            return _groups(self, names, members)
        answer = json.loads(super().describe_log_groups())
        return _said({**answer, "logGroups": [_group(self, each) for each in answer["logGroups"]]})

    def list_log_groups(self) -> str:
        """ListLogGroups, by a regular expression for a part of their names."""
        try:
            wanted = re.compile(self._get_param("logGroupNamePattern") or "")
        except re.error as error:
            raise _refusal("InvalidParameterException", f"Invalid logGroupNamePattern: {error}") from error
        names = sorted(name for name in self.logs_backend.groups if wanted.search(name))
        return _groups(self, names, ("logGroupName", "logGroupArn", "logGroupClass"))

    def describe_subscription_filters(self) -> str:
        """DescribeSubscriptionFilters, by a part of their names."""
        found = json.loads(super().describe_subscription_filters())["subscriptionFilters"]
        prefix = self._get_param("filterNamePrefix") or ""
        named = [{"applyOnTransformedLogs": False, **each} for each in found if each["filterName"].startswith(prefix)]
        page, token = _page(named, self)
        return _said({"subscriptionFilters": page, "nextToken": token})

    def start_query(self) -> str:
        """StartQuery; raises moto's ResourceNotFoundException and MalformedQueryException."""
        name, names = self._get_param("logGroupName"), self._get_param("logGroupNames")
        if bool(name) == bool(names):
            raise InvalidParameterException("Exactly one of logGroupName and logGroupNames has to be given.")
        groups = names or [name]
        for each in groups:
            if each not in self.logs_backend.groups:
                account = self.logs_backend.account_id
                raise ResourceNotFoundException(f"Log group '{each}' does not exist for account ID '{account}'")
        begin, end = self._get_param("startTime"), self._get_param("endTime")
        started = self.logs_backend.start_query(groups, begin, end, self._get_param("queryString"))
        query = self.logs_backend.queries[started]
        query.results = query.results[: self._get_param("limit") or len(query.results)]
        return json.dumps({"queryId": started})

    def describe_queries(self) -> str:
        """DescribeQueries: of one group or of all, with what they were started with; the newest first."""
        group, status = self._get_param("logGroupName"), self._get_param("status")
        of_all = [each for each in self.logs_backend.queries.values() if not status or each.status == status]
        found = [each for each in reversed(of_all) if group is None or group in each.log_group_names]
        page, token = _page(found, self)
        return _said({"queries": [_query(each) for each in page], "nextToken": token})

    def get_query_results(self) -> str:
        """GetQueryResults; raises moto's ResourceNotFoundException, which moto forgets."""
        if self._get_param("queryId") not in self.logs_backend.queries:
            raise ResourceNotFoundException("The specified query does not exist.")
        return json.dumps({"queryLanguage": "CWLI", **json.loads(super().get_query_results())})

    def describe_export_tasks(self) -> str:
        """DescribeExportTasks; of an unknown one there are none."""
        task = self._get_param("taskId")
        if task is not None and task not in self.logs_backend.export_tasks:
            return json.dumps({"exportTasks": []})
        return super().describe_export_tasks()

    def describe_log_streams(self) -> str:
        """DescribeLogStreams, also of a group that is identified otherwise than by its name."""
        name, identifier = self._get_param("logGroupName"), self._get_param("logGroupIdentifier")
        if not identifier:
            return super().describe_log_streams()
        if name:
            raise _refusal("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
        streams, token = self.logs_backend.describe_log_streams(
            descending=self._get_param("descending", False),
            limit=self._get_param("limit", GROUPS_LIMIT),
            log_group_name=name_of(identifier.removesuffix(":*"), "logs", "log-group"),
            log_group_id="",
            log_stream_name_prefix=self._get_param("logStreamNamePrefix", ""),
            next_token=self._get_param("nextToken"),
            order_by=self._get_param("orderBy", "LogStreamName"),
        )
        return json.dumps({"logStreams": streams, "nextToken": token})

    def associate_kms_key(self) -> str:
        """AssociateKmsKey."""
        return _set_key(self, self._get_param("kmsKeyId"))

    def disassociate_kms_key(self) -> str:
        """DisassociateKmsKey."""
        return _set_key(self, None)


_Item = TypeVar("_Item")


def _refusal(code: str, message: str) -> JsonRESTError:
    return JsonRESTError(code, message)


def _group(answers: LogAnswers, described: dict[str, object]) -> dict[str, object]:
    """A group with what moto does not know of it."""
    filters = len(answers.logs_backend.filters_of(str(described["logGroupName"])))
    own = {"logGroupClass": "STANDARD", "deletionProtectionEnabled": False, "metricFilterCount": filters}
    return {**described, **own}


def _query(query: LogQuery) -> dict[str, object]:
    """A query as DescribeQueries tells it; its times are seconds."""
    source = ", ".join(f'"{name}"' for name in query.log_group_names)
    span = f"START={query.start_time}000 END={query.end_time}999"
    told = query.to_json(query.log_group_names[0])
    return {**told, "queryLanguage": "CWLI", "queryString": f"SOURCE {source} {span} | {query.query}"}


def _groups(answers: LogAnswers, names: list[str], members: Sequence[str]) -> str:
    """A page of groups by their names, with some of their members."""
    page, token = _page(names, answers)
    groups = [_group(answers, answers.logs_backend.groups[name].to_describe_dict()) for name in page]
    return _said({"logGroups": [{each: group[each] for each in members} for group in groups], "nextToken": token})


def _page(found: list[_Item], answers: LogAnswers) -> tuple[list[_Item], str | None]:
    """As many as are asked for after those that were told, and the token of the next ones."""
    given, limit = answers._get_param("nextToken") or "0", answers._get_param("limit") or GROUPS_LIMIT
    if not given.isdigit():
        raise InvalidParameterException("The specified nextToken is invalid.")
    begin, end = int(given), int(given) + limit
    return found[begin:end], str(end) if end < len(found) else None


def _check_token(answers: LogAnswers) -> None:
    """Raise moto's InvalidParameterException for a token of FilterLogEvents that moto would answer with no events."""
    given = answers._get_param("nextToken")
    if given is None:
        return
    group, _, place = given.partition("@")
    if group != answers._get_param("logGroupName") or not place.rpartition("@")[2].isdigit():
        raise InvalidParameterException("The specified nextToken is invalid.")


def _said(answer: dict[str, object]) -> str:
    """Without a token that is none."""
    return json.dumps({name: value for name, value in answer.items() if value is not None})


def _set_key(answers: LogAnswers, key: str | None) -> str:
    group = answers.logs_backend.groups.get(answers._get_param("logGroupName"))
    if group is None:
        raise ResourceNotFoundException()
    group.kms_key_id = key
    return "{}"
