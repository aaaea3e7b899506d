"""Starts the monitoring pipeline with what has to be known of the version that serves now.

Runs in Lambda, invoked by a schedule with ``{"scheduled": time}`` and by `scones` with ``{"until": time}``, which only
asks for the parameters. A scheduled report is about whole hours, since the endpoint's requests are counted by the hour,
and its figures become metrics, which the alarms watch. The schedule fires twice now and then, as EventBridge Scheduler
may: the same time starts one execution. Environment: PIPELINE_NAME, WINDOW_HOURS, METRICS_NAMESPACE, ENDPOINT_NAME,
THRESHOLD_PARAMETER, BASELINES_URI, CONTEXT_URI, DEPLOYMENTS_TABLE.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from lambdas.deployment.clients import EndpointClients, table
from lambdas.monitoring.live_version import Parameters, Surroundings, parameters, whole_hour

# Captured lines reach S3 minutes after the answer (SageMaker AI developer guide, data capture).
CAPTURES_ARE_LATE = timedelta(minutes=5)


class MonitoringEvent(TypedDict, total=False):
    """``scheduled`` is from EventBridge Scheduler; ``until`` asks for the parameters alone. ISO 8601 times."""

    scheduled: str
    until: str


class StartedReport(TypedDict, total=False):
    """The pipeline's parameters and, where it was started, its execution."""

    execution_arn: str
    parameters: Parameters


def handler(event: MonitoringEvent, _context: object) -> StartedReport:
    """Start the monitoring pipeline, or answer what it would be started with."""
    if "until" in event:
        return {"parameters": parameters(_surroundings(), _time(event["until"]))}
    scheduled = str(event["scheduled"])
    since, until = window(_time(scheduled), timedelta(hours=float(os.environ["WINDOW_HOURS"])))
    given = {
        "Start": f"{since:%Y-%m-%dT%H:%M:%SZ}",
        "End": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        "MetricsNamespace": os.environ["METRICS_NAMESPACE"],
        **parameters(_surroundings(), until),
    }
    arn = _start(given, scheduled)
    print(json.dumps({"started": arn, "scheduled": scheduled, "parameters": given}))
    return {"execution_arn": arn, "parameters": given}


def window(scheduled: datetime, length: timedelta) -> tuple[datetime, datetime]:
    """The last whole hours whose captures are complete."""
    until = whole_hour(scheduled - CAPTURES_ARE_LATE)
    return until - length, until


def _start(given: Parameters, scheduled: str) -> str:
    name = os.environ["PIPELINE_NAME"]
    answer = _surroundings().clients.sagemaker.start_pipeline_execution(
        PipelineName=name,
        PipelineExecutionDescription=f"scheduled at {scheduled}",
        PipelineParameters=[{"Name": k, "Value": v} for k, v in sorted(given.items())],
        ClientRequestToken=hashlib.sha256(f"{name} {scheduled}".encode()).hexdigest(),
    )
    return str(answer["PipelineExecutionArn"])


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@functools.cache
def _surroundings() -> Surroundings:
    return Surroundings(
        clients=EndpointClients(),
        table=table(os.environ["DEPLOYMENTS_TABLE"]),
        endpoint=os.environ["ENDPOINT_NAME"],
        threshold_parameter=os.environ["THRESHOLD_PARAMETER"],
        baselines_uri=os.environ["BASELINES_URI"],
        context_uri=os.environ["CONTEXT_URI"],
    )
