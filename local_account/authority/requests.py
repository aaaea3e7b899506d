"""What a request asks for: the operation and its parameters, in whichever protocol it came.

Runs in the server process, for requests that a role signed. Parameters are as the client named them; of XML bodies only
the keys of DeleteObjects are read. Routes of the REST protocols come from botocore's service models, through moto.
"""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from local_account.base.wire.packed_requests import unpack

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from moto.core.model import OperationModel
    from moto.core.routing import ServiceOperationRouter

# Signing name -> botocore's name, where they differ.
CLIENT_NAMES = {"states": "stepfunctions", "monitoring": "cloudwatch", "sagemaker-runtime": "sagemaker-runtime"}
_OBJECT = re.compile(r"/([^/]+)/(.+)", re.DOTALL)
_PLAIN_OBJECT_CALLS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_ENDPOINT = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)")
_CBOR = re.compile(r"/service/[^/]+/operation/(\w+)")
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
# Where a request keeps what was read of it.
_KEPT = "local_account.asked"
_JSON = "local_account.json"
_MEMBER = re.compile(r"(\w+)\.(?:member|entry)\.(\d+)(?:\.(\w+))?")


@dataclass(frozen=True)
class Asked:
    """``parameters`` holds what the service's API reference calls request parameters, as far as they are known."""

    service: str
    operation: str
    parameters: dict[str, object]


def asked(service: str, environ: WSGIEnvironment) -> Asked | None:
    """What the request asks of the service, by its signing name; None when no operation of it looks like that.

    Found out once for each request, before anybody reads the body to its end.
    """
    key = f"{_KEPT}.{service}"
    if key not in environ:
        environ[key] = _asked(service, environ)
    found: Asked | None = environ[key]
    return found


def _asked(service: str, environ: WSGIEnvironment) -> Asked | None:
    if service in _READERS:
        return _READERS[service](environ)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return Asked(service, str(target).rpartition(".")[2], dict(json_of(environ).content))
    if match := _CBOR.fullmatch(environ["PATH_INFO"]):
        return Asked(service, match[1], _cbor(_body(environ)))
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(_body(environ).decode("utf-8", "replace"), keep_blank_values=True)
        given = {name: values[0] for name, values in form.items()}
        return Asked(service, given.get("Action", ""), {**given, **_lists(given)})
    return _of_rest(service, environ)


def keys_of(request: Asked) -> list[str]:
    """The keys that a DeleteObjects names."""
    keys = request.parameters.get("Keys")
    return [str(key) for key in keys] if isinstance(keys, list) else []


def _path(environ: WSGIEnvironment) -> str:
    """The decoded path (WSGI hands out its bytes as Latin-1)."""
    return str(environ["PATH_INFO"]).encode("latin-1").decode("utf-8", "replace")


def _body(environ: WSGIEnvironment) -> bytes:
    stream = environ["wsgi.input"]
    content: bytes = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    stream.seek(0)
    if environ.get("HTTP_CONTENT_ENCODING") == "gzip":  # botocore compresses metric data from 10 KiB on
        with contextlib.suppress(EOFError, zlib.error):  # refused before anybody gets here
            return unpack(content) or b""
    return content


def _lists(form: dict[str, str]) -> dict[str, list[object]]:
    """Lists of a form by their names: ``Tags.member.1.Key=a`` becomes ``{"Tags": [{"Key": "a"}]}``."""
    found: dict[str, dict[int, str | dict[str, str]]] = {}
    for name, value in form.items():
        if match := _MEMBER.fullmatch(name):
            members, number = found.setdefault(match[1], {}), int(match[2])
            if match[3]:
                inner = members.get(number)
                members[number] = {**(inner if isinstance(inner, dict) else {}), match[3]: value}
            else:
                members[number] = value
    return {name: [members[number] for number in sorted(members)] for name, members in found.items()}


@dataclass(frozen=True)
class JsonBody:
    """What a body says as JSON: its members, or why it has none."""

    content: Mapping[str, object]
    problem: str = ""


def json_of(environ: WSGIEnvironment) -> JsonBody:
    """A request's body as an object of JSON, read once for each request."""
    if _JSON not in environ:
        environ[_JSON] = _json(_body(environ))
    found: JsonBody = environ[_JSON]
    return found


def _json(body: bytes) -> JsonBody:
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        return JsonBody({}, f"The body is not JSON: {error}")
    return JsonBody(content) if isinstance(content, dict) else JsonBody({}, "The body is no structure.")


def _cbor(body: bytes) -> dict[str, object]:
    from botocore.parsers import BaseCBORParser

    parser = BaseCBORParser()
    try:
        content = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body))
    except Exception:  # whatever a client may send; the service itself answers what is wrong with it
        return {}
    return content if isinstance(content, dict) else {}


def _of_runtime(environ: WSGIEnvironment) -> Asked | None:
    match = _ENDPOINT.fullmatch(_path(environ))
    if match is None:
        return None
    operation = {"invocations": "InvokeEndpoint", "async-invocations": "InvokeEndpointAsync"}.get(match[2])
    return Asked(
        "sagemaker-runtime",
        operation or "InvokeEndpointWithResponseStream",
        {
            "EndpointName": unquote(match[1]),
            "TargetVariant": environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT"),
        },
    )


def _of_s3(environ: WSGIEnvironment) -> Asked | None:
    query, path = environ.get("QUERY_STRING", ""), _path(environ)
    host = str(environ.get("HTTP_HOST", "")).partition(":")[0]
    if host.endswith(".localhost"):  # the bucket in the host's name
        path = f"/{host.removesuffix('.localhost')}{path}"
    names = {part.partition("=")[0] for part in query.split("&") if part} - {"x-id"}
    signed_in_address = {name for name in names if name.lower().startswith("x-amz-") or name in _OLD_SIGNATURE}
    match = _OBJECT.fullmatch(path)
    source = environ.get("HTTP_X_AMZ_COPY_SOURCE")
    if match and names <= signed_in_address and source is None and environ["REQUEST_METHOD"] in _PLAIN_OBJECT_CALLS:
        operation = _PLAIN_OBJECT_CALLS[environ["REQUEST_METHOD"]]
        return Asked("s3", operation, {"Bucket": match[1], "Key": match[2], **_encryption(environ)})
    found = _of_rest("s3", environ)
    if found is None:
        return None
    values = parse_qs(query, keep_blank_values=True)
    given: dict[str, object] = {
        "Bucket": path.strip("/").partition("/")[0],
        "Key": path[1:].partition("/")[2] or None,
        "Prefix": values.get("prefix", [None])[0],
        "MaxKeys": values.get("max-keys", [None])[0],
        "Delimiter": values.get("delimiter", [None])[0],
        "VersionId": values.get("versionId", [None])[0],
        "CopySource": unquote(source) if source else None,
        **_encryption(environ),
    }
    if found.operation == "DeleteObjects":
        given["Keys"] = [_unescaped(key) for key in _KEY.findall(_body(environ).decode("utf-8", "replace"))]
    return Asked("s3", found.operation, {name: value for name, value in given.items() if value is not None})


_OLD_SIGNATURE = {"AWSAccessKeyId", "Signature", "Expires"}


def _encryption(environ: WSGIEnvironment) -> dict[str, str]:
    """What the request says of the object's encryption."""
    prefix = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"
    names = {prefix: "ServerSideEncryption", f"{prefix}_AWS_KMS_KEY_ID": "SSEKMSKeyId"}
    return {name: environ[header] for header, name in names.items() if header in environ}


def _unescaped(text: str) -> str:
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text


def _of_rest(service: str, environ: WSGIEnvironment) -> Asked | None:
    """An operation of the REST protocols, found by method, path and what the query and headers hold."""
    from moto.core.request import Request
    from werkzeug.exceptions import HTTPException

    request = Request({**environ, "wsgi.input": None})
    in_path: Mapping[str, object]
    try:
        operation, in_path = _router(CLIENT_NAMES.get(service, service)).match(request)
    except HTTPException:
        found = _without_its_query(service, environ)
        if found is None:
            return None
        operation, in_path = found
    body = {} if service == "s3" else json_of(environ).content
    query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    return Asked(service, operation.name, {**query, **body, **in_path})


def _without_its_query(service: str, environ: WSGIEnvironment) -> tuple[OperationModel, Mapping[str, object]] | None:
    """The operation of a request that lacks what its query has to hold, such as the keys of UntagResource."""
    from moto.core.request import Request
    from moto.core.utils import get_service_model
    from werkzeug.exceptions import HTTPException

    if service == "s3":  # whose queries tell operations of the same path apart
        return None
    name, given = CLIENT_NAMES.get(service, service), environ.get("QUERY_STRING", "")
    for operation in map(get_service_model(name).operation_model, get_service_model(name).operation_names):
        lacking = operation.input_shape.required_query_args if operation.input_shape else []
        if not lacking or operation.http["method"] != environ["REQUEST_METHOD"]:
            continue
        query = "&".join([given, *(f"{each}=" for each in lacking)])
        with contextlib.suppress(HTTPException):
            found, in_path = _router(name).match(Request({**environ, "QUERY_STRING": query, "wsgi.input": None}))
            if found.name == operation.name:
                return found, in_path
    return None


def _of_lambda(environ: WSGIEnvironment) -> Asked | None:
    match = _INVOKE.fullmatch(_path(environ))
    if match is None or environ["REQUEST_METHOD"] != "POST":
        return _of_rest("lambda", environ)
    query = parse_qs(environ.get("QUERY_STRING", ""))
    qualifier = {"Qualifier": query["Qualifier"][0]} if "Qualifier" in query else {}
    return Asked("lambda", "Invoke", {"FunctionName": unquote(match[1]), **qualifier})


_READERS = {"s3": _of_s3, "sagemaker-runtime": _of_runtime, "lambda": _of_lambda}


@cache
def _router(name: str) -> ServiceOperationRouter:
    from moto.core.routing import get_service_router

    return get_service_router(name)
