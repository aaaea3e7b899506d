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
from pathlib import Path
from typing import TYPE_CHECKING, cast

from moto.events import urls
from moto.events.exceptions import InvalidEventPatternException, ValidationException
from moto.events.models import EventsBackend, Rule, events_backends

from local_account.account import Account
from local_account.base import clock
from local_account.base.arns import last_part
from local_account.base.chaos import Duplicates
from local_account.base.replacements import answered_by, extends, replace, use_backend
from local_account.events import replays
from local_account.events.buses import BusAnswers
from local_account.events.delivery import Deliverer, Delivery
from local_account.events.documents import EventEntry, kept_target
from local_account.events.inputs import target_input
from local_account.events.pattern_grammar import PatternError, parse_pattern
from local_account.events.patterns import matches
from local_account.events.replays import is_archive, last_replayed
from local_account.events.schedule_expressions import ScheduleExpressionError, parse
from local_account.events.targets import MAX_TARGETS, LimitExceededError, check_target, read_token, token_of
from local_account.protocol.members import register_folder

if TYPE_CHECKING:
    from moto.events.utils import EventMessageType

    from local_account.base.replacements import Handlers

log = logging.getLogger(__name__)

ENTRIES_LIMIT_BYTES = 256 * 1024  # EventBridge User Guide, PutEvents
EVENT_MEMBERS = {"id", "detail-type", "source", "account", "time", "region"}  # API Reference, TestEventPattern

_deliverers: dict[int, Deliverer] = {}


def deliverer_of(account: Account) -> Deliverer:
    """The account's delivery threads, shared by rules, schedules and alarms."""
    if id(account) not in _deliverers:  # installation is single-threaded
        _deliverers[id(account)] = Deliverer(account)
    return _deliverers[id(account)]


def install(account: Account) -> None:
    """Set ``account.emit_event`` and replace what moto does with matched events."""
    register_folder(Path(__file__).with_name("members"))
    use_backend(events_backends, MatchedEvents)
    replays.install()
    _deliver_matched(deliverer_of(account), Duplicates() if account.chaos == "duplicates" else None)
    emitted: queue.SimpleQueue[EventEntry] = queue.SimpleQueue()

    def emit_event(source: str, detail_type: str, detail: Mapping[str, object], resources: list[str]) -> None:
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


def _deliver_matched(deliverer: Deliverer, duplicates: Duplicates | None) -> None:
    """moto's rules deliver at once, to few kinds of targets; here threads deliver to all that the account has."""

    def send_to_targets(self: Rule, original_event: EventMessageType, transform_input: bool = True) -> None:
        if self.state == "DISABLED" or not self.event_pattern.dump():
            return
        event = _plain(original_event)
        if not matches(self.event_pattern.get_pattern(), event):
            return
        for held in list(self.targets):
            target = kept_target(held)
            if is_archive(target["Arn"]):
                _archive(self, original_event)
                continue
            payload = target_input(target, event, self.arn) if transform_input else json.dumps(event)
            for delay_s in duplicates.delays_s() if duplicates else (0.0,):
                deliverer.deliver(Delivery(target, payload, self.arn), delay_s)

    why = "moto matches patterns otherwise than EventBridge and delivers to few kinds of targets, without retries"
    replace(Rule, "send_to_targets", send_to_targets, why=why)


def _plain(event: EventMessageType) -> dict[str, object]:
    """The event as targets see it: ``time`` to the second in UTC, nothing of moto's own."""
    plain = {key: value for key, value in event.items() if key != "ingestion-time"}
    time = event["time"]
    if isinstance(time, str) and not time.replace(".", "", 1).isdigit():
        return plain
    plain["time"] = datetime.fromtimestamp(float(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return plain


def _archive(rule: Rule, event: EventMessageType) -> None:
    backend = events_backends[rule.account_id][rule.region_name]
    for archive in backend.archives.values():
        if rule.name.endswith(archive.name):
            archive.events.append(event)


def _publish(backend: EventsBackend, entry: EventEntry) -> str:
    """Match one event with the rules of its bus; returns its id."""
    bus = backend.describe_event_bus(last_part(entry.get("EventBusName") or "default"))
    now = clock.time()
    event: EventMessageType = {
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
        try:
            rule.send_to_targets(event)
        except Exception:  # one rule's trouble is not the others'
            log.exception("the rule %s could not look at the event %s", rule.arn, event["id"])
    return event["id"]


@extends
class MatchedEvents(EventsBackend):
    """moto's buses and rules, answered by `EventAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(EventAnswers, urls.url_paths)

    def put_events(self, events: list[dict[str, object]]) -> list[dict[str, str]]:
        """PutEvents: the id of each event, or why it was not taken; raises moto's ValidationException above ten."""
        if len(events) > 10:
            raise ValidationException(
                "1 validation error detected: Value '[PutEventsRequestEntry]' at 'entries' failed to satisfy "
                "constraint: Member must have length less than or equal to 10"
            )
        if sum(map(_size, events)) > ENTRIES_LIMIT_BYTES:
            raise ValidationException("Total size of the entries in the request is over the limit.")
        return [_put(self, cast("EventEntry", entry)) for entry in events]

    def describe_replay(self, name: str) -> dict[str, object]:
        """DescribeReplay; raises moto's ResourceNotFoundException."""
        told: dict[str, object] = super().describe_replay(name)
        return told | last_replayed(self.replays[name])

    def list_replays(self, name_prefix: str, source_arn: str, state: str) -> list[dict[str, object]]:
        """ListReplays."""
        found: list[dict[str, object]] = super().list_replays(name_prefix, source_arn, state)
        if state:  # moto compares names with members of an enumeration
            found = [each.describe_short() for each in self.replays.values() if each.state.value == state]
        return [each | last_replayed(self.replays[str(each["ReplayName"])]) for each in found]


def _put(backend: EventsBackend, entry: EventEntry) -> dict[str, str]:
    given = {"Source": entry.get("Source"), "DetailType": entry.get("DetailType"), "Detail": entry.get("Detail")}
    for name in (name for name, value in given.items() if not value):
        message = f"Parameter {name} is not valid. Reason: {name} is a required argument."
        return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
    if entry["Source"].startswith("aws."):
        message = "Not authorized for the source."
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": message}
    if not _is_object(entry["Detail"]):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    if last_part(entry.get("EventBusName") or "default") not in backend.event_buses:
        return {"EventId": str(uuid.uuid4())}  # AWS takes what is for a bus that is not there, and drops it
    return {"EventId": _publish(backend, entry)}


def _size(entry: Mapping[str, object]) -> int:
    """What an entry counts for the limit (EventBridge User Guide, "PutEvents entry size")."""
    texts = [entry.get("Source"), entry.get("DetailType"), entry.get("Detail")]
    resources = entry.get("Resources")
    texts += resources if isinstance(resources, list) else []
    return sum(len(str(text).encode()) for text in texts if text) + (14 if entry.get("Time") else 0)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


@extends
class EventAnswers(BusAnswers):
    """moto's answers; patterns, schedules and targets are checked when they come."""

    def put_rule(self) -> tuple[str, dict[str, object]]:
        """PutRule."""
        _check_pattern(self._get_param("EventPattern"))
        _check_schedule(self._get_param("ScheduleExpression"))
        return super().put_rule()

    def create_archive(self) -> tuple[str, dict[str, object]]:
        """CreateArchive."""
        _check_pattern(self._get_param("EventPattern"))
        return super().create_archive()

    def update_archive(self) -> tuple[str, dict[str, object]]:
        """UpdateArchive."""
        _check_pattern(self._get_param("EventPattern"))
        return super().update_archive()

    def put_targets(self) -> tuple[str, dict[str, object]]:
        """PutTargets: raises moto's ValidationException for one that nothing here delivers to."""
        targets = [kept_target(target) for target in self._get_param("Targets")]
        for target in targets:
            check_target(target, self.current_account, self.region)
        bus = self.events_backend.event_buses.get(last_part(self._get_param("EventBusName") or "default"))
        rule = bus.rules.get(self._get_param("Rule")) if bus else None
        kept = {target["Id"] for target in rule.targets} if rule else set()
        if len(kept | {str(target.get("Id")) for target in targets}) > MAX_TARGETS:
            raise LimitExceededError
        return super().put_targets()

    def list_targets_by_rule(self) -> tuple[str, dict[str, object]]:
        """ListTargetsByRule, in pages of `Limit`; raises moto's ValidationException for a token of another's."""
        bus = self.events_backend.event_buses.get(last_part(self._get_param("EventBusName") or "default"))
        rule = bus.rules.get(self._get_param("Rule")) if bus else None
        self.check_rule("Rule")
        if rule is None:
            return super().list_targets_by_rule()
        start, limit = read_token(self._get_param("NextToken")), int(self._get_param("Limit") or 100)
        answer: dict[str, object] = {"Targets": rule.targets[start : start + limit]}
        if start + limit < len(rule.targets):
            answer["NextToken"] = token_of(start + limit)
        return json.dumps(answer), dict(self.response_headers)

    def test_event_pattern(self) -> tuple[str, dict[str, str]]:  # type: ignore[override]  # moto's answers nothing
        """TestEventPattern."""
        text = self._get_param("EventPattern")
        _check_pattern(text)
        event = _event_of(self._get_param("Event"))
        return json.dumps({"Result": matches(parse_pattern(text), event)}), self.response_headers


def _event_of(text: str) -> dict[str, object]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationException("Parameter Event is not valid.") from error
    if not isinstance(event, dict) or not event.keys() >= EVENT_MEMBERS:
        raise ValidationException("Parameter Event is not valid.")
    return event


def _check_pattern(text: str | None) -> None:
    try:
        if text:
            parse_pattern(text)
    except PatternError as error:
        raise InvalidEventPatternException(reason=str(error).partition("Reason: ")[2]) from error


def _check_schedule(expression: str | None) -> None:
    try:
        if expression:
            parse(expression, start=clock.now(), allow_at=False)
    except ScheduleExpressionError as error:
        raise ValidationException("Parameter ScheduleExpression is not valid.") from error
