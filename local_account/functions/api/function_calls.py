"""What answers at the addresses of functions: a request becomes an event, the result of the function an answer.

Runs in the server process. Source: lambda/latest/dg/urls-invocation.html (payload format 2.0) and urls-auth.html. As on
AWS a function with the type NONE needs a policy that lets everybody call it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl

from moto.awslambda.models import lambda_backends

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.authority.identity import InvalidCredentialsError, caller
from local_account.base import clock
from local_account.functions.api.function_urls import PATH, FunctionAddress, address_id
from local_account.functions.api.names import FunctionName
from local_account.functions.errors import FunctionError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from local_account.functions.configuration import AccountFunction
    from local_account.functions.storage import FunctionStorage

_ACTION, _TYPE = "lambda:InvokeFunctionUrl", "lambda:FunctionUrlAuthType"
_TEXT = re.compile(r"text/.*|application/(json|javascript|xml|x-www-form-urlencoded|.*\+(json|xml)).*", re.IGNORECASE)
_LONGEST_BODY = 6 * 1024 * 1024
HttpAnswer = tuple[int, list[tuple[str, str]], bytes]


class CallRefusedError(Exception):
    """A request that no function gets; says what the answer is."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def is_address(environ: WSGIEnvironment) -> bool:
    """Whether a request is for a function's address."""
    return str(environ["PATH_INFO"]).startswith(PATH)


def calling(account: Account) -> WSGIApplication:
    """What answers there."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, headers, body = _called(account, environ)
        except CallRefusedError as error:
            status, headers = error.status, [("Content-Type", "application/json")]
            body = json.dumps({"Message": str(error)}).encode()
        start_response(f"{status} Answer", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _called(account: Account, environ: WSGIEnvironment) -> HttpAnswer:
    unique, _, path = str(environ["PATH_INFO"]).removeprefix(PATH).partition("/")
    latest, alias, address = _found(account, unique)
    function = _kept(account).version_of(FunctionName(latest.function_name, alias or None))
    arn = FunctionName("", alias or None).under(latest.unqualified_arn)
    caller_id = _checked_caller(account, environ, arn, address)
    event = json.dumps(event_of(environ, unique, f"/{path}", caller_id)).encode()
    try:
        result = latest.functions.invoke(function, event, arn=arn)
    except FunctionError as error:
        raise CallRefusedError(error.status, str(error)) from error
    if result.error is not None:
        raise CallRefusedError(502, "Internal Server Error")
    return http_answer(result.payload)


def _kept(account: Account) -> FunctionStorage:
    return cast("FunctionStorage", lambda_backends[account.account_id][account.region]._lambdas)


def _found(account: Account, unique: str) -> tuple[AccountFunction, str, FunctionAddress]:
    """The function, the alias and what is kept of an address; raises CallRefusedError for one that is none."""
    for function in _kept(account).everything():
        for alias, address in function.addresses.items():
            if address_id(address["FunctionUrl"]) == unique:
                return function, alias, address
    raise CallRefusedError(403, "Forbidden")


def _checked_caller(account: Account, environ: WSGIEnvironment, arn: str, address: FunctionAddress) -> str:
    """Who calls, as the event tells it; raises CallRefusedError for who may not."""
    context = {_TYPE: address["AuthType"]}
    if address["AuthType"] == "NONE":
        if not account.authority.anybody_may(_ACTION, arn, context):
            raise CallRefusedError(403, "Forbidden")
        return "anonymous"
    try:
        session = caller(environ, account.secret_of)
        if session is not None:
            account.authority.demand(session.role_arn, _ACTION, arn, context, session_name=session.name)
    except (AccessDeniedError, InvalidCredentialsError) as error:
        raise CallRefusedError(403, "Forbidden") from error
    return account.account_id


def event_of(environ: WSGIEnvironment, unique: str, path: str, caller_id: str) -> dict[str, object]:
    """The event of a request, in the payload format 2.0."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > _LONGEST_BODY:
        raise CallRefusedError(413, "Request Too Long")
    body = environ["wsgi.input"].read(length) if length else b""
    headers, query, now = dict(_headers(environ)), str(environ.get("QUERY_STRING", "")), clock.now()
    cookies = [each.strip() for each in headers.pop("cookie", "").split(";") if each.strip()]
    event: dict[str, object] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": caller_id,
            "apiId": unique,
            "domainName": headers.get("host", ""),
            "domainPrefix": unique,
            "http": {
                "method": environ["REQUEST_METHOD"],
                "path": path,
                "protocol": environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
                "sourceIp": environ.get("REMOTE_ADDR", "127.0.0.1"),
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = _joined(parse_qsl(query, keep_blank_values=True))
    if body:
        is_text = _TEXT.match(headers.get("content-type", "")) is not None
        event["body"] = body.decode("utf-8", "replace") if is_text else base64.b64encode(body).decode()
        event["isBase64Encoded"] = not is_text
    return event


def _headers(environ: WSGIEnvironment) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name.removeprefix("HTTP_").replace("_", "-").lower(), str(value)
        elif name in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value:
            yield name.replace("_", "-").lower(), str(value)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def http_answer(payload: bytes) -> HttpAnswer:
    """The answer that a function's result means; raises CallRefusedError for one that means none."""
    result = json.loads(payload or b"null")
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result if isinstance(result, str) else json.dumps(result, separators=(",", ":"))
        return 200, [("Content-Type", "application/json")], text.encode()
    try:
        return _formatted(result)
    except (TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise CallRefusedError(502, "Internal Server Error") from error


def _formatted(result: Mapping[str, object]) -> HttpAnswer:
    status, given = int(str(result["statusCode"])), cast("Mapping[str, object]", result.get("headers") or {})
    if not 100 <= status <= 599:
        raise ValueError(f"expected a status from 100 to 599, got {status}")
    headers = [(_line(name), _line(value)) for name, value in given.items() if name.lower() != "content-length"]
    if all(name.lower() != "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    headers += [("Set-Cookie", _line(cookie)) for cookie in cast("Iterable[object]", result.get("cookies") or ())]
    body = result.get("body") or ""
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    decode: Callable[[str], bytes] = base64.b64decode if result.get("isBase64Encoded") else str.encode
    return status, headers, decode(text)


def _line(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if "\r" in text or "\n" in text:
        raise ValueError(f"expected a header of one line, got {text!r}")
    return text
