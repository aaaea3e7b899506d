"""Running a function: throttling, its pool of workers, its log and its metrics.

Runs in the server process; ``awslambda`` calls it for requests, ``functions.events`` for asynchronous invocations. It
reads moto's ``LambdaFunction`` and keeps all that lives (pools, counters) here, so that moto's objects stay plain data.
Differences from AWS: at most ``WORKER_LIMIT`` workers a function, further calls wait for one (AWS would start more);
extensions in layers are not started. A function calls as its role; without the permission to write its log it has none.
Lines in the embedded metric format become metrics, see ``embedded_metrics``.
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moto.awslambda.models import LayerVersion, lambda_backends

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.authority.identity import session_environment
from local_account.base.clock import CLOCK
from local_account.cloudwatch.embedded_metrics import embedded_values
from local_account.cloudwatch.telemetry import Telemetry
from local_account.functions.api.code import code_address
from local_account.functions.code import CodeError, CodeStore, check_together, wrapper
from local_account.functions.errors import FunctionError, FunctionThrottledError
from local_account.functions.layers import check_installed, published_layer
from local_account.functions.runtime_api import QueuedInvocation, RuntimeApiServer
from local_account.functions.worker import FIRST_PATHS, LAST_PATHS
from local_account.functions.workers import PROGRAM, InvocationOutcome, Worker, WorkerPlan, WorkerPool

if TYPE_CHECKING:
    from local_account.functions.configuration import AccountFunction

WORKER_LIMIT = 10
WAIT_FOR_WORKER_S = 60.0
IDLE_S = 300.0
RESPONSE_LIMIT_BYTES = 6 * 1024 * 1024 + 100  # 6291556, as AWS's message says
KEPT_VARIABLES = ("PATH", "LANG", "TZ")
_PYTHON = re.compile(r"python3\.\d+")


@dataclass(frozen=True)
class InvocationResult:
    """What an invoker learns: the payload, the kind of function error if any, and the log's lines."""

    payload: bytes
    error: str | None
    lines: list[str]
    request_id: str


class Functions:
    """Runs the account's functions."""

    def __init__(self, account: Account, telemetry: Telemetry) -> None:
        self._account, self._telemetry = account, telemetry
        self.code = CodeStore(account.state_dir / "functions")
        self._api = RuntimeApiServer()
        self._pools: dict[str, WorkerPool] = {}
        self._active: Counter[str] = Counter()
        self._free = threading.Condition()
        threading.Thread(target=self._end_idle_workers, name="lambda-idle-workers", daemon=True).start()

    def invoke(
        self,
        function: AccountFunction,
        event: bytes,
        *,
        arn: str | None = None,
        request_id: str | None = None,
        client_context: str | None = None,
    ) -> InvocationResult:
        """Run moto's ``function`` on ``event`` (JSON) and wait for what comes of it."""
        request_id = request_id or str(uuid.uuid4())
        with self._concurrency(function):
            pool = self._pool(function)
            worker = pool.take()
            try:
                invocation = QueuedInvocation(request_id, arn or function.function_arn, 0, event, client_context)
                outcome = worker.invoke(invocation)
            except BaseException:
                worker.stop()
                raise
            finally:
                pool.give_back(worker)
        if len(outcome.payload) > RESPONSE_LIMIT_BYTES:
            outcome = _too_large(outcome)
        lines = self._report(function, request_id, outcome)
        return InvocationResult(outcome.payload, outcome.error, lines, request_id)

    def code_address(self, owner: AccountFunction | LayerVersion) -> str:
        """An address from which the code of a function or of a layer can be fetched for a while."""
        return code_address(self._account, owner)

    def forget(self, function_name: str) -> None:
        """End the workers of a function that was deleted."""
        prefix = f"{function_name}:"
        for key in [key for key in list(self._pools) if key.startswith(prefix)]:
            self._pools.pop(key).retire()

    def check_code(self, function: AccountFunction) -> None:
        """Unpack the function's zip; ``CodeError`` says what is wrong with it."""
        if function.package_type == "Zip" and not function.code_bytes:
            raise CodeError("Error occurred while GetObject. S3 Error Code: NoSuchKey. The code was not found in S3")
        if function.package_type == "Zip":
            self.code.unpack(function.code_digest, function.code_bytes)
            own = (self._layer(layer["Arn"]) for layer in function.layers if not published_layer(layer["Arn"]))
            check_together(function.code_bytes, (layer.code_bytes for layer in own if layer))

    def check_layer(self, layer: LayerVersion) -> None:
        """Unpack the zip of moto's layer version; ``CodeError`` says what is wrong with it."""
        if not layer.code_bytes:
            raise CodeError("The layer's zip is empty, or was not found in S3")
        self.code.unpack(layer.code_digest, layer.code_bytes)

    def check_role(
        self, function: AccountFunction, code: str = "InvalidParameterValueException", status: int = 400
    ) -> None:
        """Refuse a role that Lambda may not assume; FunctionError with the code."""
        role, arn = function.role, self._account.arn("lambda", f"function:{function.function_name}")
        try:
            self._account.authority.demand_trust(role, "lambda.amazonaws.com", arn)
        except AccessDeniedError as error:
            message = f"The role defined for the function cannot be assumed by Lambda. ({error.message})"
            raise FunctionError(code, message, status) from error

    @contextmanager
    def _concurrency(self, function: AccountFunction) -> Iterator[None]:
        name, reserved = function.function_name, function.reserved_concurrency
        with self._free:
            if reserved is not None and self._active[name] >= int(reserved):
                self._throttled(name)
                raise FunctionThrottledError("ReservedFunctionConcurrentInvocationLimitExceeded")
            if not self._free.wait_for(lambda: self._active[name] < WORKER_LIMIT, WAIT_FOR_WORKER_S):
                self._throttled(name)
                raise FunctionThrottledError("ConcurrentInvocationLimitExceeded")
            self._active[name] += 1
        try:
            yield
        finally:
            with self._free:
                self._active[name] -= 1
                self._free.notify_all()

    def _throttled(self, name: str) -> None:
        self._telemetry.add_metric("AWS/Lambda", "Throttles", 1, "Count", {"FunctionName": name})

    def _pool(self, function: AccountFunction) -> WorkerPool:
        key = f"{function.function_name}:{function.version}"
        fingerprint = (
            function.code_digest,
            function.handler,
            function.run_time,
            function.memory_size,
            function.timeout,
            tuple(sorted(function.environment_vars.items())),
            tuple(layer["Arn"] for layer in function.layers),
            function.role,
            tuple(sorted(function.logging.items())),
        )
        pool = self._pools.get(key)
        if pool is not None and pool.fingerprint == fingerprint:
            return pool
        plan = self._plan(function)
        new = WorkerPool(fingerprint, lambda started: Worker(plan, self._api, self._account.children, started))
        old, self._pools[key] = self._pools.get(key), new
        if old is not None:
            old.retire()
        return new

    def _plan(self, function: AccountFunction) -> WorkerPlan:
        runtime = function.run_time or ""
        if function.package_type != "Zip" or not _PYTHON.fullmatch(runtime):
            what = f"runtime {runtime!r}" if function.package_type == "Zip" else f"package type {function.package_type}"
            message = f"The stand-in account runs zips with runtimes python3.x, not {what} of {function.function_name}"
            raise FunctionError("InvalidRuntimeException", message, 502)
        self.check_role(function, "AccessDeniedException", 403)
        try:
            folder = self.code.unpack(function.code_digest, function.code_bytes)
            layers = [path for layer in function.layers for path in self._layer_paths(layer["Arn"])]
        except CodeError as error:
            raise FunctionError("InvalidZipFileException", str(error), 502) from error
        runtime_program = (self._account.python, "-I", "-S", "-u", str(PROGRAM))
        command = (*wrapper(function.environment_vars, folder, self._opened_layers(function)), *runtime_program)
        environment = self._environment(function) | {
            "LAMBDA_TASK_ROOT": str(folder),
            FIRST_PATHS: os.pathsep.join(str(path) for path in [folder, *layers]),
            LAST_PATHS: str(self.code.runtime_packages()),
        }
        version, timeout_s = str(function.version), float(function.timeout)
        return WorkerPlan(function.function_name, version, folder, environment, command, timeout_s)

    def _opened_layers(self, function: AccountFunction) -> list[Path]:
        """The folders that stand for /opt."""
        own = (self._layer(layer["Arn"]) for layer in function.layers if not published_layer(layer["Arn"]))
        return [self.code.unpack(layer.code_digest, layer.code_bytes) for layer in own if layer]

    def _layer_paths(self, arn: str) -> list[Path]:
        if published := published_layer(arn):
            check_installed(arn, published)
            return [self.code.installed(f"layer-{published[0]}", published)]
        layer = self._layer(arn)
        if layer is None:
            raise CodeError(f"The layer version {arn} does not exist any more")
        return self.code.layer_paths(self.code.unpack(layer.code_digest, layer.code_bytes))

    def _layer(self, arn: str) -> LayerVersion | None:
        return lambda_backends[self._account.account_id][self._account.region].layers_versions_by_arn(arn)

    def _environment(self, function: AccountFunction) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            **self._account.environment(),
            **CLOCK.environment(),
            **session_environment(function.role, function.function_name),
            "AWS_CONFIG_FILE": os.devnull,  # the files of the user who runs the account are not the function's
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **{name: str(value) for name, value in function.environment_vars.items()},
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.logging["LogGroup"],
            "AWS_LAMBDA_LOG_FORMAT": function.logging["LogFormat"],
            "AWS_LAMBDA_LOG_LEVEL": function.logging.get("ApplicationLogLevel", ""),
            "_HANDLER": function.handler or "",
        }

    def _report(self, function: AccountFunction, request_id: str, outcome: InvocationOutcome) -> list[str]:
        """Write the log and the metrics of an invocation; the log's lines."""
        name = function.function_name
        billed_ms = int(-(-outcome.duration_ms // 1))
        init = "" if outcome.init_ms is None else f"\tInit Duration: {outcome.init_ms:.2f} ms"
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {outcome.duration_ms:.2f} ms\tBilled Duration: {billed_ms} ms"
            f"\tMemory Size: {function.memory_size} MB\tMax Memory Used: {outcome.peak_mib} MB{init}\t"
        )
        lines = [
            f"START RequestId: {request_id} Version: {function.version}",
            *outcome.lines,
            f"END RequestId: {request_id}",
            report,
        ]
        group = function.logging["LogGroup"]
        if self._account.may_log(function.role, group, outcome.log_stream):
            self._telemetry.add_lines(group, outcome.log_stream, lines)
        dimensions = {"FunctionName": name}
        self._telemetry.add_metric("AWS/Lambda", "Invocations", 1, "Count", dimensions)
        self._telemetry.add_metric("AWS/Lambda", "Errors", 0 if outcome.error is None else 1, "Count", dimensions)
        self._telemetry.add_metric("AWS/Lambda", "Duration", outcome.duration_ms, "Milliseconds", dimensions)
        for found in (value for line in outcome.lines for value in embedded_values(line)):
            self._telemetry.add_metric(found.namespace, found.name, found.value, found.unit, found.dimensions)
        return lines

    def _end_idle_workers(self) -> None:
        while not self._account.stopping.wait(5.0):
            for pool in list(self._pools.values()):
                pool.end_idle(time.monotonic() - IDLE_S)


def _too_large(outcome: InvocationOutcome) -> InvocationOutcome:
    text = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
    payload = f'{{"errorMessage":"{text}","errorType":"Function.ResponseSizeTooLarge"}}'.encode()
    return InvocationOutcome(
        payload, "Unhandled", outcome.lines, outcome.duration_ms, outcome.log_stream, outcome.peak_mib
    )
