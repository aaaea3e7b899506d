"""Orders the end of an endpoint that nobody asked for the time that the stage sets; an endpoint costs money all day.

Runs in Lambda, invoked by a schedule. Reads the endpoint's invocations in CloudWatch; writes an order into the table of
deployments and has `deploy_approved_model` carry it out. The next approval, or `scones endpoint deploy`, brings the
endpoint back. Environment: ENDPOINT_NAME, ENDPOINT_SETTINGS, DEPLOYMENTS_TABLE, DEPLOYING_FUNCTION.
"""

from __future__ import annotations

import functools
import json
import os
from datetime import UTC, datetime, timedelta

from lambdas.deployment.clients import EndpointClients, table
from lambdas.deployment.desired_state import DELETE, Order, text_of
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.sagemaker_endpoint import VARIANT, describe_endpoint

PERIOD_S = 3600
ITSELF = "delete_idle_endpoint"


_clients = functools.cache(EndpointClients)


def handler(_event: object, _context: object) -> str:
    """Order the end of an idle endpoint; returns what became of it, in a few words."""
    endpoint = os.environ["ENDPOINT_NAME"]
    hours = float(json.loads(os.environ["ENDPOINT_SETTINGS"])["idle_hours"])
    outcome = look(endpoint, hours, datetime.now(UTC))
    print(json.dumps({"endpoint": endpoint, "outcome": outcome}))
    return outcome


def look(endpoint: str, idle_hours: float, now: datetime) -> str:
    """What became of the endpoint, in a few words."""
    if not idle_hours:
        return "kept: idle endpoints stay"
    found = describe_endpoint(_clients().sagemaker, endpoint)
    if found is None or found["EndpointStatus"] != "InService":
        return "kept: it is not in service"
    since = now - timedelta(hours=idle_hours)
    if found["LastModifiedTime"] > since:
        return "kept: it changed less than that time ago"
    if invocations(endpoint, since, now):
        return "kept: it is used"
    reason = f"no invocation for {idle_hours:g} hours"
    ledger = Ledger(table(os.environ["DEPLOYMENTS_TABLE"]))
    ledger.put_order(Order(DELETE, 0, 0, text_of(now), ITSELF, reason))
    _clients().functions.invoke(FunctionName=os.environ["DEPLOYING_FUNCTION"], InvocationType="Event", Payload=b"{}")
    return f"ordered its end: {reason}"


def invocations(endpoint: str, since: datetime, until: datetime) -> float:
    """Count the endpoint's requests in a time range, as CloudWatch has them."""
    answer = _clients().cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": VARIANT}],
        StartTime=since,
        EndTime=until,
        Period=PERIOD_S,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))
