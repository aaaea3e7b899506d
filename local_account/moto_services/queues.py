"""SQS of the account: moto's, with the tasks that move messages out of a dead-letter queue.

Runs in the server process; a task is a thread, and what it has done is kept with the queues. A task that runs when the
account stops has FAILED when it starts again. Source: SQS Developer Guide, "Dead-letter queue redrive".
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from moto.core.responses import ActionResult
from moto.sqs import urls
from moto.sqs.exceptions import (
    InvalidParameterValue,
    MissingParameter,
    QueueAlreadyExists,
    ReceiptHandleIsInvalid,
    SQSException,
)
from moto.sqs.models import SQSBackend, sqs_backends
from moto.sqs.responses import SQSResponse

from local_account.account import Account
from local_account.base.arns import Arn, read_arn
from local_account.base.replacements import answered_by, extends, use_backend
from local_account.base.stored import stored
from local_account.protocol.kms_keys import KeyUnusableError, usable_key

if TYPE_CHECKING:
    from moto.sqs.models import Message, Queue

    from local_account.base.replacements import Handlers

TASKS_LISTED = 10
_KEY_ERRORS = {
    "KMS.NotFoundException": "KmsNotFound",
    "KMS.DisabledException": "KmsDisabled",
    "KMS.KMSInvalidStateException": "KmsInvalidState",
}


def install(_account: Account) -> None:
    """Let messages be moved. Called once, before the first request."""
    use_backend(sqs_backends, MovedQueues)


@stored
@dataclass
class MoveTask:
    """One task; ``per_s`` is the most messages a second, None for as many as there are."""

    source_arn: str
    destination_arn: str | None
    per_s: int | None
    to_move: int
    handle: str
    started_ms: int
    status: str = "RUNNING"
    moved: int = 0

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self.status = "FAILED" if self.status == "RUNNING" else self.status  # its thread ended with the account

    def shown(self) -> dict[str, object]:
        """As ListMessageMoveTasks answers it."""
        answer: dict[str, object] = {
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "SourceArn": self.source_arn,
            "StartedTimestamp": self.started_ms,
            "Status": self.status,
        }
        if self.destination_arn:
            answer["DestinationArn"] = self.destination_arn
        if self.per_s:
            answer["MaxNumberOfMessagesPerSecond"] = self.per_s
        return answer | ({"TaskHandle": self.handle} if self.status == "RUNNING" else {})


@extends
class MovedQueues(SQSBackend):
    """moto's queues, answered by `QueueAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(QueueAnswers, urls.url_paths)

    @property
    def move_tasks(self) -> list[MoveTask]:
        """All tasks, the oldest first."""
        found: list[MoveTask] = vars(self).setdefault("kept_move_tasks", [])
        return found

    def create_queue(self, name: str, tags: dict[str, str] | None = None, **kwargs: object) -> Queue:
        """CreateQueue; raises moto's QueueAlreadyExists, which names what differs."""
        try:
            return super().create_queue(name, tags, **kwargs)
        except QueueAlreadyExists:
            there = self.queues[name]
            asked = SQSBackend(self.region_name, self.account_id).create_queue(name, None, **kwargs)
            differs = next(key for key in kwargs if there.attributes.get(key) != asked.attributes.get(key))
            message = f"A queue already exists with the same name and a different value for attribute {differs}"
            raise QueueAlreadyExists(message) from None

    def queue_of(self, arn: Arn | None) -> Queue | None:
        """The queue of an ARN; None when it is not there."""
        return self.queues.get(arn.resource) if arn is not None and arn.service == "sqs" else None

    def move(self, task: MoveTask) -> None:
        """Move the messages of a task; the target of a thread."""
        source = self.queues.get(cast("Arn", read_arn(task.source_arn)).resource)
        while source is not None and task.status == "RUNNING" and task.moved < task.to_move and source.messages:
            message = source.messages[0]
            target = self.queue_of(read_arn(task.destination_arn or _home(message)))
            if target is None:
                task.status = "FAILED"
                return
            source._messages.remove(message)
            message.approximate_receive_count, message.visible_at = 0, 0
            target.add_message(message)
            task.moved += 1
            if task.per_s:
                time.sleep(1 / task.per_s)
        if task.status == "RUNNING":
            task.status = "COMPLETED"


def _home(message: Message) -> str:
    """The queue that a message was sent to first."""
    return str(vars(message).get("home_arn", ""))


@extends
class QueueAnswers(SQSResponse):
    """moto's answers, and those about tasks that move messages."""

    @property
    def moved_queues(self) -> MovedQueues:
        """The queues of the request's account and region."""
        return cast("MovedQueues", self.sqs_backend)

    def delete_message(self) -> ActionResult:
        """DeleteMessage; raises moto's InvalidParameterValue for a message of a FIFO queue that is visible again.

        Raises ReceiptHandleIsInvalid, which names the handle as SQS does.
        """
        queue, handle = self.sqs_backend.get_queue(self._get_queue_name()), str(self._get_param("ReceiptHandle"))
        held = next((each for each in queue._messages if each.had_receipt_handle(handle)), None)
        if queue.fifo_queue and held is not None and held.visible:
            message = f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
            raise InvalidParameterValue(message)
        try:
            return super().delete_message()
        except ReceiptHandleIsInvalid as error:
            error.message = f'The input receipt handle "{handle}" is not a valid receipt handle.'
            raise

    def send_message(self) -> ActionResult:
        """SendMessage; raises moto's SQSException where the queue's key cannot be used."""
        _check_key(self)
        return super().send_message()

    def receive_message(self) -> ActionResult:
        """ReceiveMessage; raises as SendMessage does."""
        _check_key(self)
        return super().receive_message()

    def send_message_batch(self) -> ActionResult:
        """SendMessageBatch; raises moto's InvalidParameterValue, also for what a single message lacks."""
        _check_key(self)
        try:
            return _filled(super().send_message_batch())
        except MissingParameter as error:
            raise InvalidParameterValue(error.message) from None

    def delete_message_batch(self) -> ActionResult:
        """DeleteMessageBatch."""
        return _filled(super().delete_message_batch())

    def change_message_visibility_batch(self) -> ActionResult:
        """ChangeMessageVisibilityBatch."""
        return _filled(super().change_message_visibility_batch())

    def start_message_move_task(self) -> ActionResult:
        """StartMessageMoveTask; raises moto's SQSException for what is no dead-letter queue, or moves already."""
        queues, text = self.moved_queues, str(self._get_param("SourceArn"))
        destination = self._get_param("DestinationArn")
        source = queues.queue_of(read_arn(text))
        if source is None:
            raise _missing("SourceArn")
        if not any(each.dead_letter_queue is source for each in queues.queues.values()):
            raise SQSException("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
        if destination and queues.queue_of(read_arn(destination)) is None:
            raise _missing("DestinationArn")
        if any(each.source_arn == text and each.status == "RUNNING" for each in queues.move_tasks):
            message = (
                "There is already a task running. Only one active task is allowed for a source queue arn at a given "
                "time."
            )
            raise SQSException("AWS.SimpleQueueService.UnsupportedOperation", message)
        per_s = self._get_param("MaxNumberOfMessagesPerSecond")
        now_ms = int(time.time() * 1000)
        limit = int(per_s) if per_s else None
        task = MoveTask(text, destination, limit, len(source.messages), str(uuid.uuid4()), now_ms)
        queues.move_tasks.append(task)
        threading.Thread(target=queues.move, args=(task,), name="queue-move", daemon=True).start()
        return ActionResult({"TaskHandle": task.handle})

    def list_message_move_tasks(self) -> ActionResult:
        """ListMessageMoveTasks, the newest first; raises moto's SQSException without the queue."""
        text = str(self._get_param("SourceArn"))
        if self.moved_queues.queue_of(read_arn(text)) is None:
            raise _missing("SourceArn")
        found = [each for each in reversed(self.moved_queues.move_tasks) if each.source_arn == text]
        most = min(int(self._get_param("MaxResults") or 1), TASKS_LISTED)
        return ActionResult({"Results": [each.shown() for each in found[:most]]})

    def cancel_message_move_task(self) -> ActionResult:
        """CancelMessageMoveTask; raises moto's SQSException for a task that does not run."""
        handle = self._get_param("TaskHandle")
        found = next((each for each in self.moved_queues.move_tasks if each.handle == handle), None)
        if found is None:
            raise _absent("Task does not exist.")
        if found.status != "RUNNING":
            message = "Task cannot be cancelled: it is not active."
            raise SQSException("AWS.SimpleQueueService.UnsupportedOperation", message)
        found.status = "CANCELLED"
        return ActionResult({"ApproximateNumberOfMessagesMoved": found.moved})


def _check_key(answers: QueueAnswers) -> None:
    """Raise moto's SQSException where the key that a queue's messages are encrypted with is of no use."""
    backend = answers.sqs_backend
    queue = backend.queues.get(answers._get_queue_name())
    key = getattr(queue, "kms_master_key_id", None)
    if not key:
        return
    try:
        usable_key(backend.account_id, backend.region_name, key)
    except KeyUnusableError as error:
        raise SQSException(_KEY_ERRORS[error.code], str(error)) from error


def _filled(answer: ActionResult) -> ActionResult:
    """An answer without its empty lists, which SQS leaves out."""
    return ActionResult({name: value for name, value in cast("dict[str, object]", answer.result).items() if value})


def _missing(member: str) -> SQSException:
    return _absent(f"The resource that you specified for the {member} parameter doesn't exist.")


def _absent(message: str) -> SQSException:
    return SQSException("ResourceNotFoundException", message)
