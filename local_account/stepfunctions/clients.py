"""The clients with which tasks call this account, and the functions that they invoke without one.

Runs in the server process. ``install`` puts them into moto's interpreter, whose own make a client for each task (25 to
50 ms), and has to run before moto's tasks are imported: each module of those takes its own reference.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

import boto3
from botocore.exceptions import ClientError, UnknownServiceError
from botocore.model import OperationNotFoundError

from local_account.account import Account
from local_account.base.replacements import replace

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.exceptions import _ClientErrorResponseTypeDef
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.credentials import StateCredentials
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from types_boto3_lambda import LambdaClient
    from types_boto3_lambda.type_defs import InvocationRequestTypeDef

# Names of aws-sdk integrations that are not botocore's name without its hyphens.
SERVICE_NAMES = {
    "sfn": "stepfunctions",
    "states": "stepfunctions",
    "cloudwatchlogs": "logs",
    "cloudwatchevents": "events",
    "eventbridge": "events",
    "elasticloadbalancingv2": "elbv2",
}


UNKNOWN = (UnknownServiceError, OperationNotFoundError, KeyError)
"""What is raised for a service or an operation that there is not."""
_account: list[Account] = []
"""The account, once it is installed: moto makes the tasks that call, and hands them nothing of ours."""


def install(account: Account) -> None:
    """Have moto's tasks call this account. Raises AccountError when they were imported before."""
    from moto.stepfunctions.parser import utils
    from moto.stepfunctions.parser.asl.utils import boto_client

    _account[:] = [account]
    replace(
        boto_client,
        "boto_client_for",
        _client_for,
        why="it makes a client for each call of a task, without the role of the machine",
        upstream="001-one-client-per-role.md",
    )
    replace(
        utils,
        "TMP_THREADS",
        deque[object](maxlen=0),
        why="it keeps every thread that ever ran",
        upstream="002-forget-threads-that-ended.md",
    )
    # After the clients were put in place: this module takes one itself.
    from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils

    replace(
        lambda_eval_utils,
        "execute_lambda_function_integration",
        _invoke,
        why="it writes the payload of a function's error anew, and calls through a socket what runs in this process",
        upstream="003-payload-of-a-function-error.md",
    )


def client_of(service: str, role: str = "") -> BaseClient:
    """A client of this account, in the name of a role where one is given."""
    client: BaseClient = _account[0].client(SERVICE_NAMES.get(service) or _botocore_names().get(service, service), role)
    return client


@cache
def _botocore_names() -> dict[str, str]:
    return {name.replace("-", ""): name for name in boto3.Session().get_available_services()}


def _client_for(region: str, service: str, state_credentials: StateCredentials | None = None) -> BaseClient:  # noqa: ARG001  # moto's
    return client_of(service, state_credentials.role_arn if state_credentials else "")


def _invoke(env: Environment, parameters: dict[str, object], region: str, state_credentials: StateCredentials) -> None:  # noqa: ARG001  # moto's
    """Leave on the stack what a function answers; LambdaFunctionErrorException where it failed."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.lambda_eval_utils import (
        LambdaFunctionErrorException,
    )

    name, payload, role = str(parameters["FunctionName"]), parameters.get("Payload"), state_credentials.role_arn
    unqualified = name.count(":") in {0, 6}  # a name, or the ARN of one
    if unqualified and parameters.keys() == {"FunctionName", "Payload"} and isinstance(payload, bytes):
        answer = _invoked_here(_account[0], role, name, payload)
    else:
        answer = _invoked(role, parameters)
    if answer.error:
        raise LambdaFunctionErrorException(answer.error, answer.payload)  # the cause is the payload, byte for byte
    env.stack.append(
        {
            "ExecutedVersion": answer.version,
            "Payload": json.loads(answer.payload) if answer.payload else None,
            "StatusCode": 200,
        }
    )


@dataclass(frozen=True)
class Invoked:
    """What a function answered: its text, its version, the kind of error that it ended with."""

    version: str
    payload: str
    error: str | None


def _invoked(role: str, parameters: dict[str, object]) -> Invoked:
    functions = cast("LambdaClient", client_of("lambda", role))
    answer = functions.invoke(**cast("InvocationRequestTypeDef", parameters))
    payload = answer["Payload"].read().decode()
    return Invoked(answer.get("ExecutedVersion", "$LATEST"), payload, answer.get("FunctionError"))


def _invoked_here(account: Account, role: str, name: str, payload: bytes) -> Invoked:
    """Invoke in this process what a client would invoke through a socket, at a third of the cost."""
    from moto.awslambda.exceptions import LambdaClientError
    from moto.awslambda.models import lambda_backends

    resource = name if name.startswith("arn:") else account.arn("lambda", f"function:{name}")
    account.authority.demand(role, "lambda:InvokeFunction", resource)
    backend = lambda_backends[account.account_id][account.region]
    headers: dict[str, str] = {}
    try:
        version = backend.get_function(name).version
        answer = backend.invoke(name, None, payload, {}, headers)
    except LambdaClientError as error:
        details = {
            "Error": {"Code": error.error_type, "Message": error.message},
            "ResponseMetadata": {"HTTPStatusCode": error.code, "RequestId": str(uuid.uuid4())},
        }
        raise ClientError(cast("_ClientErrorResponseTypeDef", details), "Invoke") from error
    text = answer.decode() if isinstance(answer, bytes) else answer
    return Invoked(str(version), text or "", headers.get("x-amz-function-error"))
