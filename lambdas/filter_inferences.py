"""Third function of the inference workflow: lets confident predictions pass and fails the others.

Runs in Lambda. Reads the body of `classify_image` and the threshold; writes nothing but metrics.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from lambdas.inference.body import Body, InvalidBody, WorkflowEvent, WorkflowFault, WorkflowResult, name_of, unwrapped
from lambdas.inference.telemetry import count_prediction, logger, observed
from lambdas.inference.threshold import ConfidenceThresholds, Verdict, current_thresholds, judge


class THRESHOLD_CONFIDENCE_NOT_MET(WorkflowFault):  # noqa: N801  # Step Functions shows the class name as the error
    """The likeliest class did not reach its threshold. The message is a JSON object."""


@observed
def handler(event: WorkflowEvent, _context: object) -> WorkflowResult:
    """Answer the result of an image; raises THRESHOLD_CONFIDENCE_NOT_MET for one of low confidence."""
    body = unwrapped(event)
    verdict = judged(body, current_thresholds())
    count_prediction(verdict.predicted_label, verdict.confidence, verdict.passed)
    answer = accepted(body, verdict)
    logger.info("passed", predicted_label=verdict.predicted_label, confidence=verdict.confidence)
    return answer


def judged(body: Body, thresholds: ConfidenceThresholds) -> Verdict:
    """The verdict on the body's probabilities."""
    inferences, classes = body.get("inferences"), body.get("classes")
    if not isinstance(inferences, list) or not isinstance(classes, list) or not _match(inferences, classes):
        got = f"{str(inferences)[:100]} for {str(classes)[:100]}"
        raise InvalidBody(f"{name_of(body)}: expected one inference for each class, got {got}")
    return judge(inferences, classes, thresholds)


def _match(inferences: list[float], classes: list[str]) -> bool:
    return (
        0 < len(inferences) == len(classes)
        and all(type(value) in (int, float) for value in inferences)
        and all(isinstance(name, str) for name in classes)
    )


def accepted(body: Body, verdict: Verdict) -> WorkflowResult:
    """The result, if the likeliest class has at least the probability that it needs."""
    where = {"s3_bucket": body.get("s3_bucket", ""), "s3_key": body.get("s3_key", "")}
    if not verdict.passed:
        raise THRESHOLD_CONFIDENCE_NOT_MET(json.dumps({**asdict(verdict), **where}))
    return {
        "s3_bucket": where["s3_bucket"],
        "s3_key": where["s3_key"],
        "image_data": "",
        "inferences": body["inferences"],
        "classes": body["classes"],
        "inference_id": body.get("inference_id", ""),
        "model_package_arn": body.get("model_package_arn", ""),
        "status": "passed",
        "predicted_label": verdict.predicted_label,
        "confidence": verdict.confidence,
        "threshold": verdict.threshold,
    }
