"""SageMaker Runtime: InvokeEndpoint over the model servers.

Runs in the server process, a WSGI application for ``POST /endpoints/<name>/invocations``.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from local_account.base import clock
from local_account.protocol.actions import Json
from local_account.sagemaker.endpoints.actions import Endpoints
from local_account.sagemaker.endpoints.archive import StartError
from local_account.sagemaker.endpoints.capture import Exchange
from local_account.sagemaker.endpoints.fleet import Fleet
from local_account.sagemaker.endpoints.instance import Instance, ModelAnswer, NoAnswerError
from local_account.sagemaker.endpoints.metrics import MeasuredInvocation
from local_account.sagemaker.endpoints.variants import VariantThrottledError
from local_account.sagemaker.records import VariantRecord
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

COPIERS = 4
MAX_COPIES = 64  # that wait for their shadow variant, or are answered by it
MAX_BODY_BYTES = 6_291_456  # InvokeEndpoint's limit in SageMaker's service model
MAX_SERVERLESS_BODY_BYTES = 4 * 2**20
_PATH = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)")
_UNSUPPORTED_HEADERS = ("Target-Model", "Target-Container-Hostname", "Inference-Component", "Session-Id")
_DEFAULT_TYPE = "application/octet-stream"


class RuntimeServiceError(Exception):
    """An error as SageMaker Runtime answers it."""

    def __init__(self, message: str, code: str = "ValidationError", status: int = 400, **members: Json) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.members: dict[str, Json] = {"Message": message, **members}


class _Request(NamedTuple):
    """One invocation, as a model gets it and capture keeps it."""

    endpoint: str
    fleet: Fleet
    body: bytes
    content_type: str
    headers: dict[str, str]
    inference_id: str | None
    custom_attributes: str | None
    started: float


class Runtime:
    """The WSGI application."""

    def __init__(self, sagemaker: SageMaker, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._account = sagemaker.account
        self._copiers = ThreadPoolExecutor(COPIERS, "shadow")
        self._copying = threading.Semaphore(MAX_COPIES)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            headers, content = self._invoke(environ, body, started)
            status = "200 OK"
        except RuntimeServiceError as error:
            content = json.dumps(error.members).encode()
            headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error.code)]
            status = f"{error.status} Error"
        start_response(status, [*headers, ("Content-Length", str(len(content)))])
        return [content]

    def _invoke(self, environ: WSGIEnvironment, body: bytes, started: float) -> tuple[list[tuple[str, str]], bytes]:
        name = self._endpoint_name(environ)
        with self._endpoints.serving(name) as fleet:
            if fleet is None and self._endpoints.is_coming_up(name):
                message = f"Endpoint {name} is not up again since the account was started; try again."
                raise RuntimeServiceError(message, "ServiceUnavailable", 503)
            if fleet is None:
                raise RuntimeServiceError(f"Endpoint {name} of account {self._account.account_id} not found.")
            target = _header(environ, "Target-Variant")
            variant = fleet.choose(target)
            if variant is None:
                raise RuntimeServiceError(
                    f"Variant {target} of endpoint {name} not found: it has {', '.join(fleet.variants)}."
                )
            _check_size(fleet.spec(variant.name), body)
            request = _read(environ, name, fleet, body, started)
            self._copy(request)
            try:
                with variant.instance() as instance:
                    return self._answer(request, instance)
            except StartError as error:
                raise RuntimeServiceError(str(error), "ServiceUnavailable", 503) from error
            except VariantThrottledError as error:
                raise RuntimeServiceError(str(error), "ThrottlingException", 429) from error

    def _endpoint_name(self, environ: WSGIEnvironment) -> str:
        match = _PATH.fullmatch(environ["PATH_INFO"])
        if match is None or environ["REQUEST_METHOD"] != "POST":
            raise RuntimeServiceError(
                f"SageMaker Runtime has no {environ['REQUEST_METHOD']} {environ['PATH_INFO']}.",
                "UnknownOperationException",
                404,
            )
        if match.group(2) != "invocations":
            raise RuntimeServiceError(f"The stand-in account does not implement {match.group(2)}, only invocations.")
        for header in _UNSUPPORTED_HEADERS:
            if _header(environ, header):
                raise RuntimeServiceError(f"The stand-in account does not implement {header.replace('-', '')}.")
        return unquote(match.group(1))

    def _answer(self, request: _Request, instance: Instance) -> tuple[list[tuple[str, str]], bytes]:
        try:
            answer = self._ask(request, instance)
        except NoAnswerError as error:
            raise self._model_error(instance, 0, str(error)) from error
        if not 200 <= answer.status < 300:
            raise self._model_error(instance, answer.status, answer.body.decode(errors="replace"))
        headers = [("Content-Type", answer.content_type), ("x-Amzn-Invoked-Production-Variant", instance.variant)]
        if answer.custom_attributes:
            headers.append(("X-Amzn-SageMaker-Custom-Attributes", answer.custom_attributes))
        return headers, answer.body

    def _ask(self, request: _Request, instance: Instance) -> ModelAnswer:
        """Ask the model, count the invocation and capture it."""
        called = time.perf_counter()
        answer: ModelAnswer | None = None
        try:
            answer = instance.invoke(request.body, request.headers)
        finally:
            self._endpoints.metrics.record(
                MeasuredInvocation(
                    request.endpoint,
                    instance.variant,
                    request.fleet.config,
                    answer.status if answer else 0,
                    model_us=(time.perf_counter() - called) * 1e6,
                    overhead_us=(called - request.started) * 1e6,
                    instances=request.fleet.spec(instance.variant).get("InitialInstanceCount", 1),
                )
            )
        if 200 <= answer.status < 300:
            exchange = Exchange(
                request.endpoint,
                instance.variant,
                clock.time(),
                request.inference_id,
                request.custom_attributes,
                request.content_type,
                request.body,
                answer.content_type,
                answer.body,
            )
            role = request.fleet.spec(instance.variant)["container"].get("role", "")
            self._endpoints.capture.record(request.fleet.source["capture"], exchange, role)
        return answer

    def _copy(self, request: _Request) -> None:
        """Send the shadow variant its copy; nobody waits for the answer, and too many at once are left out."""
        fleet, shadow = request.fleet, request.fleet.shadow
        if shadow is None or not fleet.copied.next() or not self._copying.acquire(blocking=False):
            return

        def ask() -> None:
            try:
                with shadow.instance() as instance:
                    self._ask(request._replace(started=time.perf_counter()), instance)
            except (StartError, NoAnswerError) as error:
                log.warning("shadow variant %s of %s: %s", shadow.name, request.endpoint, error)
            finally:
                self._copying.release()
                fleet.leave()

        fleet.enter()
        self._copiers.submit(ask)

    def _model_error(self, server: Instance, status: int, message: str) -> RuntimeServiceError:
        side = "client" if 400 <= status < 500 else "server"
        region, account = self._account.region, self._account.account_id
        console = (
            f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:"
            f"group={server.log_group}"
        )
        return RuntimeServiceError(
            f'Received {side} error ({status}) from primary with message "{message}". See {console} in account '
            f"{account} for more information.",
            "ModelError",
            424,
            OriginalStatusCode=status,
            OriginalMessage=message,
            LogStreamArn=self._account.arn(
                "logs", f"log-group:{server.log_group}:log-stream:{quote(server.log_stream)}"
            ),
        )


def _check_size(variant: VariantRecord, body: bytes) -> None:
    limit = MAX_SERVERLESS_BODY_BYTES if "ServerlessConfig" in variant else MAX_BODY_BYTES
    if len(body) > limit:
        raise RuntimeServiceError(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: "
            f"Member must have length less than or equal to {limit}"
        )


def _read(environ: WSGIEnvironment, endpoint: str, fleet: Fleet, body: bytes, started: float) -> _Request:
    return _Request(
        endpoint,
        fleet,
        body,
        environ.get("CONTENT_TYPE") or _DEFAULT_TYPE,
        _model_headers(environ),
        _header(environ, "Inference-Id"),
        _header(environ, "Custom-Attributes"),
        started,
    )


def _header(environ: WSGIEnvironment, name: str) -> str | None:
    return environ.get(f"HTTP_X_AMZN_SAGEMAKER_{name.upper().replace('-', '_')}")


def _model_headers(environ: WSGIEnvironment) -> dict[str, str]:
    headers = {"Content-Type": environ.get("CONTENT_TYPE") or _DEFAULT_TYPE}
    if environ.get("HTTP_ACCEPT"):
        headers["Accept"] = environ["HTTP_ACCEPT"]
    for name in ("Custom-Attributes", "Inference-Id"):
        value = _header(environ, name)
        if value:
            headers[f"X-Amzn-SageMaker-{name}"] = value
    return headers
