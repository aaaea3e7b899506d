"""The errors of running functions, and how they reach a client of Lambda's API.

Runs in the server process.
"""

from __future__ import annotations

import json

from moto.awslambda.exceptions import LambdaClientError


class FunctionError(Exception):
    """The function could not be run at all; carries AWS's error code and HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class FunctionThrottledError(FunctionError):
    """No concurrency left; asynchronous events are tried again."""

    def __init__(self, reason: str) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.", 429)
        self.reason = reason


def client_error(code: str, message: str, status: int, **members: str) -> LambdaClientError:
    """An error that moto's dispatcher answers in Lambda's protocol."""
    error = LambdaClientError(code, message)
    error.code = status
    error.description = json.dumps({"Type": "User", "message": message, "Message": message, **members})
    return error
