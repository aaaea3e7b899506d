"""Activities: tasks that wait until a worker asks for them.

Runs in the server process. A task that nobody has taken ends with its execution, as after a restart.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from moto.stepfunctions.parser.api import ActivityDoesNotExist
from moto.stepfunctions.parser.asl.eval.callback.callback import (
    ActivityCallbackEndpoint,
    ActivityTaskStartEndpoint,
    CallbackPoolManager,
)
from moto.stepfunctions.parser.backend.activity import ActivityTask

from local_account.base.replacements import extends

POLL_S = 60  # GetActivityTask: the service holds the connection for a minute


@dataclass
class ActivityQueue:
    """The tasks of one activity that no worker has taken."""

    tasks: deque[ActivityTask] = field(default_factory=deque)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add_task(self, task: ActivityTask) -> None:
        """Offer a task."""
        with self.changed:
            self.tasks.append(task)
            self.changed.notify()

    def take(self, begun: Callable[[ActivityTask], bool], limit_s: float = POLL_S) -> ActivityTask | None:
        """The next task that still waits, as ``begun`` says; None when there is none within the time."""
        deadline = time.monotonic() + limit_s
        while True:
            task = self._next(deadline)
            if task is None or begun(task):
                return task

    def _next(self, deadline: float) -> ActivityTask | None:
        with self.changed:
            while not self.tasks:
                if not self.changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    return None
            return self.tasks.popleft()


class ActivityQueues:
    """The queues of the activities that there are."""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self._exists = exists
        self._queues: defaultdict[str, ActivityQueue] = defaultdict(ActivityQueue)

    def get(self, arn: str) -> ActivityQueue | None:
        """The queue of an activity; None where there is no such activity."""
        return self._queues[arn] if self._exists(arn) else None


@extends
class TaskTokens(CallbackPoolManager):
    """The tokens of one execution; moto's start of an activity's task knows no outcome until there is one."""

    def heartbeat(self, callback_id: str) -> bool:
        """Whether the token is one of the execution's: a task that expects none, or not yet, takes one as well."""
        return super().heartbeat(callback_id) or callback_id in self._pool

    def add_activity_task(self, callback_id: str, activity_arn: str, activity_input: str) -> ActivityCallbackEndpoint:
        """Offer a task to the activity's workers; ActivityDoesNotExist."""
        endpoint = ActivityCallbackEndpoint(callback_id=callback_id, activity_input=activity_input)
        start: ActivityTaskStartEndpoint = endpoint.get_activity_task_start_endpoint()
        vars(start).setdefault("_outcome", None)
        self._pool[callback_id] = endpoint
        queue = self._activity_store.get(activity_arn)
        if queue is None:
            del self._pool[callback_id]
            raise ActivityDoesNotExist(activity_arn)
        queue.add_task(ActivityTask(task_token=callback_id, task_input=activity_input))
        return endpoint
