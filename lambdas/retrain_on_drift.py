"""Tells people what drift asks for, and starts a training where the predictions moved.

Runs in Lambda, invoked by EventBridge: when an alarm about drift goes on, and after each execution of the monitoring
pipeline, because what spoke against a training may have passed. Publishes one sentence with the address of the report:
what became of each alarm, and whatever is started. `lambdas.monitoring.retraining` decides. Environment:
TRAINING_PIPELINE, MODEL_PACKAGE_GROUP, REPORTS_URI, REVIEWS_URI, RETRAINING (the stage file's rules as JSON),
ALARM_FAMILIES (alarm -> what moved, as JSON), DEPLOYMENTS_TABLE, NOTIFICATION_TOPIC_ARN.
"""

from __future__ import annotations

import functools
import json
import os
from datetime import UTC, datetime
from typing import TypedDict

from lambdas.deployment.clients import EndpointClients, table
from lambdas.monitoring.retraining import (
    PREDICTIONS,
    QUIET,
    REFUSED,
    STARTED,
    Rules,
    TrainingDecision,
    Where,
    consider_training,
    newest_report,
)

_PAGES = {
    "images": "the images look different (light, sharpness, colour): look at where they come from",
    "capture": "captured traffic has gaps or lines that cannot be read: look at the endpoint's data capture",
}


class AlarmDetail(TypedDict, total=False):
    """The part of CloudWatch's event that names the alarm."""

    alarmName: str


class AlarmEvent(TypedDict, total=False):
    """An alarm's change of state, or the schedule's event, which has no detail."""

    id: str
    detail: AlarmDetail


def handler(event: AlarmEvent, _context: object) -> dict[str, str]:
    """Start a training or say why not, and tell people when an alarm asked."""
    families = json.loads(os.environ["ALARM_FAMILIES"])
    alarm = str(event.get("detail", {}).get("alarmName", ""))
    family = families.get(alarm, PREDICTIONS)
    decision, sentence = respond(_where(), family, datetime.now(UTC))
    if alarm:
        sentence = f"{alarm}: {sentence}"
    print(json.dumps({"event": event.get("id"), "family": family, "outcome": decision.outcome, "told": sentence}))
    if alarm or decision.outcome == STARTED:
        _tell(decision, sentence)
    return {"outcome": decision.outcome, "sentence": sentence}


def respond(where: Where, family: str, now: datetime) -> tuple[TrainingDecision, str]:
    """What is done about a family of channels that moved, and how that is told."""
    if family != PREDICTIONS:
        report = newest_report(where)
        decision = TrainingDecision(REFUSED, "", report.uri if report else "")
        return decision, _with_report(f"{_PAGES[family]}; no training is started for that", decision)
    decision = consider_training(where, now)
    if decision.outcome == STARTED:
        text = f"the predictions moved: started {where.pipeline} ({decision.execution}) with {decision.why}"
    elif decision.outcome == REFUSED:
        text = f"the predictions moved, but no training is started: {decision.why}"
    else:
        text = f"no training is started: {decision.why}"
    return decision, _with_report(text, decision)


def _with_report(text: str, decision: TrainingDecision) -> str:
    return f"{text}; report: {decision.report}" if decision.report else text


def _tell(decision: TrainingDecision, sentence: str) -> None:
    attributes = {"outcome": decision.outcome, "report": decision.report, "execution": decision.execution}
    _where().clients.sns.publish(
        TopicArn=os.environ["NOTIFICATION_TOPIC_ARN"],
        Subject=f"{os.environ['TRAINING_PIPELINE']}: {_SUBJECTS[decision.outcome]}"[:100],
        Message=sentence,
        MessageAttributes={k: {"DataType": "String", "StringValue": v} for k, v in attributes.items() if v},
    )


_SUBJECTS = {STARTED: "drift has started a training", REFUSED: "drift", QUIET: "drift has passed"}


@functools.cache
def _where() -> Where:
    return Where(
        clients=EndpointClients(),
        table=table(os.environ["DEPLOYMENTS_TABLE"]),
        pipeline=os.environ["TRAINING_PIPELINE"],
        model_package_group=os.environ["MODEL_PACKAGE_GROUP"],
        reports_uri=os.environ["REPORTS_URI"],
        reviews_uri=os.environ["REVIEWS_URI"],
        rules=Rules(**json.loads(os.environ["RETRAINING"])),
    )
