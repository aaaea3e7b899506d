"""Requests before any service sees them: who signed, and whether that one may.

Runs in the server process, called by ``application``. Answers as AWS does in the protocol of the request: the codes of
a refusal differ by service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from local_account.authority.authority import Authority
from local_account.authority.identity import InvalidCredentialsError, caller
from local_account.base.errors import ErrorAnswer, aws_error

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

# Everywhere else it is AccessDeniedException (each service's API reference, common errors).
_CODES = {
    **dict.fromkeys(("s3", "sqs", "iam", "sts", "cloudformation", "monitoring"), "AccessDenied"),
    "sns": "AuthorizationError",
}
# The services whose protocol is JSON with a target answer 400, all others 403.
# The name with which requests to the account itself, not to one of its services, are signed.
ACCOUNTS_OWN = "stand-in-account"
_STATUS_403 = {*_CODES, "lambda", "sagemaker-runtime", "scheduler", "xray"}


def refusal(
    authority: Authority, service: str, environ: WSGIEnvironment, secret_of: Callable[[str], str | None]
) -> ErrorAnswer | None:
    """The answer to a request that may not be; None lets it pass. ``secret_of`` as in `iam_identity.caller`."""
    try:
        session = caller(environ, secret_of)
    except InvalidCredentialsError as error:
        return aws_error(environ, service, error.code, str(error), 403)
    if service == ACCOUNTS_OWN:
        return (
            aws_error(environ, service, "AccessDenied", "The account itself is its owner's.", 403) if session else None
        )
    if session is not None:
        message = authority.check(session, service, environ)
    elif service == "sts":
        message = authority.check_owner(environ)
    else:
        return None
    if message is None:
        return None
    code = _CODES.get(service, "AccessDeniedException")
    return aws_error(environ, service, code, message, 403 if service in _STATUS_403 else 400)
