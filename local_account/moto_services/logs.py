"""CloudWatch Logs of the account: moto's, with the stream prefix of FilterLogEvents and keys that change.

Runs in the server process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moto.core.exceptions import JsonRESTError
from moto.logs import urls
from moto.logs.exceptions import ResourceNotFoundException
from moto.logs.models import LogsBackend, logs_backends
from moto.logs.responses import LogsResponse

from local_account.account import Account
from local_account.base.arns import name_of
from local_account.base.replacements import answered_by, extends, use_backend

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers


GROUPS_LIMIT = 50
RETENTIONS_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
"""CloudWatch Logs API, PutRetentionPolicy."""


def install(_account: Account) -> None:
    """Filter by the streams that the request asks for, and let a group's key change."""
    use_backend(logs_backends, FilteredLogs)


@extends
class FilteredLogs(LogsBackend):
    """moto's groups and streams, answered by `LogAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(LogAnswers, urls.url_paths)


@extends
class LogAnswers(LogsResponse):
    """moto's answers, and those that it does not know."""

    def filter_log_events(self) -> str:
        """FilterLogEvents, also by ``logStreamNamePrefix`` (docs/upstream/106)."""
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

    def delete_metric_filter(self) -> str:
        """DeleteMetricFilter; raises moto's ResourceNotFoundException, which moto forgets."""
        asked = self._get_param("filterName"), self._get_param("logGroupName")
        kept = self.logs_backend.filters.metric_filters
        if not any((each["filterName"], each["logGroupName"]) == asked for each in kept):
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
            return _named_like(self, pattern)
        answer = json.loads(super().describe_log_groups())
        for each in answer["logGroups"]:
            each.setdefault("logGroupClass", "STANDARD")
        return json.dumps(answer)

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


def _refusal(code: str, message: str) -> JsonRESTError:
    return JsonRESTError(code, message)


def _named_like(answers: LogAnswers, pattern: str) -> str:
    """The groups whose names have the pattern in them: AmazonCloudWatchLogs API, DescribeLogGroups."""
    after, limit = answers._get_param("nextToken") or "", answers._get_param("limit") or GROUPS_LIMIT
    found = sorted(name for name in answers.logs_backend.groups if pattern in name and name > after)
    groups = [answers.logs_backend.groups[name].to_describe_dict() for name in found[:limit]]
    members = ("arn", "creationTime", "logGroupName")
    answer: dict[str, object] = {"logGroups": [{name: each[name] for name in members} for each in groups]}
    return json.dumps({**answer, "nextToken": found[limit - 1]} if len(found) > limit else answer)


def _set_key(answers: LogAnswers, key: str | None) -> str:
    group = answers.logs_backend.groups.get(answers._get_param("logGroupName"))
    if group is None:
        raise ResourceNotFoundException()
    group.kms_key_id = key
    return "{}"
