"""SageMaker Runtime: InvokeEndpoint over the model servers.

Runs in the server process, a WSGI application for ``POST /endpoints/<name>/invocations``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from local_account.sagemaker.capture import Exchange
from local_account.sagemaker.endpoint_archive import StartError
from local_account.sagemaker.endpoint_fleet import Fleet
from local_account.sagemaker.endpoint_instance import Instance, ModelAnswer, NoAnswerError
from local_account.sagemaker.endpoint_metrics import Invocation
from local_account.sagemaker.endpoints import endpoints_of
from local_account.sagemaker.service import Resource, SageMaker

MAX_BODY_BYTES = 6_291_456  # InvokeEndpoint's limit in SageMaker's service model
MAX_SERVERLESS_BODY_BYTES = 4 * 2**20
_PATH = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)")
_UNSUPPORTED_HEADERS = ("Target-Model", "Target-Container-Hostname", "Inference-Component", "Session-Id")
_DEFAULT_TYPE = "application/octet-stream"


class RuntimeServiceError(Exception):
    """An error as SageMaker Runtime answers it."""

    def __init__(self, message: str, code: str = "ValidationError", status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.members = {"Message": message, **members}


class _Target(NamedTuple):
    endpoint: str
    fleet: Fleet
    instance: Instance


class Runtime:
    """The WSGI application."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._endpoints = endpoints_of(sagemaker)
        self._account = sagemaker.account

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
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

    def _invoke(self, environ: dict[str, Any], body: bytes, started: float) -> tuple[list[tuple[str, str]], bytes]:
        name = self._endpoint_name(environ)
        with self._endpoints.serving(name) as fleet:
            if fleet is None:
                raise RuntimeServiceError(f"Endpoint {name} of account {self._account.account_id} not found.")
            target = _header(environ, "Target-Variant")
            variant = fleet.choose(target)
            if variant is None:
                raise RuntimeServiceError(
                    f"Variant {target} of endpoint {name} not found: it has {', '.join(fleet.variants)}."
                )
            _check_size(fleet.spec(variant.name), body)
            try:
                with variant.instance() as instance:
                    return self._answer(environ, body, started, _Target(name, fleet, instance))
            except StartError as error:
                raise RuntimeServiceError(str(error), "ServiceUnavailable", 503) from error

    def _endpoint_name(self, environ: dict[str, Any]) -> str:
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

    def _answer(
        self, environ: dict[str, Any], body: bytes, started: float, target: _Target
    ) -> tuple[list[tuple[str, str]], bytes]:
        endpoint, fleet, server = target
        called = time.perf_counter()
        answer: ModelAnswer | None = None
        try:
            answer = server.invoke(body, _model_headers(environ))
        except NoAnswerError as error:
            raise self._model_error(server, 0, str(error)) from error
        finally:
            answered = time.perf_counter()
            self._endpoints.metrics.record(
                Invocation(
                    endpoint,
                    server.variant,
                    fleet.config,
                    answer.status if answer else 0,
                    model_us=(answered - called) * 1e6,
                    overhead_us=(called - started) * 1e6,
                    instances=fleet.spec(server.variant).get("InitialInstanceCount", 1),
                )
            )
        if not 200 <= answer.status < 300:
            raise self._model_error(server, answer.status, answer.body.decode(errors="replace"))
        exchange = Exchange(
            endpoint,
            server.variant,
            time.time(),
            _header(environ, "Inference-Id"),
            _header(environ, "Custom-Attributes"),
            environ.get("CONTENT_TYPE") or _DEFAULT_TYPE,
            body,
            answer.content_type,
            answer.body,
        )
        self._endpoints.capture.record(fleet.source["capture"], exchange)
        headers = [("Content-Type", answer.content_type), ("x-Amzn-Invoked-Production-Variant", server.variant)]
        if answer.custom_attributes:
            headers.append(("X-Amzn-SageMaker-Custom-Attributes", answer.custom_attributes))
        return headers, answer.body

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


def _check_size(variant: Resource, body: bytes) -> None:
    limit = MAX_SERVERLESS_BODY_BYTES if "ServerlessConfig" in variant else MAX_BODY_BYTES
    if len(body) > limit:
        raise RuntimeServiceError(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: "
            f"Member must have length less than or equal to {limit}"
        )


def _header(environ: dict[str, Any], name: str) -> str | None:
    return environ.get(f"HTTP_X_AMZN_SAGEMAKER_{name.upper().replace('-', '_')}")


def _model_headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {"Content-Type": environ.get("CONTENT_TYPE") or _DEFAULT_TYPE}
    if environ.get("HTTP_ACCEPT"):
        headers["Accept"] = environ["HTTP_ACCEPT"]
    for name in ("Custom-Attributes", "Inference-Id"):
        value = _header(environ, name)
        if value:
            headers[f"X-Amzn-SageMaker-{name}"] = value
    return headers
