"""EventBridge Scheduler on moto, and the scheduled rules of EventBridge: what is due is really called.

Runs in the server process; moto keeps the schedules, a thread looks four times a second at what is due. What falls due
while the account is stopped is not made up for. A flexible time window fires at its beginning. Targets that nothing
here delivers to, the universal ``aws-sdk`` ones among them, are refused when the schedule is created.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from moto.core.exceptions import JsonRESTError
from moto.events.models import Rule, events_backends
from moto.scheduler import urls
from moto.scheduler.exceptions import ValidationException
from moto.scheduler.models import EventBridgeSchedulerBackend, Schedule, scheduler_backends
from moto.scheduler.responses import EventBridgeSchedulerResponse

from local_account.account import Account
from local_account.base import clock as account_clock
from local_account.base.arns import last_part, own_arn
from local_account.base.replacements import answered_by, extends, use_backend
from local_account.events.delivery import Deliverer, Delivery, UndeliverableError, service_of
from local_account.events.documents import kept_target
from local_account.events.inputs import fill, target_input
from local_account.events.schedule_expressions import ScheduleExpressionError, parse
from local_account.events.service import deliverer_of

if TYPE_CHECKING:
    from types_boto3_scheduler.type_defs import CreateScheduleInputTypeDef

    from local_account.base.replacements import Handlers

log = logging.getLogger(__name__)

TICK_S = 0.25


def install(account: Account) -> None:
    """Check schedules when they are made and start the thread that fires them."""
    use_backend(scheduler_backends, CheckedSchedules)
    clock = Timetable(account, deliverer_of(account))
    account.after_clock_moved.append(lambda: clock.tick(account_clock.now()))
    threading.Thread(target=clock.run, name="scheduler", daemon=True).start()


@dataclass(frozen=True)
class _Due:
    """When something fires next; ``key`` changes with its definition."""

    key: tuple[object, ...]
    at: datetime | None


class Timetable:
    """Fires schedules and scheduled rules."""

    def __init__(self, account: Account, deliverer: Deliverer) -> None:
        self._account = account
        self._deliverer = deliverer
        self._started = account_clock.now()
        self._due: dict[str, _Due] = {}
        self._ticking = threading.Lock()

    def run(self) -> None:
        """The thread's target: look at what is due until the account stops."""
        while not self._account.stopping.wait(TICK_S):
            try:
                self.tick(account_clock.now())
            except Exception:
                log.exception("schedules were not looked at")

    def tick(self, now: datetime) -> None:
        """Fire everything that has become due."""
        with self._ticking:
            self._tick(now)

    def _tick(self, now: datetime) -> None:
        seen = set()
        for arn, item in self._items():
            seen.add(arn)
            due = self._due.get(arn)
            if due is None or due.key != _key(item):
                due = _Due(_key(item), _next(item, max(self._started, _created(item, now))))
                self._due[arn] = due
            if due.at is None or due.at > now:
                continue
            following = _next(item, due.at)
            if following and following <= now:  # the machine slept
                following = _next(item, now)
            self._due[arn] = _Due(due.key, following)
            if item.state == "ENABLED":
                self._fire(item, due.at, last=following is None)
        self._due = {arn: due for arn, due in self._due.items() if arn in seen}

    def _items(self) -> Iterator[tuple[str, Schedule | Rule]]:
        account, region = self._account.account_id, self._account.region
        for group in list(scheduler_backends[account][region].schedule_groups.values()):
            yield from ((schedule.arn, schedule) for schedule in list(group.schedules.values()))
        for bus in list(events_backends[account][region].event_buses.values()):
            yield from ((rule.arn, rule) for rule in list(bus.rules.values()) if rule.scheduled_expression)

    def _fire(self, item: Schedule | Rule, due: datetime, *, last: bool) -> None:
        if isinstance(item, Rule):
            event = self._event("aws.events", item.arn, due, {})
            for target in map(kept_target, list(item.targets)):
                self._deliverer.deliver(Delivery(target, target_input(target, event, item.arn), item.arn))
            return
        self._deliverer.deliver(Delivery(kept_target(item.target), self._input(item, due), item.arn))
        if last and item.action_after_completion == "DELETE":
            group = scheduler_backends[self._account.account_id][self._account.region].schedule_groups[item.group_name]
            group.schedules.pop(item.name, None)
            self._account.snapshots.mark_dirty("scheduler")

    def _input(self, schedule: Schedule, due: datetime) -> str:
        if "Input" not in schedule.target:
            return json.dumps(self._event("aws.scheduler", schedule.arn, due, "{}"))
        context = {
            "aws.scheduler.schedule-arn": schedule.arn,
            "aws.scheduler.scheduled-time": due.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "aws.scheduler.execution-id": str(uuid.uuid4()),
            "aws.scheduler.attempt-number": "1",
        }
        return fill(schedule.target["Input"], context)

    def _event(self, source: str, arn: str, due: datetime, detail: object) -> dict[str, object]:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": source,
            "account": self._account.account_id,
            "time": due.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._account.region,
            "resources": [arn],
            "detail": detail,
        }


def _key(item: Schedule | Rule) -> tuple[object, ...]:
    if isinstance(item, Rule):
        return (item.scheduled_expression,)
    zone = item.schedule_expression_timezone
    return (item.schedule_expression, zone, item.start_date, item.end_date, item.last_modified_date)


def _created(item: Schedule | Rule, now: datetime) -> datetime:
    return now if isinstance(item, Rule) else datetime.fromtimestamp(item.last_modified_date, UTC)


def _moment(value: str | float | None) -> datetime | None:
    return datetime.fromtimestamp(float(value), UTC) if value is not None else None


def _next(item: Schedule | Rule, after: datetime) -> datetime | None:
    if isinstance(item, Rule):
        return parse(item.scheduled_expression or "", start=after, allow_at=False).next_after(after)
    start, end = _moment(item.start_date), _moment(item.end_date)
    begin = start or datetime.fromtimestamp(item.creation_date, UTC)
    schedule = parse(item.schedule_expression, zone=item.schedule_expression_timezone, start=begin)
    if schedule.once:  # at() ignores the dates, as AWS documents
        return schedule.next_after(after)
    due = schedule.next_after(max(after, start) if start else after)
    return None if due and end and due > end else due


@extends
class CheckedSchedules(EventBridgeSchedulerBackend):
    """moto's schedules, answered by `ScheduleAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(ScheduleAnswers, urls.url_paths)


@extends
class ScheduleAnswers(EventBridgeSchedulerResponse):
    """moto's answers; schedules that nothing here could run are refused, and times are the account's.

    docs/upstream/105 would have moto refuse unknown groups and know the default of State.
    """

    def create_schedule(self) -> str:
        """CreateSchedule; raises moto's ValidationException, or ScheduleGroupNotFound, which moto forgets."""
        _check(json.loads(self.body), self.current_account, self.region)
        self.scheduler_backend.get_schedule_group(self._get_param("GroupName"))
        answer = super().create_schedule()
        schedule = _schedule(self)
        schedule.creation_date = schedule.last_modified_date = account_clock.time()
        return answer

    def update_schedule(self) -> str:
        """UpdateSchedule: what the request leaves out gets its default; raises moto's ValidationException."""
        _check(json.loads(self.body), self.current_account, self.region)
        answer = super().update_schedule()
        schedule = _schedule(self)
        schedule.state = schedule.state or "ENABLED"
        schedule.last_modified_date = account_clock.time()
        return answer

    def create_schedule_group(self) -> str:
        """CreateScheduleGroup; raises moto's JsonRESTError for one that is there."""
        name = self._get_param("Name")
        if name in self.scheduler_backend.schedule_groups:
            raise JsonRESTError("ConflictException", f"Schedule group {name} already exists.")
        return super().create_schedule_group()

    def delete_schedule_group(self) -> str:
        """DeleteScheduleGroup; raises moto's errors for the default one, and for one that is not there."""
        name = unquote(self.uri.split("?")[0].split("/")[-1])
        if name == "default":
            raise ValidationException("The default schedule group cannot be deleted.")
        self.scheduler_backend.get_schedule_group(name)
        return super().delete_schedule_group()

    def list_tags_for_resource(self) -> str:
        """ListTagsForResource; raises moto's ScheduleGroupNotFound."""
        self.scheduler_backend.get_schedule_group(last_part(unquote(self.uri.split("/tags/")[-1])))
        return super().list_tags_for_resource()


def _schedule(answers: ScheduleAnswers) -> Schedule:
    name = answers.uri.split("?")[0].split("/")[-1]
    return answers.scheduler_backend.get_schedule(answers._get_param("GroupName"), name)


def _check(request: CreateScheduleInputTypeDef, account: str, region: str) -> None:
    target, zone = kept_target(request["Target"]), request.get("ScheduleExpressionTimezone") or "UTC"
    try:
        parse(request.get("ScheduleExpression", ""), zone=zone, start=account_clock.now())
        service = service_of(target["Arn"])
    except ScheduleExpressionError as error:
        raise ValidationException(str(error)) from error
    except UndeliverableError as error:
        raise ValidationException(
            f"{error} Supported are Lambda, Step Functions, SQS, SNS, EventBridge and SageMaker pipelines."
        ) from error
    if own_arn(target["Arn"], account, region) is None:
        raise ValidationException(
            f"Provided Arn {target['Arn']} is not valid: nothing is delivered beyond account {account} in {region}."
        )
    if service == "logs":
        raise ValidationException(f"Provided Arn {target['Arn']} is not a target of EventBridge Scheduler.")
    if service == "events" and "EventBridgeParameters" not in target:
        raise ValidationException("EventBridgeParameters must be specified for an event bus target.")
