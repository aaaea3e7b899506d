"""The account's front: finds out which service a request is for and has that service answer it.

Runs in the server process. Requests go to our own SageMaker and CloudFormation, to moto for the services in
``MOTO_MODULES``, and to an AWS-shaped error for everything else. Nothing leaves here as an HTML page or as a success
that did not happen.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from local_account.account import Account
from local_account.authority.signatures import claim_of
from local_account.base.errors import DISK_FULL, ErrorAnswer, aws_error, not_implemented
from local_account.base.snapshots import NotSavedError
from local_account.base.wire import packed_requests, s3_names
from local_account.functions.api.code import bucket_of, lending
from local_account.functions.api.function_calls import calling, is_address
from local_account.moto_bridge import requests as moto_requests
from local_account.moto_bridge.fast_answers import FastAnswers
from local_account.moto_bridge.late import prepare
from local_account.moto_services import s3, s3_promises
from local_account.protocol.foreign import Home
from local_account.server import member_rules
from local_account.server.faults import in_the_services_words, modelled_status, named_call, of_the_client
from local_account.server.health import HEALTH_PATH, answer_json, health
from local_account.server.refusals import ACCOUNTS_OWN, refusal

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask
    from moto.backends import SERVICE_NAMES

log = logging.getLogger(__name__)

# Signing name -> moto's name of that service.
MOTO_MODULES: dict[str, SERVICE_NAMES] = {
    "budgets": "budgets",
    "dynamodb": "dynamodb",
    "ecr": "ecr",
    "events": "events",
    "glue": "glue",
    "iam": "iam",
    "kms": "kms",
    "lambda": "lambda",
    "logs": "logs",
    "monitoring": "cloudwatch",
    "s3": "s3",
    "scheduler": "scheduler",
    "secretsmanager": "secretsmanager",
    "sns": "sns",
    "sqs": "sqs",
    "ssm": "ssm",
    "states": "stepfunctions",
    "sts": "sts",
}
_READING_METHODS = {"GET", "HEAD", "OPTIONS"}
_READING_ACTIONS = re.compile(
    r"(Get|List|Describe|Head|Filter|Search|Lookup|Batch(Get|Describe|Check)|Validate|Simulate|StartSync|Test|Tail"
    r"|Query|Scan|Verify|Render|Estimate|Decode|Decrypt|Encrypt)(?![a-z])"
)
_OWN_HOSTS = re.compile(r"(127\.0\.0\.1|localhost|[\w.-]+\.localhost)(:\d+)?")
_FORM = re.compile(r"application/x-www-form-urlencoded|multipart/form-data", re.IGNORECASE)
# Elsewhere an address alone, which any link or image of a web page may hold, would change things.
_PRESIGNED = {"s3", "sts"}
# Calls of functions and models; the control path of the account itself.
_CALL = re.compile(r"/invocations$|^/_account/")
_CBOR_ACTION = re.compile(r"/service/[^/]+/operation/(\w+)")


def _of_sagemaker(path: str) -> str:
    """Which of SageMaker's services a request is for: they are signed with the same name."""
    if path.startswith("/endpoints/"):
        return "sagemaker-runtime"
    return "sagemaker-metrics" if path in {"/BatchPutMetrics", "/BatchGetMetrics"} else "sagemaker"


class Application:
    """The WSGI application."""

    def __init__(self, account: Account, own: Mapping[str, WSGIApplication]) -> None:
        """``own``: the services that are not moto's, by the name that requests for them are signed with."""
        self._account = account
        self.own = own
        self._fast = FastAnswers(account)
        self._lending, self._calling = lending(account), calling(account)
        self._moto: dict[str, Flask] = {}
        self._moto_lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        service = _service(environ)
        if service == "sagemaker":
            service = _of_sagemaker(environ["PATH_INFO"])
        if is_address(environ) and _is_for_this_machine(environ):
            return self._calling(environ, start_response)
        if environ["PATH_INFO"] == HEALTH_PATH and not service and _is_for_this_machine(environ):
            return answer_json(start_response, {"status": "running"})
        try:
            refused = self._refusal(environ, service)
        except Exception as error:  # a fault of the front itself, told as any other
            refused = _fault(environ, service, "", error)
        if refused:
            return _send(refused, start_response)
        snapshots = self._account.snapshots
        careful = snapshots.durable or snapshots.trouble(service) or snapshots.is_behind()
        if careful and _stores(environ):
            return self._store(environ, service, start_response)
        return self._answer(environ, service, start_response)

    def _store(self, environ: WSGIEnvironment, service: str, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a change only when it is kept: refuse it where it would not be, wait for the disk where it has to."""
        snapshots = self._account.snapshots
        snapshots.hold_back()
        if why := snapshots.trouble(service):
            return _send(_not_saved(environ, service, why), start_response)
        answer = self._answer(environ, service, start_response)
        try:
            if snapshots.durable:
                snapshots.commit(service)
        except NotSavedError as error:
            return _send(_not_saved(environ, service, str(error)), start_response)
        return answer

    def _refusal(self, environ: WSGIEnvironment, service: str) -> ErrorAnswer | None:
        if not _is_for_this_machine(environ):
            message = "The stand-in account answers programs on this machine only, not web pages."
            return aws_error(environ, service, "AccessDenied", message, 403)
        refused = packed_requests.refusal(environ, service)
        refused = refused or refusal(self._account.authority, service, environ, self._account.secret_of)
        refused = refused or (s3_promises.refusal(environ, self._account.account_id) if service == "s3" else None)
        return refused or _misnamed(environ, service, Home(self._account.account_id, self._account.region))

    def _answer(self, environ: WSGIEnvironment, service: str, start_response: StartResponse) -> Iterable[bytes]:
        if service == ACCOUNTS_OWN:
            return health(self._account, environ, start_response)
        if service in self.own:
            return self.own[service](environ, start_response)
        if service not in MOTO_MODULES:
            what = f"the service {service!r}" if service else "this kind of signature"
            return _send(not_implemented(environ, service, what), start_response)
        if service == "s3" and environ["PATH_INFO"].startswith(f"/{bucket_of(self._account.region)}/"):
            return self._lending(environ, start_response)
        if service == "s3" and (subresource := s3.not_implemented(environ.get("QUERY_STRING", ""))):
            return _send(not_implemented(environ, service, f"s3's ?{subresource}"), start_response)
        if service == "s3" and environ["REQUEST_METHOD"] == "PUT" and _FORM.match(environ.get("CONTENT_TYPE", "")):
            # The framework under moto would read an object of this type as a form, and store nothing.
            environ["CONTENT_TYPE"] = "binary/octet-stream"
        return self._call_moto(service, environ, start_response)

    def warm_up(self) -> None:
        """Load every service, so that the first call to one does not wait; the target of a thread."""
        for service in MOTO_MODULES:
            if self._account.stopping.is_set():
                return
            self._moto_app(service)

    def _moto_app(self, service: str) -> Flask:
        from moto.moto_server.werkzeug_app import create_backend_app

        with self._moto_lock:
            if service not in self._moto:
                prepare(service, self._account)
                self._moto[service] = create_backend_app(MOTO_MODULES[service])
                moto_requests.configure(self._moto[service])
            return self._moto[service]

    def _call_moto(self, service: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if fast := self._fast.answer(service, environ):
            start_response("200 OK", fast.headers)
            return [fast.body]
        answer: list[tuple[str, list[tuple[str, str]]]] = []

        def keep(status: str, headers: list[tuple[str, str]], _exc_info: object = None, /) -> Callable[[bytes], object]:
            answer[:] = [(status, headers)]
            return lambda _data: None

        action = _action(environ)
        try:
            body = b"".join(self._moto_app(service)(environ, keep))
        except NotImplementedError as error:
            return _send(not_implemented(environ, service, named_call(service, action, error)), start_response)
        except Exception as error:
            return _send(_fault(environ, service, action, error), start_response)
        finally:
            if _changes(environ, action):
                self._account.snapshots.mark_dirty(service)
        ((status, headers),) = answer
        if (
            service == "s3"
            and status.startswith("403")
            and not body
            and environ["REQUEST_METHOD"] not in {"HEAD", "OPTIONS"}
        ):
            return _send(aws_error(environ, service, "AccessDenied", "Access Denied", 403), start_response)
        if _is_page(status, body, environ):
            return _send(not_implemented(environ, service, named_call(service, action)), start_response)
        if status[0] in "45":
            status = modelled_status(service, status, headers)
            headers, body = in_the_services_words(service, headers, body)
        start_response(status, headers)
        return [body]


def _service(environ: WSGIEnvironment) -> str:
    """The service that the request was signed for; empty when it is not signed."""
    claim = claim_of(environ)
    if claim is None or (claim.in_address and claim.service not in _PRESIGNED):
        return ""
    return claim.service


def _misnamed(environ: WSGIEnvironment, service: str, home: Home) -> ErrorAnswer | None:
    named = s3_names.refusal(environ) if service == "s3" else None
    return named or (member_rules.refusal(environ, service, home) if service in MOTO_MODULES else None)


def _is_for_this_machine(environ: WSGIEnvironment) -> bool:
    """Whether no page in the user's browser sent the request: this server runs code on request."""
    # Browsers send Sec-Fetch-Site with every request; "none" is an address that the user entered.
    from_a_page = "HTTP_ORIGIN" in environ or environ.get("HTTP_SEC_FETCH_SITE", "none") != "none"
    return not from_a_page and _OWN_HOSTS.fullmatch(environ.get("HTTP_HOST", "127.0.0.1")) is not None


def _action(environ: WSGIEnvironment) -> str:
    """The action's name, where the protocol names it; empty for REST."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    if match := _CBOR_ACTION.fullmatch(environ["PATH_INFO"]):
        return str(match[1])
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        stream = environ["wsgi.input"]
        actions = parse_qs(stream.read().decode("utf-8", "replace")).get("Action", [""])
        stream.seek(0)
        return str(actions[0])
    return ""


def _changes(environ: WSGIEnvironment, action: str) -> bool:
    """Whether the request may have changed what a restart has to find again."""
    if action:
        return not _READING_ACTIONS.match(action)
    return environ["REQUEST_METHOD"] not in _READING_METHODS


def _stores(environ: WSGIEnvironment) -> bool:
    """Whether an answer to the request promises that something is kept."""
    return _changes(environ, _action(environ)) and not _CALL.search(environ["PATH_INFO"])


def _not_saved(environ: WSGIEnvironment, service: str, why: str) -> ErrorAnswer:
    """503, which clients try again: there may be room by then."""
    message = f"The stand-in account cannot save anything: {why}. Make room; it tries again every second."
    return aws_error(environ, service, "ServiceUnavailable", message, 503)


def _fault(environ: WSGIEnvironment, service: str, action: str, error: Exception) -> ErrorAnswer:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return _not_saved(environ, service, f"{error.strerror} ({error.filename or 'the state folder'})")
    where = traceback.extract_tb(error.__traceback__)[-1]
    log.error("%s failed", action or repr(environ["PATH_INFO"]), exc_info=error)
    if theirs := of_the_client(environ, service, error):
        return aws_error(environ, service, theirs.code, theirs.message, theirs.status)
    message = (
        f"{named_call(service, action)} failed in the stand-in account: {type(error).__name__}: {error} ({where.name})"
    )
    return aws_error(environ, service, "InternalFailure", message, 500)


def _is_page(status: str, body: bytes, environ: WSGIEnvironment) -> bool:
    """Whether this is the web framework's own error page, or an empty 404, instead of the service's answer."""
    if status[0] not in "45" or environ["REQUEST_METHOD"] == "HEAD":
        return False
    return body[:15].lower().startswith(b"<!doctype html>") or (status.startswith("404") and not body)


def _send(answer: ErrorAnswer, start_response: StartResponse) -> list[bytes]:
    start_response(answer.status_line, answer.headers)
    return [answer.body]
