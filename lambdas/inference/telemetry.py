"""Logs, metrics and traces of a function, with Powertools from its layer.

Runs in Lambda. Log lines are JSON and carry the execution and the image; metrics go out as embedded metric format in
the log. Environment: STAGE; POWERTOOLS_SERVICE_NAME and POWERTOOLS_METRICS_NAMESPACE, which Powertools reads.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from lambdas.inference.body import InvalidBody, WorkflowFault, unwrapped

Answer = TypeVar("Answer")
Handler = Callable[[dict[str, Any], Any], Answer]

logger = Logger()


@functools.cache
def metrics() -> Metrics:
    made = Metrics()
    made.set_default_dimensions(stage=os.environ["STAGE"])
    return made


@functools.cache
def _tracer() -> Any:
    # Here, because the X-Ray SDK takes as long to import as all the rest: only where a trace is wanted.
    from aws_lambda_powertools import Tracer

    return Tracer()


def observed(handler: Handler[Answer]) -> Handler[Answer]:
    """Log and trace a handler's invocations, and send the metrics that it counted."""

    @functools.wraps(handler)
    def invoke(event: dict[str, Any], context: Any) -> Answer:
        logger.append_keys(**subject(event), request_id=getattr(context, "aws_request_id", None))
        try:
            if "Sampled=1" in os.environ.get("_X_AMZN_TRACE_ID", ""):
                answer: Answer = _tracer().capture_lambda_handler(handler)(event, context)
                return answer
            return handler(event, context)
        except WorkflowFault as fault:
            logger.warning(str(fault), error=type(fault).__name__)
            raise
        finally:
            if metrics().metric_set:
                metrics().flush_metrics()

    return invoke


def subject(event: Any) -> dict[str, Any]:
    """What the event is about, as far as it says so."""
    try:
        body = unwrapped(event)
    except InvalidBody:
        body = {}
    outer = event if isinstance(event, dict) else {}
    return {
        "execution": outer.get("execution") or body.get("inference_id"),
        "s3_bucket": body.get("s3_bucket"),
        "s3_key": body.get("s3_key"),
    }


def count_confidence(confidence: float, passed: bool) -> None:
    """One image's confidence (0 to 1), and whether it was too low."""
    if math.isfinite(confidence):  # NaN is no metric value
        metrics().add_metric(name="Confidence", unit=MetricUnit.NoUnit, value=confidence)
    metrics().add_metric(name="LowConfidence", unit=MetricUnit.Count, value=0 if passed else 1)
