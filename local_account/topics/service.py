"""SNS: moto's topics, with the attributes that SNS tells and the refusals of one that is there already.

Runs in the server process. Authority: SNS API Reference, GetTopicAttributes and CreateTopic; answers of AWS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from moto.sns import urls
from moto.sns.exceptions import InvalidParameterValue
from moto.sns.models import SNSBackend, Subscription, Topic, sns_backends
from moto.sns.responses import SNSResponse

from local_account.account import Account
from local_account.base.arns import own_arn
from local_account.base.replacements import answered_by, extends, use_backend
from local_account.base.stored import stored
from local_account.topics import deliveries, filters
from local_account.topics.deliveries import WAITING, check_endpoint

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers

_RETRIES = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
_HTTP = {
    "defaultHealthyRetryPolicy": _RETRIES,
    "disableSubscriptionOverrides": False,
    "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
}
"""What holds for deliveries by HTTP where a topic says nothing else."""
_WHEN_SET = ("DeliveryPolicy", "SignatureVersion", "TracingConfig")


def install(account: Account) -> None:
    """Called once, before the first request."""
    use_backend(sns_backends, AccountTopics)
    filters.install()
    deliveries.install(account)


@stored  # a topic is kept with its backend
@extends
class AccountTopics(SNSBackend):
    """moto's topics, answered by `TopicAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(TopicAnswers, urls.url_paths)

    def create_topic(
        self, name: str, attributes: dict[str, str] | None = None, tags: dict[str, str] | None = None
    ) -> Topic:
        """CreateTopic; raises moto's InvalidParameterValue for a topic that is there and is another one."""
        kept = next((topic for topic in self.topics.values() if topic.name == name), None)
        if kept is not None and not (tags or {}).items() <= kept._tags.items():
            raise InvalidParameterValue("Invalid parameter: Tags Reason: Topic already exists with different tags")
        if kept is not None and _differs(kept, attributes or {}):
            message = "Invalid parameter: Attributes Reason: Topic already exists with different attributes"
            raise InvalidParameterValue(message)
        return super().create_topic(name, attributes, tags)

    def subscribe(self, topic_arn: str, endpoint: str, protocol: str) -> Subscription:
        """Subscribe; raises moto's SNSInvalidParameter for what nothing here delivers to."""
        check_endpoint(protocol, endpoint)
        made = super().subscribe(topic_arn, endpoint, protocol)
        if protocol in WAITING:
            made.attributes.update(PendingConfirmation=True, ConfirmationWasAuthenticated=False)
        return made

    def publish(  # noqa: PLR0917  # moto's signature
        self,
        message: str,
        arn: str | None,
        phone_number: str | None = None,
        subject: str | None = None,
        message_attributes: dict[str, object] | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        message_structure: str | None = None,
    ) -> str:
        """Publish, without keeping every message that was ever sent."""
        message_id = super().publish(
            message, arn, phone_number, subject, message_attributes, group_id, deduplication_id, message_structure
        )
        if arn in self.topics:
            self.topics[arn].sent_notifications.clear()
        return message_id

    def _validate_filter_policy(self, value: dict[str, object], scope: str | None) -> None:
        """A subscription's filter policy; raises moto's SNSInvalidParameter."""
        super()._validate_filter_policy(filters.checked(value), scope)


def _differs(topic: Topic, attributes: Mapping[str, str]) -> bool:
    """Whether a topic has another value of an attribute."""
    return any(
        _text(getattr(topic, camelcase_to_underscores(name), "")) != _text(attributes[name]) for name in attributes
    )


def _listed(answer: ActionResult) -> ActionResult:
    """With the ARNs of those subscriptions that are confirmed."""
    told = cast("dict[str, list[Subscription]]", answer.result)
    rows = [
        {
            "SubscriptionArn": "PendingConfirmation" if each.protocol in WAITING else each.arn,
            "Owner": each.owner,
            "Protocol": each.protocol,
            "Endpoint": each.endpoint,
            "TopicArn": each.topic_arn,
        }
        for each in told["Subscriptions"]
    ]
    return ActionResult({**told, "Subscriptions": rows})


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or str(value) in {"True", "False"} else str(value)


def effective_policy(stated: str) -> str:
    """How a topic delivers by HTTP: its own policy over SNS's defaults, as JSON."""
    own = json.loads(stated or "{}").get("http", {})
    retries = {**_RETRIES, **own.get("defaultHealthyRetryPolicy", {})}
    return json.dumps({"http": {**_HTTP, **own, "defaultHealthyRetryPolicy": retries}})


@extends
class TopicAnswers(SNSResponse):
    """moto's answers, with SNS's attributes of topics."""

    def get_topic_attributes(self) -> ActionResult:
        """GetTopicAttributes: what was not set is left out, but for SNS's defaults."""
        answer = super().get_topic_attributes()
        topic = self.backend.get_topic(self._get_param("TopicArn"))
        told = cast("dict[str, dict[str, object]]", answer.result)["Attributes"]
        told["EffectiveDeliveryPolicy"] = effective_policy(topic.delivery_policy)
        for name in _WHEN_SET:
            told.pop(name, None)
            if value := getattr(topic, camelcase_to_underscores(name), ""):
                told[name] = value
        return answer

    def publish(self) -> ActionResult:
        """Publish; raises moto's InvalidParameterValue for an endpoint, of which there are none."""
        target = own_arn(self._get_param("TargetArn"), self.current_account, self.region)
        if target is not None and target.kind == "endpoint":
            message = "Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"
            raise InvalidParameterValue(message)
        return super().publish()

    def subscribe(self) -> ActionResult:
        """Subscribe; one by e-mail has no ARN until it is confirmed, unless the request asks for it."""
        answer = super().subscribe()
        told = cast("dict[str, str]", answer.result)
        if self._get_param("Protocol") in WAITING and not self._get_bool_param("ReturnSubscriptionArn"):
            told["SubscriptionArn"] = "pending confirmation"
        return answer

    def list_subscriptions(self) -> ActionResult:
        """ListSubscriptions."""
        return _listed(super().list_subscriptions())

    def list_subscriptions_by_topic(self) -> ActionResult:
        """ListSubscriptionsByTopic."""
        return _listed(super().list_subscriptions_by_topic())
