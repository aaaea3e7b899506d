"""Buses and rules of EventBridge as AWS describes them: times, policies, and what is not there.

Runs in the server process; moto keeps them. Source: the EventBridge API reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moto.events.exceptions import ResourceNotFoundException
from moto.events.responses import EventsHandler

from local_account.base.arns import last_part
from local_account.base.replacements import extends
from local_account.events.targets import read_token, token_of

if TYPE_CHECKING:
    from moto.events.models import EventBus


@extends
class BusAnswers(EventsHandler):
    """moto's answers, with what they leave out of buses and rules."""

    def describe_rule(self) -> tuple[str, dict[str, object]]:
        """DescribeRule; raises moto's ResourceNotFoundException."""
        self.check_rule()
        return super().describe_rule()

    def enable_rule(self) -> tuple[str, dict[str, object]]:
        """EnableRule; raises moto's ResourceNotFoundException."""
        self.check_rule()
        return super().enable_rule()

    def disable_rule(self) -> tuple[str, dict[str, object]]:
        """DisableRule; raises moto's ResourceNotFoundException."""
        self.check_rule()
        return super().disable_rule()

    def check_rule(self, member: str = "Name") -> None:
        """Raises moto's ResourceNotFoundException for a rule that is not on its bus."""
        name, bus = self._get_param(member), last_part(self._get_param("EventBusName") or "default")
        kept = self.events_backend.event_buses.get(bus)
        if name and kept is not None and name not in kept.rules:
            raise ResourceNotFoundException(f"Rule {name} does not exist on EventBus {bus}.")

    def list_event_buses(self) -> tuple[str, dict[str, object]]:
        """ListEventBuses, with their times."""
        text, headers = super().list_event_buses()
        listed = json.loads(text)
        buses = self.events_backend.event_buses
        for each in listed["EventBuses"]:
            each.update(_times(buses[each["Name"]]))
        return json.dumps({name: value for name, value in listed.items() if value is not None}), headers

    def list_archives(self) -> tuple[str, dict[str, object]]:
        """ListArchives, in pages; raises moto's ResourceNotFoundException for those of a bus that is not there."""
        source = self._get_param("EventSourceArn")
        if source and last_part(source) not in self.events_backend.event_buses:
            raise ResourceNotFoundException(f"Event bus {last_part(source)} does not exist.")
        text, headers = super().list_archives()
        return self.page(text, "Archives"), headers

    def list_replays(self) -> tuple[str, dict[str, object]]:
        """ListReplays, in pages."""
        text, headers = super().list_replays()
        return self.page(text, "Replays"), headers

    def page(self, text: str, name: str) -> str:
        """The page of an answer that the request asks for; raises moto's ValidationException for no token."""
        listed = json.loads(text)[name]
        start, limit = read_token(self._get_param("NextToken")), int(self._get_param("Limit") or 100)
        more = {"NextToken": token_of(start + limit)} if start + limit < len(listed) else {}
        return json.dumps({name: listed[start : start + limit], **more})

    def put_permission(self) -> str:
        """PutPermission; everybody is ``*``."""
        answer = super().put_permission()
        if self._get_param("Principal") == "*":
            bus = self.events_backend.describe_event_bus(self._get_param("EventBusName"))
            bus._statements[self._get_param("StatementId")].principal = "*"  # type: ignore[assignment]
        return answer


def _times(bus: EventBus) -> Mapping[str, object]:
    return {"CreationTime": bus.creation_time, "LastModifiedTime": bus.last_modified_time}
