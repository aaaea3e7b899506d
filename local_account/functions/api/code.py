"""Where GetFunction says that a function's code is, and who answers there.

Runs in the server process. AWS lends an address in a bucket of its own; here it is one of this account, signed by its
owner for ten minutes, in a bucket of that name that nobody else can read or list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from moto.awslambda.models import LayerVersion, lambda_backends

from local_account.account import Account
from local_account.base.errors import aws_error

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from local_account.functions.configuration import AccountFunction
    from local_account.functions.storage import FunctionStorage

VALID_S = 600
_KEY = re.compile(r"/[\w-]+/snapshots/\d{12}/(functions|layers)/([\w-]+)-([0-9a-f]{64})")


def bucket_of(region: str) -> str:
    """The bucket that AWS lends code from."""
    return f"awslambda-{region}-tasks"


def code_address(account: Account, owner: AccountFunction | LayerVersion) -> str:
    """An address from which the code of a function or of a layer can be fetched for a while."""
    digest = owner.code_digest.rpartition(":")[2]
    name = f"layers/{owner.name}" if isinstance(owner, LayerVersion) else f"functions/{owner.function_name}"
    key = f"snapshots/{account.account_id}/{name}-{digest}"
    place = {"Bucket": bucket_of(account.region), "Key": key}
    address: str = account.client("s3").generate_presigned_url("get_object", Params=place, ExpiresIn=VALID_S)
    return address


def lending(account: Account) -> WSGIApplication:
    """What answers at those addresses."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match = _KEY.fullmatch(environ["PATH_INFO"])
        code = _code(account, *match.groups()) if match and environ["REQUEST_METHOD"] == "GET" else None
        if code is None:
            refused = aws_error(environ, "s3", "AccessDenied", "Access Denied", 403)
            start_response(refused.status_line, refused.headers)
            return [refused.body]
        start_response("200 OK", [("Content-Type", "application/zip"), ("Content-Length", str(len(code)))])
        return [code]

    return answer


def _code(account: Account, kind: str, name: str, digest: str) -> bytes | None:
    backend = lambda_backends[account.account_id][account.region]
    owners: Iterable[AccountFunction | LayerVersion] = backend._layers.get_layer_versions(name)
    if kind == "functions":
        kept = cast("FunctionStorage", backend._lambdas)
        latest = (each for each in kept.everything() if each.function_name == name)
        owners = [*latest, *(kept.versions_of(name) if kept.has(name) else ())]
    return next((each.code_bytes for each in owners if each.code_digest.endswith(digest)), None)
