"""What can go wrong in the workflows: which errors are tried again, how patiently, and which end an execution.

Runs on a laptop or in CodeBuild. An error of a function is the class name of its exception in `lambdas`.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference_workflow.sdk_extensions import JitteredRetry

# The class name of the exception in lambdas/filter_inferences.py.
LOW_CONFIDENCE = "THRESHOLD_CONFIDENCE_NOT_MET"

# What Lambda's invocation can meet and a later attempt may not.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
LAMBDA_SERVICE_ERRORS = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
]
MODEL_UNAVAILABLE = "ModelTemporarilyUnavailable"
THRESHOLD_UNAVAILABLE = "ThresholdUnavailable"
# The workflow's limit for a state, and the function's own.
TIME_OUTS = ["States.Timeout", "Sandbox.Timedout"]

IMAGE_ERRORS = ("ImageNotFound", "ImageNotReadable", "ImageEmpty", "ImageTooLarge", "InvalidImage")
SERIALIZE_ERRORS = ("InvalidInput", *IMAGE_ERRORS)
CLASSIFY_ERRORS = ("InvalidBody", *IMAGE_ERRORS, "EndpointNotDeployed", "UnexpectedModelAnswer", MODEL_UNAVAILABLE)
FILTER_ERRORS = ("InvalidBody", "InvalidThreshold", THRESHOLD_UNAVAILABLE)


@dataclass(frozen=True)
class Patience:
    """How long a workflow waits for what is transient: attempts, and seconds between them."""

    attempts: int
    first_delay_s: int
    longest_delay_s: int

    def retry(self, *errors: str) -> JitteredRetry:
        """A retrier with exponential back-off and full jitter, so that executions do not come back all at once."""
        return JitteredRetry(
            error_equals=list(errors),
            interval_seconds=self.first_delay_s,
            max_attempts=self.attempts,
            backoff_rate=2.0,
            max_delay_seconds=self.longest_delay_s,
            jitter_strategy="FULL",
        )


# A Standard execution costs nothing while it waits.
PATIENT = Patience(attempts=5, first_delay_s=1, longest_delay_s=20)
# Somebody waits for an Express execution, and it may take five minutes with all that it does.
BRIEF = Patience(attempts=2, first_delay_s=1, longest_delay_s=4)
