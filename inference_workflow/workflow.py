"""The inference workflow: one image -> its predicted label, or a failed execution when confidence is too low.

    SerializeImage -> ClassifyImage -> FilterInferences -+-> result
                                                         +-> SendToReview -> NeedsReview | ConfidenceTooLow

An image of low confidence always goes to the review queue; whether its execution then fails or ends as
``needs_review`` is the stage's choice, which the execution's input may overrule (``on_low_confidence``). Every other
error of a function ends the execution under its own name, with a cause that names the image.

Runs on a laptop or in CodeBuild and makes no AWS call. `image_workflow` returns the state machine, with placeholders
such as ``${SerializeImageArn}`` that the stack's DefinitionSubstitutions fill.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepfunctions.steps import Chain

from inference_workflow.faults import (
    BRIEF,
    CLASSIFY_ERRORS,
    FILTER_ERRORS,
    LAMBDA_SERVICE_ERRORS,
    MODEL_UNAVAILABLE,
    PATIENT,
    SERIALIZE_ERRORS,
    THRESHOLD_UNAVAILABLE,
    TIME_OUTS,
    Patience,
)
from inference_workflow.languages import LANGUAGES
from inference_workflow.sdk_extensions import Machine

if TYPE_CHECKING:
    from stepfunctions.steps import Task

# Above every attempt and pause of every state, so that the workflow itself never cuts a retry off.
STANDARD_TIMEOUT_SECONDS = 1800
# Step Functions ends an Express execution after five minutes; ours ends before, with a name.
EXPRESS_TIMEOUT_SECONDS = 290
# Above the functions' own limits, so that they can say what took so long.
FUNCTION_TIMEOUT_SECONDS = 70
QUEUE_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class WorkflowOptions:
    """What a stage may choose. ``on_low_confidence`` is ``fail`` or ``review``."""

    query_language: str = "JSONPath"
    on_low_confidence: str = "fail"
    express: bool = False

    @property
    def patience(self) -> Patience:
        """How long to wait for what is transient: less while somebody waits for the answer."""
        return BRIEF if self.express else PATIENT


def image_workflow(options: WorkflowOptions) -> str:
    """The state machine as Amazon States Language JSON; the same text every time."""
    fields = {} if options.query_language == "JSONPath" else {"query_language": options.query_language}
    machine = Machine(
        Chain(functions(options)),
        comment="Classify one image; low confidence goes to review.",
        timeout_seconds=EXPRESS_TIMEOUT_SECONDS if options.express else STANDARD_TIMEOUT_SECONDS,
        **fields,
    )
    return as_text(machine)


def as_text(machine: Machine) -> str:
    """Return a state machine as Amazon States Language JSON."""
    return json.dumps(machine.to_dict(), indent=2) + "\n"


def functions(options: WorkflowOptions) -> list[Task]:
    """The three functions in their order, each with what becomes of its errors."""
    language, patience = LANGUAGES[options.query_language], options.patience
    fails = {name: language.fail(name) for name in sorted({*SERIALIZE_ERRORS, *CLASSIFY_ERRORS, *FILTER_ERRORS})}
    timed_out = language.fail_for_image("FunctionTimedOut", "a function took too long", "FunctionTimedOut")
    failed = language.fail_for_image("FunctionFailed", "a function failed")
    service_errors = patience.retry(*LAMBDA_SERVICE_ERRORS)

    def function(name: str, errors: tuple[str, ...], retried: tuple[str, ...] = ()) -> Task:
        retries = [service_errors, *([patience.retry(*retried)] if retried else [])]
        state = language.function(name, timeout_seconds=FUNCTION_TIMEOUT_SECONDS, retry=retries)
        state.add_catch([language.catch([error], fails[error]) for error in errors])
        return state

    serialize = function("SerializeImage", SERIALIZE_ERRORS)
    classify = function("ClassifyImage", CLASSIFY_ERRORS, (MODEL_UNAVAILABLE,))
    accept = function("FilterInferences", FILTER_ERRORS, (THRESHOLD_UNAVAILABLE,))
    accept.add_catch(language.catch_low_confidence(review(options)))
    late, broken = language.before_the_body(timed_out, failed)
    for state, on_time_out, on_failure in (
        (serialize, late, broken),
        (classify, timed_out, failed),
        (accept, timed_out, failed),
    ):
        state.add_catch([language.catch(TIME_OUTS, on_time_out), language.catch(["States.ALL"], on_failure)])
    return [serialize, classify, accept]


def review(options: WorkflowOptions) -> Task:
    """Queue the image for somebody to label, then end as the stage or the input wants."""
    language = LANGUAGES[options.query_language]
    send = language.send_to_review(
        "SendToReview",
        timeout_seconds=QUEUE_TIMEOUT_SECONDS,
        # Whatever keeps a message from the queue: without it nobody would ever look at the image.
        retry=[options.patience.retry("States.ALL")],
    )
    lost = language.fail_for_image("ReviewQueueNotWritable", "not queued for review", "ReviewQueueNotWritable")
    send.add_catch(language.catch(["States.ALL"], lost))
    answers = {"review": language.needs_review("NeedsReview"), "fail": language.too_low("ConfidenceTooLow")}
    send.next(language.on_low_confidence("OnLowConfidence", answers, options.on_low_confidence))
    return send
