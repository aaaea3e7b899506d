"""One update of an endpoint: the new fleet comes up, takes over the traffic in steps, and is watched at each of them.

Runs in the server process, in the thread of the update. An alarm of the deployment that is in ALARM at any look, also
one that was before the update began, a new fleet that does not come up, and the end of the execution time make all
traffic go back to the old fleet. AWS's pages do not say what becomes of an alarm that is in ALARM before the start;
rolling back is the cautious reading of "if any alarms are tripped during a deployment". Waits pass ``time_scale`` times
as fast as they are stated; the execution time counts what they state, and everything else as long as it takes. The
alarms are read as the execution role of the new fleet's model: the developer guide's page on auto-rollback demands that
it may call DescribeAlarms, and not what becomes of an update whose role may not; here it is refused or rolled back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.protocol.actions import ServiceError
from local_account.sagemaker.endpoints.archive import StartError
from local_account.sagemaker.endpoints.deployment_config import RolloutPlan, RolloutStep
from local_account.sagemaker.endpoints.fleet import EndpointTraffic, Fleet
from local_account.sagemaker.records import EndpointSource

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import CompositeAlarmTypeDef, MetricAlarmTypeDef

LOOK_EVERY_S = 0.2


class RollbackError(Exception):
    """The update must not go on; the message becomes the endpoint's FailureReason."""


class InterruptedRolloutError(Exception):
    """The account stops in the middle of an update."""


@dataclass
class Rollout:
    """``report(status, message)`` tells what the new fleet's variants do now; ``settle`` brings all metrics to the
    alarms; ``lock`` guards ``traffic``."""

    account: Account
    plan: RolloutPlan
    old: Fleet
    new: Fleet
    traffic: EndpointTraffic
    lock: AbstractContextManager[object]
    report: Callable[[str, str], None]
    settle: Callable[[], None]

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._ahead_s = 0.0  # by how much the stated waits are longer than those that were waited

    def forward(self) -> None:
        """Shift all traffic to the new fleet; raises RollbackError, with the traffic wherever it was then."""
        self._look()
        self._launch()
        for step in self.plan.steps:
            self._take(step)
        with self.lock:
            self.traffic.main = self.new
            self.traffic.shift(None, 0)

    def back(self) -> None:
        """Give all traffic to the old fleet, and end the new one."""
        for share in self.plan.way_back:  # of a rolling update: the old fleet has given up instances
            name = self.old.variants[0]
            wanted = math.ceil(share * _instances(self.old) - 1e-9)
            self.old.scale({name: max(self.old.counts[name], wanted)})
            with self.lock:
                self.traffic.shift(self.new, min(self.traffic.share, 1 - share))
        with self.lock:
            self.traffic.shift(None, 0)
        self._until_stopping()
        self.report("Deleting", f"Terminating {sum(self.new.counts.values())} instance(s).")
        self.new.stop()

    def _launch(self) -> None:
        if self.plan.rolling:
            return  # its instances come batch by batch
        self.report("Creating", f"Launching {_instances(self.new)} instance(s).")
        with self._rolling_back():
            self.new.start()

    def _take(self, step: RolloutStep) -> None:
        total = _instances(self.new)
        number = math.ceil(step.share * total - 1e-9)
        capacity = "full capacity" if step.share == 1 else "canary capacity"
        where = f"{capacity} of {number} instance(s)"
        if self.plan.rolling:
            self.report("Creating", f"Launching {number - sum(self.new.counts.values())} instance(s).")
            name = self.new.variants[0]
            with self._rolling_back():
                self.new.scale({name: number})
        self.report("ActivatingTraffic", f"Activating traffic on {where}.")
        with self.lock:
            self.traffic.shift(self.new, step.share)
        self.report("Baking", f"Baking for {step.bake_s:g} seconds ({step.wait_name}) with traffic enabled on {where}.")
        self._bake(step.bake_s)
        if self.plan.rolling:
            name = self.old.variants[0]
            self.old.scale({name: max(0, math.ceil((1 - step.share) * _instances(self.old) - 1e-9))})

    def _bake(self, stated_s: float) -> None:
        wait_s = stated_s / self.account.time_scale
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            self._look()
            if self.account.stopping.wait(min(LOOK_EVERY_S, left_s)):
                raise InterruptedRolloutError
        self._ahead_s += stated_s - wait_s
        self.settle()
        self._look()

    def _look(self) -> None:
        self._until_stopping()
        if time.monotonic() - self._started + self._ahead_s > self.plan.timeout_s:
            raise RollbackError(
                f"The deployment did not end within MaximumExecutionTimeoutInSeconds, {self.plan.timeout_s:g} seconds."
            )
        if not self.plan.alarms:
            return
        try:
            found = _described(self.account, self.new.source, self.plan.alarms)
        except ClientError as error:
            raise RollbackError(f"The alarms of the deployment could not be read: {error}") from error
        tripped = [f"{a['AlarmName']} ({a['StateReason']})" for a in found if a["StateValue"] == "ALARM"]
        if tripped:
            raise RollbackError(
                f"The deployment was rolled back because CloudWatch alarms were in ALARM: {'; '.join(tripped)}"
            )

    def _until_stopping(self) -> None:
        if self.account.stopping.is_set():
            raise InterruptedRolloutError

    @contextmanager
    def _rolling_back(self) -> Iterator[None]:
        try:
            yield
        except StartError as error:
            self._until_stopping()
            raise RollbackError(str(error)) from error


def _instances(fleet: Fleet) -> int:
    return sum(v.get("InitialInstanceCount", 0) for v in fleet.source["variants"])


def check_alarms(account: Account, source: EndpointSource, names: Sequence[str]) -> None:
    """Refuse alarms that would watch nothing: missing ones, and those that the model's role may not read."""
    if not names:
        return
    try:
        found = _described(account, source, names)
    except ClientError as error:
        raise ServiceError(f"The CloudWatch alarms of the deployment could not be read: {error}") from error
    missing = set(names) - {alarm["AlarmName"] for alarm in found}
    if missing:
        raise ServiceError(f"Could not find the CloudWatch alarms of the deployment: {', '.join(sorted(missing))}.")


def _described(
    account: Account, source: EndpointSource, names: Sequence[str]
) -> list[MetricAlarmTypeDef | CompositeAlarmTypeDef]:
    role = source["variants"][0]["container"].get("role", "")  # state of an older version has none
    answer = account.client("cloudwatch", role).describe_alarms(
        AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    return [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
