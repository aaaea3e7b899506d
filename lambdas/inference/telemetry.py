"""Logs, metrics and traces of a function, with Powertools from its layer.

Runs in Lambda. Log lines are JSON and carry the execution and the image; metrics go out as embedded metric format in
the log. Environment: STAGE; POWERTOOLS_SERVICE_NAME and POWERTOOLS_METRICS_NAMESPACE, which Powertools reads.
"""

from __future__ import annotations

import functools
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from lambdas.inference.body import Body, InvalidBody, WorkflowFault, unwrapped

if TYPE_CHECKING:
    from aws_lambda_powertools import Tracer
    from aws_lambda_powertools.utilities.typing import LambdaContext

Event = TypeVar("Event", bound=Mapping[str, object])
Answer = TypeVar("Answer")

logger = Logger()
_predicted: Counter[str] = Counter()
"""Predictions of this invocation by class."""


@functools.cache
def metrics() -> Metrics:
    """Return the function's metrics, each with the stage as a dimension."""
    made = Metrics()
    made.set_default_dimensions(stage=os.environ["STAGE"])
    return made


@functools.cache
def _tracer() -> Tracer:
    # Here, because the X-Ray SDK takes as long to import as all the rest: only where a trace is wanted.
    from aws_lambda_powertools import Tracer

    return Tracer()


def observed(handler: Callable[[Event, LambdaContext], Answer]) -> Callable[[Event, LambdaContext], Answer]:
    """Log and trace a handler's invocations, and send the metrics that it counted."""

    @functools.wraps(handler)
    def invoke(event: Event, context: LambdaContext) -> Answer:
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
            _send_class_counts()

    return invoke


def _send_class_counts() -> None:
    """What was predicted since the last time, a metric ``Predicted`` for each class."""
    counts = dict(_predicted)
    _predicted.clear()
    for label, number in counts.items():
        dimensions = {"stage": os.environ["STAGE"], "service": os.environ["POWERTOOLS_SERVICE_NAME"]}
        with single_metric("Predicted", MetricUnit.Count, number, default_dimensions=dimensions) as metric:
            metric.add_dimension("class", label)


def subject(event: object) -> dict[str, object]:
    """What the event is about, as far as it says so."""
    try:
        body = unwrapped(event)
    except InvalidBody:
        body = Body()
    outer = event if isinstance(event, dict) else {}
    return {
        "execution": outer.get("execution") or body.get("inference_id"),
        "s3_bucket": body.get("s3_bucket"),
        "s3_key": body.get("s3_key"),
    }


def count_prediction(label: str | None, confidence: float, passed: bool) -> None:
    """One image's confidence (0 to 1), whether it was too low, and what was predicted."""
    if label is not None:
        _predicted[label] += 1
    if math.isfinite(confidence):  # NaN is no metric value
        metrics().add_metric(name="Confidence", unit=MetricUnit.NoUnit, value=confidence)
    metrics().add_metric(name="LowConfidence", unit=MetricUnit.Count, value=0 if passed else 1)
