"""Two answers without moto's way to them: an object's bytes, and how an execution stands.

Runs in the server process, in front of moto. Functions read images, and clients wait for executions, with these two
calls; moto takes a millisecond of the processor to parse, route and serialise either. Only the plain case is answered
here, with what moto would answer; whatever else is asked for (ranges, conditions, versions, errors) is left to moto.
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from local_account.account import Account

_OBJECT_PATH = re.compile(r"/([a-z0-9][a-z0-9.-]{2,62})/((?:[A-Za-z0-9_.=-]+/)*[A-Za-z0-9_.=-]+)")
_OBJECT_QUERIES = ("", "x-id=GetObject")
# Headers of S3 that say nothing of what is wanted; with any other, moto answers.
_OBJECT_HEADERS = {"DATE", "CONTENT_SHA256", "CHECKSUM_MODE", "SECURITY_TOKEN"}
_CONDITIONS = ("HTTP_RANGE", "HTTP_IF_", "HTTP_ORIGIN")
_DESCRIBE = "AWSStepFunctions.DescribeExecution"
_STATES_TYPE = "application/x-amz-json-1.0"


if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from moto.s3.models import FakeKey


class FastAnswer(NamedTuple):
    """The headers and the body of a successful answer."""

    headers: list[tuple[str, str]]
    body: bytes


class FastAnswers:
    """Answers what it can, and None for the rest."""

    def __init__(self, account: Account) -> None:
        self._account = account
        region = re.escape(account.region)
        self._execution = re.compile(rf"arn:aws:states:{region}:{account.account_id}:execution:[^:/]+:[^:/]+")
        self._scope = f"/{account.region}/states/aws4_request"

    def answer(self, service: str, environ: WSGIEnvironment) -> FastAnswer | None:
        """The answer, where the request is one of the two and plain."""
        if service == "s3" and environ["REQUEST_METHOD"] == "GET":
            return self._object(environ)
        if service == "states" and environ.get("HTTP_X_AMZ_TARGET") == _DESCRIBE:
            return self._described(environ)
        return None

    def _object(self, environ: WSGIEnvironment) -> FastAnswer | None:
        path = _OBJECT_PATH.fullmatch(environ["PATH_INFO"])
        plain = environ.get("QUERY_STRING", "") in _OBJECT_QUERIES and "HTTP_AUTHORIZATION" in environ
        loopback = environ.get("HTTP_HOST", "").partition(":")[0] in {"127.0.0.1", "localhost"}
        if path is None or not plain or not loopback or any(_is_special(name) for name in environ):
            return None
        key = self._allowed_key(path[1], path[2])
        if key is None or key.multipart is not None or key._storage_class != "STANDARD":
            return None
        headers = {} if key.version_id == "null" else {"x-amz-version-id": str(key.version_id)}
        headers.update(key.response_dict)
        if environ.get("HTTP_X_AMZ_CHECKSUM_MODE") == "ENABLED" and key.checksum_algorithm and key.checksum_value:
            headers[f"x-amz-checksum-{key.checksum_algorithm.lower()}"] = key.checksum_value
            if key.checksum_type:
                headers["x-amz-checksum-type"] = key.checksum_type
        headers.update(key.metadata)
        if not any(name.lower() == "content-type" for name in headers):
            return None
        headers |= {"Accept-Ranges": "bytes", "x-amzn-requestid": secrets.token_hex(26)}
        return FastAnswer([(name, str(value)) for name, value in headers.items()], bytes(key.value))

    def _allowed_key(self, bucket_name: str, key_name: str) -> FakeKey | None:
        from moto.iam.access_control import PermissionResult  # heavy, and only needed once the server runs
        from moto.s3.exceptions import S3ClientError
        from moto.s3.models import s3_backends

        backend = s3_backends[self._account.account_id]["aws"]
        try:
            bucket = backend.get_bucket(bucket_name)
            key = backend.get_object(bucket_name, key_name)
        except S3ClientError:
            return None
        resource = f"arn:aws:s3:::{bucket_name}/{key_name}"
        refused = bucket.get_permission("s3:GetObject", resource) == PermissionResult.DENIED
        return None if refused or bucket.logging else key

    def _described(self, environ: WSGIEnvironment) -> FastAnswer | None:
        from local_account.stepfunctions.answers import described
        from local_account.stepfunctions.api.base import backend_of

        if self._scope not in environ.get("HTTP_AUTHORIZATION", "") or environ.get("CONTENT_TYPE") != _STATES_TYPE:
            return None
        stream = environ["wsgi.input"]
        try:
            asked = json.loads(stream.read())
        except ValueError:
            asked = None
        stream.seek(0)
        arn = asked.get("executionArn") if isinstance(asked, dict) and asked.keys() == {"executionArn"} else None
        if not isinstance(arn, str) or not self._execution.fullmatch(arn):
            return None
        try:
            backend = backend_of(self._account.account_id, self._account.region)
            members = described(backend.describe_execution(arn))
        except Exception:  # whatever it is, moto meets it again and answers it
            return None
        body = json.dumps({name: value for name, value in members.items() if value is not None}, default=_seconds)
        request_id = secrets.token_hex(26)
        return FastAnswer([("Content-Type", _STATES_TYPE), ("x-amzn-requestid", request_id)], body.encode())


def _is_special(name: str) -> bool:
    if name.startswith(_CONDITIONS):
        return True
    return name.startswith("HTTP_X_AMZ_") and name.removeprefix("HTTP_X_AMZ_") not in _OBJECT_HEADERS


def _seconds(moment: datetime) -> float:
    """A time as the protocol wants it: seconds, cut to the millisecond."""
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole + moment.microsecond // 1000 / 1000
