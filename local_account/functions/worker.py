"""The program inside a function's worker process: the Python runtime of Lambda, as AWS's own runtime client behaves.

Runs as ``python -I -S -u worker.py`` in a process of its own, with the standard library alone; it is never
imported by the server. It reads the environment that Lambda defines (``_HANDLER``, ``LAMBDA_TASK_ROOT``,
``AWS_LAMBDA_RUNTIME_API``) and two lists of folders of ours, imports the handler, and then asks the Runtime API for one
invocation after the other. What the function prints goes to the inherited standard output, where a marker closes each
invocation so that the server knows which lines belong to it.

The behaviour of errors and of logging follows github.com/aws/aws-lambda-python-runtime-interface-client (bootstrap.py).
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from local_account.functions import worker_logging

Handler = Callable[[object, object], object]
API = "/2018-06-01/runtime"
FIRST_PATHS = "LOCAL_LAMBDA_CODE_PATHS"  # the task root and the layers: before the standard library
_machine_time = time.time  # in which time limits are, wherever the account's clock may be
LAST_PATHS = "LOCAL_LAMBDA_RUNTIME_PATHS"  # what the runtime itself brings (boto3): after everything else


class ErrorPayload(TypedDict):
    """What an invoker gets for an exception."""

    errorMessage: str
    errorType: str
    requestId: str
    stackTrace: list[str]


class ClientContext(TypedDict, total=False):
    """What a mobile client sends along."""

    client: dict[str, object]
    custom: dict[str, object]
    env: dict[str, object]


class RuntimeFault(Exception):  # noqa: N818  # AWS's runtime client calls these faults
    """An error of the runtime, not of the function: it has a type of its own, such as Runtime.HandlerNotFound."""

    def __init__(self, error_type: str, message: str, stack_trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.stack_trace = stack_trace or []


class LambdaContext:
    """What the handler gets as its second argument."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        client_context = headers["Lambda-Runtime-Client-Context"]
        self.client_context = None if client_context is None else _client_context(json.loads(client_context))

    def get_remaining_time_in_millis(self) -> int:
        """Until the invocation is ended."""
        return max(0, self._deadline_ms - int(_machine_time() * 1000))

    def log(self, message: str) -> None:
        """Write to the function's log."""
        sys.stdout.write(str(message))


def _client_context(value: ClientContext) -> SimpleNamespace:
    return SimpleNamespace(
        client=SimpleNamespace(**value.get("client", {})), custom=value.get("custom"), env=value.get("env")
    )


class RuntimeApi:
    """The Runtime API over one connection that stays open."""

    def __init__(self, address: str) -> None:
        host, _, prefix = address.partition("/")  # the account's address names the worker in its path
        self._prefix = f"/{prefix}{API}" if prefix else API
        self._connection = http.client.HTTPConnection(host)

    def next(self) -> tuple[http.client.HTTPMessage, bytes]:
        """Wait for the next invocation: its headers and its event."""
        return self._call("GET", "/invocation/next")

    def response(self, request_id: str, body: bytes) -> None:
        """Tell the result of an invocation."""
        self._call("POST", f"/invocation/{request_id}/response", body)

    def error(self, request_id: str, payload: ErrorPayload) -> None:
        """Tell that an invocation has failed."""
        self._call("POST", f"/invocation/{request_id}/error", _marshalling.to_json(payload), payload["errorType"])

    def init_error(self, payload: ErrorPayload) -> None:
        """Tell that the handler could not be loaded."""
        self._call("POST", "/init/error", _marshalling.to_json(payload), payload["errorType"])

    def _call(
        self, method: str, path: str, body: bytes | None = None, error_type: str | None = None
    ) -> tuple[http.client.HTTPMessage, bytes]:
        headers = {} if error_type is None else {"Lambda-Runtime-Function-Error-Type": error_type}
        self._connection.request(method, self._prefix + path, body, headers)
        answer = self._connection.getresponse()
        return answer.headers, answer.read()


def load_handler(name: str) -> Handler:
    """Import ``module.function``; the faults carry the names and the texts that AWS gives them."""
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise RuntimeFault(
            "Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise RuntimeFault("Runtime.ImportModuleError", message) from error
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        message = f"Syntax error in module '{module_name}': {error}"
        raise RuntimeFault("Runtime.UserCodeSyntaxError", message, trace) from error
    try:
        handler: Handler = getattr(module, function_name)
    except AttributeError as error:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise RuntimeFault("Runtime.HandlerNotFound", message) from error
    return handler


def _beside(name: str) -> ModuleType:
    """A module of ours beside this file, where a program that runs with ``-I`` does not look."""
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120  # pathlib would add 20 ms to a cold start
    try:
        return importlib.import_module(name)
    finally:
        del sys.path[0]
        sys.modules.pop(name, None)  # a function may have one of that name


def _marshal(result: object) -> bytes:
    try:
        payload: bytes = _marshalling.payload_of(result)
    except Exception as error:
        raise RuntimeFault("Runtime.MarshalError", f"Unable to marshal response: {error}") from error
    return payload


def error_payload(error: BaseException, request_id: str, places: worker_logging.Places) -> ErrorPayload:
    """What an invoker gets for an exception; our own frames at the top of the trace are left out."""
    if isinstance(error, RuntimeFault):
        error_type, stack_trace = error.error_type, error.stack_trace
    else:
        error_type, stack_trace = type(error).__name__, places.frames(error.__traceback__, __file__)
    return {
        "errorMessage": str(error),
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": stack_trace,
    }


def _close_log(request_id: str) -> None:
    """Mark in the output that this invocation's lines end here, with the peak memory in KiB."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(1, f"\0{request_id} {_peak_memory_kib()}\0\n".encode())


def _peak_memory_kib() -> int:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # bytes there
    # Not getrusage: on Linux its peak includes the server, whose process this one was forked from.
    with open("/proc/self/status", "rb") as status:  # noqa: PTH123  # pathlib would add 20 ms to a cold start
        return next((int(line.split()[1]) for line in status if line.startswith(b"VmHWM:")), 0)


def _invoke(
    handler: Handler, event: bytes, context: LambdaContext, api: RuntimeApi, places: worker_logging.Places
) -> None:
    request_id = context.aws_request_id
    try:
        result = _marshal(handler(json.loads(event), context))
    except Exception as error:
        payload = error_payload(error, request_id, places)
        _logging.tell_error(payload)
        _close_log(request_id)
        api.error(request_id, payload)
    else:
        _close_log(request_id)
        api.response(request_id, result)


def _live_in_the_accounts_time() -> None:
    if "LOCAL_ACCOUNT_CLOCK" in os.environ:  # else not even its import is paid for
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "base"))  # noqa: PTH118, PTH120  # pathlib costs
        importlib.import_module("clock").take_over()
        del sys.path[0], sys.modules["clock"]


def main() -> None:
    """Load the handler, then serve invocations until the server ends the process."""
    _live_in_the_accounts_time()
    first = os.environ.pop(FIRST_PATHS).split(os.pathsep)
    sys.path[0:0] = first
    sys.path += os.environ.pop(LAST_PATHS).split(os.pathsep)
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    formatter, places = _logging.install(), _logging.Places(first[0], first[1:])
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except Exception as error:
        payload = error_payload(error, "", places)
        _logging.tell_error(payload)
        api.init_error(payload)
        sys.exit(1)
    while True:
        headers, event = api.next()
        context = LambdaContext(headers)
        formatter.request_id = context.aws_request_id
        _invoke(handler, event, context, api, places)


_marshalling, _logging = _beside("marshalling"), _beside("worker_logging")

if __name__ == "__main__":
    main()
