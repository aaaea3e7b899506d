"""Whether a key of KMS can encrypt what a service is to write with it.

Runs in the server process. Who may use it is the authority's to say: see ``iam_keys``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from local_account.authority.documents import Documents

if TYPE_CHECKING:
    from local_account.account import Account


_Answer = TypeVar("_Answer")


class KeyUnusableError(Exception):
    """A key that is not there, is disabled, or is about to be deleted; ``code`` is S3's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def usable_key(account_id: str, region: str, key_id: str) -> str:
    """The ARN of the key that an id, ARN or alias names; AWS's own aliases as they are. Raises KeyUnusableError."""
    from moto.kms.models import kms_backends  # heavy, and only needed once the server runs

    if key_id.startswith("alias/aws/") or ":alias/aws/" in key_id:
        return key_id
    arn = Documents(account_id, region).key_arn(key_id)
    if arn is None:
        raise KeyUnusableError("KMS.NotFoundException", f"Key '{key_id}' does not exist")
    state = kms_backends[account_id][region].keys[arn.rpartition("/")[2]].key_state
    if state == "Disabled":
        raise KeyUnusableError("KMS.DisabledException", f"{arn} is disabled.")
    if state != "Enabled":
        raise KeyUnusableError("KMS.KMSInvalidStateException", f"{arn} is pending deletion.")
    return arn


def install_rules(account: Account) -> None:
    """Have moto's S3 encrypt with keys that are there only, and tell their ARNs, as S3 does."""
    from moto.s3.exceptions import S3ClientError
    from moto.s3.models import S3Backend

    def checked(original: Callable[..., _Answer]) -> Callable[..., _Answer]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def method(*values: object, **named: object) -> _Answer:
            given = signature.bind(*values, **named)
            if key := given.arguments.get("kms_key_id"):
                try:
                    given.arguments["kms_key_id"] = usable_key(account.account_id, account.region, key)
                except KeyUnusableError as error:
                    raise S3ClientError(error.code, str(error)) from error
            return original(*given.args, **given.kwargs)

        return method

    for name in ("put_object", "copy_object", "create_multipart_upload"):
        setattr(S3Backend, name, checked(getattr(S3Backend, name)))
