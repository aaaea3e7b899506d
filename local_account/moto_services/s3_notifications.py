"""Notifications of buckets: whom S3 tells of an object, each event once, and what it looks at before it promises to.

Runs in the server process. moto says what happened while it still happens, and says more than happened: each put also
as a change of tags, a multipart upload also as a put. What a request does is gathered here until the request is done;
then one thread tells it, in order. Destinations are reached as the service S3: their own policies have to allow it.
"""

from __future__ import annotations

import contextvars
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from moto.s3 import models, notifications
from moto.s3.exceptions import InvalidArgumentError

from local_account.authority.authority import AccessDeniedError
from local_account.base.arns import Arn, own_arn, read_arn
from local_account.base.replacements import replace
from local_account.moto_services.s3_events import EMPTY_ETAG, ObjectEvent, trial_message

if TYPE_CHECKING:
    from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, NotificationConfiguration

    from local_account.account import Account

log = logging.getLogger(__name__)
_ACTIONS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}
_gathered: contextvars.ContextVar[list[Callable[[], None]] | None] = contextvars.ContextVar("gathered", default=None)
_tagging: contextvars.ContextVar[bool] = contextvars.ContextVar("tagging", default=False)


@contextmanager
def one_request() -> Iterator[None]:
    """Tell what a request does when it is done; nothing of one that fails."""
    if _gathered.get() is not None:
        yield
        return
    told: list[Callable[[], None]] = []
    token = _gathered.set(told)
    try:
        yield
    finally:
        _gathered.reset(token)
    for tell in told:
        tell()


@contextmanager
def changing_tags() -> Iterator[None]:
    """Tags are what the request is about, not part of an object that comes."""
    token = _tagging.set(True)
    try:
        yield
    finally:
        _tagging.reset(token)


@dataclass(frozen=True)
class BucketNotifier:
    """Tells the destinations of buckets what became of objects, in a thread of its own."""

    account: Account
    waiting: queue.SimpleQueue[Callable[[], None]]

    def object_changed(self, name: str, bucket: FakeBucket, key: FakeKey | FakeDeleteMarker) -> None:
        """Something became of an object: ``name`` is moto's, with ``s3:`` before it."""
        event = _event(name.removeprefix("s3:"), bucket, key)
        configuration = bucket.notification_configuration
        if configuration is None or (event.family == "ObjectTagging" and not _tagging.get()):
            return
        tell = self._telling(event, configuration, bucket.region_name)
        told = _gathered.get()
        tell() if told is None else told.append(tell)

    def _telling(self, event: ObjectEvent, configuration: NotificationConfiguration, region: str) -> Callable[[], None]:
        listed = (*configuration.cloud_function, *configuration.queue, *configuration.topic)
        matching = [each for each in listed if each.matches(f"s3:{event.name}", event.key)]
        bridged = configuration.event_bridge is not None

        def tell() -> None:
            if bridged:
                detail = event.detail(self.account.account_id)
                self.account.emit_event("aws.s3", event.detail_type(), detail, [event.bucket_arn])
            for each in matching:
                record = event.record(each.id, region, self.account.account_id)
                self._later(each.arn, {"Records": [record]}, event.bucket_arn)

        return tell

    def begin(self, bucket: FakeBucket) -> None:
        """Send the trial message that says that notifications come."""
        configuration = bucket.notification_configuration
        assert configuration is not None  # noqa: S101  # moto sets it first
        for arn in {each.arn for each in (*configuration.queue, *configuration.topic)}:
            self._later(arn, trial_message(bucket.name), f"arn:aws:s3:::{bucket.name}")

    def check(self, bucket_name: str, destinations: Iterable[str]) -> None:
        """Refuse destinations that are not there or do not let S3 in, as moto's InvalidArgumentError."""
        for text in destinations:
            if why := self._unreachable(text, bucket_name):
                message = "Unable to validate the following destination configurations"
                raise InvalidArgumentError(message, text, why)

    def _unreachable(self, text: str, bucket_name: str) -> str:
        arn = own_arn(text, self.account.account_id, self.account.region)
        if arn is None or not _exists(arn):
            what = {"sqs": "queue", "sns": "topic"}.get(arn.service if arn else "", "Lambda")
            return f"The destination {what} does not exist"
        try:
            self._demand(arn, f"arn:aws:s3:::{bucket_name}")
        except AccessDeniedError:
            if arn.service == "lambda":
                return f"Not authorized to invoke function [{arn}]"
            what = "queue" if arn.service == "sqs" else "topic"
            return f"Permissions on the destination {what} do not allow S3 to publish notifications from this bucket"
        return ""

    def _demand(self, arn: Arn, bucket_arn: str) -> None:
        self.account.authority.demand_of_service("s3.amazonaws.com", _ACTIONS[arn.service], str(arn), bucket_arn)

    def _later(self, arn: str, message: Mapping[str, object], bucket_arn: str) -> None:
        self.waiting.put(lambda: self._send(arn, json.dumps(message), bucket_arn))

    def _send(self, text: str, message: str, bucket_arn: str) -> None:
        arn = own_arn(text, self.account.account_id, self.account.region)
        if arn is None:
            log.warning("%s tells %s, which is not of this account", bucket_arn, text)
            return
        self._demand(arn, bucket_arn)
        if arn.service == "sqs":
            url = self.account.client("sqs").get_queue_url(QueueName=arn.last)["QueueUrl"]
            self.account.client("sqs").send_message(QueueUrl=url, MessageBody=message)
        elif arn.service == "sns":
            self.account.client("sns").publish(TopicArn=text, Message=message, Subject="Amazon S3 Notification")
        else:
            self.account.client("lambda").invoke(FunctionName=text, InvocationType="Event", Payload=message.encode())

    def run(self) -> None:
        """The thread's target: tell one after the other."""
        while True:
            tell = self.waiting.get()
            try:
                tell()
            except (AccessDeniedError, BotoCoreError, ClientError) as error:
                log.warning("a notification of S3 was not delivered: %s", error)
            except Exception:
                log.exception("a notification of S3 was lost")


def _event(name: str, bucket: FakeBucket, key: FakeKey | FakeDeleteMarker) -> ObjectEvent:
    version = str(key.version_id) if bucket.is_versioned and key.version_id else ""
    if isinstance(key, models.FakeDeleteMarker):
        return ObjectEvent(name, bucket.name, str(key.name), etag=EMPTY_ETAG, version_id=version)
    return ObjectEvent(
        name,
        bucket.name,
        str(key.name),
        key.contentsize,
        key.etag.strip('"'),
        version,
        str(key.storage_class or "STANDARD"),
        str(key.expiry_date or "") if name == "ObjectRestore:Completed" else "",
    )


def _exists(arn: Arn) -> bool:
    from moto.awslambda.exceptions import UnknownFunctionException
    from moto.awslambda.models import lambda_backends
    from moto.sns.models import sns_backends
    from moto.sqs.models import sqs_backends

    if arn.service == "sqs":
        return arn.last in sqs_backends[arn.account][arn.region].queues
    if arn.service == "sns":
        return str(arn) in sns_backends[arn.account][arn.region].topics
    try:
        lambda_backends[arn.account][arn.region].get_function(str(arn))
    except UnknownFunctionException:
        return False
    return True


_FORMS = {"Topic": "sns", "Queue": "sqs", "CloudFunction": "lambda"}


def destinations(configuration: Mapping[str, object]) -> Iterator[str]:
    """The ARNs that a configuration, as moto keeps it, names."""
    for name in _FORMS:
        held = configuration.get(f"{name}Configuration")
        yield from (str(each[name]) for each in (held if isinstance(held, list) else []))


def read_configuration(parsed: Mapping[str, object]) -> dict[str, object]:
    """A NotificationConfiguration as moto keeps it. Raises moto's InvalidArgumentError for what S3 would refuse."""
    found: dict[str, object] = {"EventBridgeConfiguration": {}} if "EventBridgeConfiguration" in parsed else {}
    for name, service in _FORMS.items():
        held = parsed.get(f"{name}Configuration")
        listed = held if isinstance(held, list) else [held] if held else []
        if listed:
            found[f"{name}Configuration"] = [
                _read_one(name, service, each) for each in listed if isinstance(each, dict)
            ]
    return found


def _read_one(name: str, service: str, each: dict[str, object]) -> dict[str, object]:
    arn = read_arn(each.get(name))
    if arn is None:
        raise InvalidArgumentError("The ARN could not be parsed", name, str(each.get(name)))
    if arn.service != service:
        raise InvalidArgumentError("The ARN is not well formed", name, str(arn))
    events = each.get("Event")
    read = {**each, "Event": events if isinstance(events, list) else [events]}
    key_filter = each.get("Filter")
    rules = _rules(key_filter) if isinstance(key_filter, dict) else []
    if rules:
        read["Filter"] = {"S3Key": {"FilterRule": rules}}
    else:
        read.pop("Filter", None)
    return read


def _rules(key_filter: Mapping[str, object]) -> list[dict[str, str]]:
    key = key_filter.get("S3Key")
    held = key.get("FilterRule") if isinstance(key, dict) else None
    rules = []
    for rule in held if isinstance(held, list) else [held] if held else []:
        name = str(rule.get("Name")).lower()
        if name not in {"prefix", "suffix"}:
            message = "filter rule name must be either prefix or suffix"
            raise InvalidArgumentError(message, "FilterRule.Name", str(rule.get("Name")))
        rules.append({"Name": name, "Value": str(rule.get("Value") or "")})
    return rules


def install(account: Account) -> BucketNotifier:
    """Put ours in the place of moto's way to tell what happened."""
    notifier = BucketNotifier(account, queue.SimpleQueue())

    def send_event(account_id: str, event_name: str, bucket: FakeBucket, key: FakeKey) -> None:  # noqa: ARG001
        notifier.object_changed(event_name.value if hasattr(event_name, "value") else event_name, bucket, key)

    def send_test_event(account_id: str, bucket: FakeBucket) -> None:  # noqa: ARG001  # moto's signature
        notifier.begin(bucket)

    def of_a_bucket(source: str, event_name: str, region: str, resources: object, detail: object) -> None:
        """Nothing: S3 tells EventBridge of objects only."""

    why = "moto tells a multipart upload twice and each put as a change of tags, with the same ids for all"
    replace(notifications, "send_event", send_event, why=why)
    replace(notifications, "send_test_event", send_test_event, why="destinations are reached through their policies")
    replace(models, "events_send_notification", of_a_bucket, why="S3 sends no event when a bucket is made")
    threading.Thread(target=notifier.run, name="s3-notifications", daemon=True).start()
    return notifier
