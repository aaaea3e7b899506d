"""CloudWatch Logs of the account: moto's, with the stream prefix of FilterLogEvents and keys that change."""

from __future__ import annotations

import json
from typing import Any

from local_account.account import Account


def install(_account: Account) -> None:
    """Filter by the streams that the request asks for, and let a group's key change."""
    from moto.logs.exceptions import ResourceNotFoundException
    from moto.logs.responses import LogsResponse

    filter_by_names = LogsResponse.filter_log_events

    def filter_log_events(self: Any) -> Any:
        prefix = self._get_param("logStreamNamePrefix")
        group = self.logs_backend.groups.get(self._get_param("logGroupName"))
        if prefix is None or group is None:
            return filter_by_names(self)
        names = [name for name in group.streams if name.startswith(prefix)]
        if not names:  # moto takes an empty list for every stream
            return json.dumps({"events": [], "searchedLogStreams": []})
        parameters = ("startTime", "endTime", "limit", "nextToken", "filterPattern", "interleaved")
        events, next_token, searched = self.logs_backend.filter_log_events(
            group.name, names, *[self._get_param(parameter) for parameter in parameters]
        )
        return json.dumps({"events": events, "nextToken": next_token, "searchedLogStreams": searched})

    def set_key(self: Any, key: str | None) -> str:
        group = self.logs_backend.groups.get(self._get_param("logGroupName"))
        if group is None:
            raise ResourceNotFoundException()
        group.kms_key_id = key
        return "{}"

    LogsResponse.filter_log_events = filter_log_events
    LogsResponse.associate_kms_key = lambda self: set_key(self, self._get_param("kmsKeyId"))
    LogsResponse.disassociate_kms_key = lambda self: set_key(self, None)
