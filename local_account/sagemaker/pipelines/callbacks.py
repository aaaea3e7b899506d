"""Callback steps: a message with a token goes to a queue, and somebody answers for the token.

Runs in the server process; tokens live as long as their step. Authority: SageMaker developer guide, "Callback step",
which shows the message, also the second one that an execution sends when it is stopped.
"""

from __future__ import annotations

import json
import secrets
import string
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.protocol.actions import Json, Reply, ServiceError, action
from local_account.sagemaker.pipelines.documents import OutputParameter

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        SendPipelineExecutionStepFailureRequestTypeDef,
        SendPipelineExecutionStepSuccessRequestTypeDef,
    )
    from types_boto3_sqs.client import SQSClient

TOKEN_CHARACTERS = 10  # SageMaker API Reference, CallbackToken
_TYPES: Mapping[str, Callable[[str], Json]] = {
    "Integer": int,
    "Float": float,
    "Boolean": lambda text: {"true": True, "false": False}[text.lower()],
}


class UnansweredError(Exception):
    """Why a callback step failed."""


@dataclass
class Callback:
    """A message that waits for its answer."""

    execution: str
    outputs: list[OutputParameter]
    answered: threading.Event = field(default_factory=threading.Event)
    values: dict[str, Json] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class CallbackMessage:
    """What goes to the queue."""

    token: str
    execution: str
    arguments: Mapping[str, Json]

    def send(self, sqs: SQSClient, queue_url: str, status: str = "Executing") -> None:
        """Send it in the name of the client's role. Raises UnansweredError."""
        body = {
            "token": self.token,
            "pipelineExecutionArn": self.execution,
            "arguments": self.arguments,
            "status": status,
        }
        try:
            sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(body))
        except ClientError as error:
            raise UnansweredError(f"ClientError: Failed to invoke sqs:SendMessage. Error Details: {error}") from error


class Callbacks:
    """The tokens that are out, and the two actions that answer for them."""

    def __init__(self) -> None:
        self._waiting: dict[str, Callback] = {}
        self._answered: dict[str, str] = {}

    def issue(self, execution: str, outputs: list[OutputParameter]) -> tuple[str, Callback]:
        """Another token, and what it waits for."""
        alphabet = string.ascii_letters + string.digits
        token = "".join(secrets.choice(alphabet) for _ in range(TOKEN_CHARACTERS))
        self._waiting[token] = Callback(execution, outputs)
        return token, self._waiting[token]

    def withdraw(self, token: str) -> None:
        """The step waits no more."""
        self._waiting.pop(token, None)

    @action("SendPipelineExecutionStepSuccess")
    def succeed(self, request: SendPipelineExecutionStepSuccessRequestTypeDef) -> Reply:
        """The step succeeds with these outputs. Raises ServiceError for a token that nobody waits for."""
        callback = self._callback(request["CallbackToken"], request.get("ClientRequestToken"))
        if callback.answered.is_set():
            return {"PipelineExecutionArn": callback.execution}
        given = {one["Name"]: one["Value"] for one in request.get("OutputParameters", [])}
        known = {one["OutputName"]: str(one.get("OutputType", "String")) for one in callback.outputs}
        if given.keys() != known.keys():
            expected = ", ".join(known) or "none"
            raise ServiceError(f"OutputParameters: the step has {expected}, got {', '.join(given) or 'none'}.")
        callback.values = {name: _typed(name, known[name], value) for name, value in given.items()}
        callback.answered.set()
        return {"PipelineExecutionArn": callback.execution}

    @action("SendPipelineExecutionStepFailure")
    def fail(self, request: SendPipelineExecutionStepFailureRequestTypeDef) -> Reply:
        """The step fails for this reason. Raises ServiceError for a token that nobody waits for."""
        callback = self._callback(request["CallbackToken"], request.get("ClientRequestToken"))
        if not callback.answered.is_set():
            callback.failure = request.get("FailureReason", "")
            callback.answered.set()
        return {"PipelineExecutionArn": callback.execution}

    def _callback(self, token: str, request_token: str | None) -> Callback:
        """What waits for a token; the same request again finds the answer that it gave."""
        known = self._waiting.get(token)
        if known is None and request_token is not None and request_token in self._answered:
            known = Callback(self._answered[request_token], [])
            known.answered.set()
        if known is None:
            raise ServiceError(f"Callback token {token} does not exist: no step waits for it.", "ResourceNotFound")
        if request_token is not None:
            self._answered[request_token] = known.execution
        return known


def _typed(name: str, kind: str, text: str) -> Json:
    try:
        value: Json = _TYPES[kind](text) if kind in _TYPES else text
        return value
    except (ValueError, KeyError) as error:
        raise ServiceError(f"OutputParameters: {name} must be of type {kind}, got {text!r}.") from error
