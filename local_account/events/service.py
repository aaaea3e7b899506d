"""Amazon EventBridge on moto: the services' events reach it, patterns match as AWS's do, targets are really called.

Runs in the server process; moto keeps buses, rules and targets. Installs ``account.emit_event``, which neither blocks
nor raises. Differs from AWS: events are matched in the order they come in and not kept across a restart.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.events.exceptions import InvalidEventPatternException, ValidationException
from moto.events.models import EventPattern, EventsBackend, Rule, events_backends
from moto.events.responses import EventsHandler

from local_account.account import Account
from local_account.base import clock
from local_account.base.chaos import Duplicates
from local_account.events.delivery import Deliverer, Delivery, UndeliverableError, service_of
from local_account.events.inputs import target_input
from local_account.events.patterns import PatternError, matches, parse_pattern

log = logging.getLogger(__name__)

_deliverers: dict[int, Deliverer] = {}


def deliverer_of(account: Account) -> Deliverer:
    """The account's delivery threads, shared by rules, schedules and alarms."""
    if id(account) not in _deliverers:  # installation is single-threaded
        _deliverers[id(account)] = Deliverer(account)
    return _deliverers[id(account)]


def install(account: Account) -> None:
    """Set ``account.emit_event`` and replace what moto does with matched events."""
    deliverer = deliverer_of(account)
    duplicates = Duplicates() if account.chaos == "duplicates" else None
    _install_patterns()
    _install_targets()
    _install_put_events()

    def send_to_targets(rule: Rule, original_event: Mapping[str, Any], transform_input: bool = True) -> None:
        if rule.state == "DISABLED" or not rule.event_pattern.dump():
            return
        event = _plain(original_event)
        if not matches(rule.event_pattern.get_pattern(), event):
            return
        for target in list(rule.targets):
            if target["Arn"].endswith(":::"):  # moto's own archive
                _archive(rule, original_event)
                continue
            payload = target_input(target, event, rule.arn) if transform_input else json.dumps(event)
            for delay_s in duplicates.delays_s() if duplicates else (0.0,):
                deliverer.deliver(Delivery(target, payload, rule.arn), delay_s)

    Rule.send_to_targets = send_to_targets
    emitted: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def emit_event(source: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        try:
            text = json.dumps(detail, default=str)
        except (TypeError, ValueError):
            log.exception("event %r of %s cannot be written as JSON", detail_type, source)
            return
        emitted.put({"Source": source, "DetailType": detail_type, "Detail": text, "Resources": list(resources)})

    def publish() -> None:
        while True:
            entry = emitted.get()
            try:
                _publish(events_backends[account.account_id][account.region], entry)
            except Exception:
                log.exception("event %r of %s was not published", entry["DetailType"], entry["Source"])

    account.emit_event = emit_event
    threading.Thread(target=publish, name="event-publisher", daemon=True).start()


def _plain(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event as targets see it: ``time`` to the second in UTC, nothing of moto's own."""
    plain = {key: value for key, value in event.items() if key not in {"ingestion-time", "replay-name"}}
    time = event["time"]
    if isinstance(time, str) and not time.replace(".", "", 1).isdigit():
        return plain
    if isinstance(time, datetime):
        time = time.timestamp()
    plain["time"] = datetime.fromtimestamp(float(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return plain


def _archive(rule: Rule, event: Mapping[str, Any]) -> None:
    backend = events_backends[rule.account_id][rule.region_name]
    for archive in backend.archives.values():
        if rule.name.endswith(archive.name):
            archive.events.append(event)


def _publish(backend: EventsBackend, entry: dict[str, Any]) -> str:
    """Match one event with the rules of its bus; returns its id."""
    bus = backend.describe_event_bus((entry.get("EventBusName") or "default").rpartition("/")[2])
    now = clock.time()
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": backend.account_id,
        "time": entry.get("Time", now),
        "region": backend.region_name,
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
        "ingestion-time": now,
    }
    for rule in list(bus.rules.values()):
        rule.send_to_targets(event)
    return str(event["id"])


def _install_put_events() -> None:
    def put_events(backend: EventsBackend, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(events) > 10:
            raise ValidationException(
                "1 validation error detected: Value '[PutEventsRequestEntry]' at 'entries' failed to satisfy "
                "constraint: Member must have length less than or equal to 10"
            )
        return [_put_event(backend, entry) for entry in events]

    EventsBackend.put_events = put_events


def _put_event(backend: EventsBackend, entry: dict[str, Any]) -> dict[str, Any]:
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            message = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
    if entry["Source"].startswith("aws."):
        message = "Not authorized for the source."
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": message}
    try:
        is_object = isinstance(json.loads(entry["Detail"]), dict)
    except ValueError:
        is_object = False
    if not is_object:
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    return {"EventId": _publish(backend, entry)}


def _install_patterns() -> None:
    def load(cls: type[EventPattern], raw_pattern: str | None) -> EventPattern:
        try:
            return cls(raw_pattern, parse_pattern(raw_pattern) if raw_pattern else {})
        except PatternError as error:
            reason = str(error).partition("Reason: ")[2]
            raise InvalidEventPatternException(reason=reason) from error

    def test_event_pattern(handler: EventsHandler) -> tuple[str, dict[str, Any]]:
        pattern = EventPattern.load(handler._get_param("EventPattern")).get_pattern()
        try:
            event = json.loads(handler._get_param("Event"))
        except ValueError as error:
            raise ValidationException("Event is not valid JSON.") from error
        return json.dumps({"Result": matches(pattern, event)}), handler.response_headers

    EventPattern.load = classmethod(load)
    EventPattern.matches_event = lambda self, event: matches(self.get_pattern(), _plain(event))
    EventsHandler.test_event_pattern = test_event_pattern


def _install_targets() -> None:
    original = EventsBackend.put_targets
    if getattr(original, "checks_targets", False):
        return

    def put_targets(
        backend: EventsBackend, name: str, event_bus_arn: str | None, targets: list[dict[str, Any]]
    ) -> None:
        for target in targets:
            if target["Arn"].endswith(":::"):
                continue
            try:
                service_of(target["Arn"])
            except UndeliverableError as error:
                message = f"Parameter {target['Arn']} is not valid. Reason: {error}"
                raise ValidationException(message) from error
        original(backend, name=name, event_bus_arn=event_bus_arn, targets=targets)

    put_targets.checks_targets = True  # type: ignore[attr-defined]  # a mark on the function itself
    EventsBackend.put_targets = put_targets
