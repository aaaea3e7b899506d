"""Lambda: moto keeps the functions, versions, aliases and layers; we run them.

Runs in the server process. ``install`` replaces moto's invocation (which needs Docker, or echoes the payload) by worker
processes, see ``functions.functions``. Refused, never pretended: event source mappings, runtimes other than Python, and
images. Differences from AWS are listed in ``functions.workers``, ``functions.functions`` and ``functions.events``; one
more is that weighted aliases always choose their main version.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from local_account.account import Account
from local_account.cloudwatch.telemetry import Telemetry
from local_account.functions.configuration import hook_configuration
from local_account.functions.errors import FunctionError, ThrottledError, client_error
from local_account.functions.events import Event, EventQueue
from local_account.functions.functions import Functions

SYNC_LIMIT_BYTES = 6 * 1024 * 1024  # lambda/latest/dg/gettingstarted-limits.html
ASYNC_LIMIT_BYTES = 1024 * 1024
LOG_TAIL_BYTES = 4096
OWN_REQUEST_ID = "own-request-id"  # moto gives every answer an id of its own; this one takes its place
Answer = tuple[int, dict[str, str], bytes | str]


def install(account: Account) -> None:
    """Make moto's Lambda run functions. Called once, before the first request."""
    telemetry = Telemetry(account)
    functions = Functions(account, telemetry)
    events = EventQueue(account, functions)
    telemetry.start()
    _hook_invocation(functions, events)
    hook_configuration(functions)


def _hook_invocation(functions: Functions, events: EventQueue) -> None:
    from moto.awslambda.models import LambdaBackend, LambdaFunction
    from moto.awslambda.responses import LambdaResponse

    def invoke_by_request(response: Any) -> Answer:
        name = unquote(response.path.rsplit("/", 2)[-2])
        qualifier = response.querystring.get("Qualifier", [None])[0]
        function = response.backend.get_function(name, qualifier)
        return _answer(functions, events, function, _invoked_arn(function, name, qualifier), response)

    def invoke_by_poller(
        backend: Any, function_name: str, qualifier: str | None, body: Any, _headers: Any, response_headers: Any
    ) -> bytes:
        """What moto's other services call when they want the result."""
        result = _checked(
            lambda: functions.invoke(backend.get_function(function_name, qualifier), _bytes(body) or b"{}")
        )
        if result.error is not None:
            response_headers["x-amz-function-error"] = result.error
        payload: bytes = result.payload
        return payload

    def invoke_by_service(function: Any, body: Any, _request_headers: Any, _response_headers: Any) -> str:
        """What moto's SNS and CloudWatch Logs call: on AWS they invoke asynchronously."""
        events.put(Event(function, function.function_arn, _bytes(body) or b"{}"))
        return ""

    def invoke_lambda(function: Any, event: Any = None) -> tuple[str, bool, str]:
        result = functions.invoke(function, json.dumps({} if event is None else event).encode())
        return result.payload.decode(), result.error is not None, "\n".join(result.lines)

    def create_event_source_mapping(_backend: Any, spec: dict[str, Any]) -> None:
        source = spec.get("EventSourceArn")
        raise client_error(
            "InvalidParameterValueException",
            f"The stand-in account does not poll event sources, so {source} would never invoke the function. "
            "Invoke it from an EventBridge rule or an SNS subscription.",
            400,
        )

    def enrich(headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        own = headers.pop(OWN_REQUEST_ID, None)
        headers, body = original_enrich(headers, body)
        return (headers if own is None else {**headers, "x-amzn-requestid": own}), body

    original_enrich = LambdaResponse._enrich_response
    LambdaResponse._enrich_response = staticmethod(enrich)
    LambdaResponse.invoke = invoke_by_request
    LambdaBackend.invoke = invoke_by_poller
    LambdaBackend.create_event_source_mapping = create_event_source_mapping
    LambdaFunction.invoke = invoke_by_service
    LambdaFunction._invoke_lambda = invoke_lambda


def _answer(functions: Functions, events: EventQueue, function: Any, arn: str, response: Any) -> Answer:
    body, kind = _bytes(response.body), response.headers.get("X-Amz-Invocation-Type", "RequestResponse")
    limit = ASYNC_LIMIT_BYTES if kind == "Event" else SYNC_LIMIT_BYTES
    if len(body) > limit:
        message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
        raise client_error("RequestTooLargeException", message, 413)
    if body:
        _check_json(body)
    if kind == "DryRun":
        return 204, {"status": "204"}, ""
    if kind == "Event":
        event = Event(function, arn, body or b"{}")
        events.put(event)
        return 202, {"status": "202", OWN_REQUEST_ID: event.request_id}, ""
    context = response.headers.get("X-Amz-Client-Context")
    client_context = base64.b64decode(context).decode() if context else None
    result = _checked(lambda: functions.invoke(function, body or b"{}", arn=arn, client_context=client_context))
    headers = {
        "content-type": "application/json",
        "X-Amz-Executed-Version": str(function.version),
        OWN_REQUEST_ID: result.request_id,
    }
    if result.error is not None:
        headers["X-Amz-Function-Error"] = result.error
    if response.headers.get("X-Amz-Log-Type") == "Tail":
        tail = "\n".join(result.lines).encode()[-LOG_TAIL_BYTES:]
        headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
    return 200, headers, result.payload


def _check_json(body: bytes) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        message = f"Could not parse request body into json: {error}"
        raise client_error("InvalidRequestContentException", message, 400) from error


def _invoked_arn(function: Any, name: str, qualifier: str | None) -> str:
    """The ARN as the caller named the function: with its alias or version, if one was given."""
    last = name.rsplit(":", 1)[-1]
    given = qualifier or (last if ":" in name and last != function.function_name else None)
    base = ":".join(function.function_arn.split(":")[:7])
    return f"{base}:{given}" if given else base


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body or b"")


def _checked(invoke: Callable[[], Any]) -> Any:
    try:
        return invoke()
    except ThrottledError as error:
        raise client_error(error.code, str(error), error.status, Reason=error.reason) from error
    except FunctionError as error:
        raise client_error(error.code, str(error), error.status) from error
