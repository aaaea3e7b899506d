"""CloudWatch Logs of the account: moto's, with the stream prefix of FilterLogEvents and keys that change.

Runs in the server process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moto.logs import urls
from moto.logs.exceptions import ResourceNotFoundException
from moto.logs.models import LogsBackend, logs_backends
from moto.logs.responses import LogsResponse

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, use_backend

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers


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

    def associate_kms_key(self) -> str:
        """AssociateKmsKey."""
        return _set_key(self, self._get_param("kmsKeyId"))

    def disassociate_kms_key(self) -> str:
        """DisassociateKmsKey."""
        return _set_key(self, None)


def _set_key(answers: LogAnswers, key: str | None) -> str:
    group = answers.logs_backend.groups.get(answers._get_param("logGroupName"))
    if group is None:
        raise ResourceNotFoundException()
    group.kms_key_id = key
    return "{}"
