"""Whether a key of KMS can encrypt what a service is to write with it.

Runs in the server process. Who may use it is the authority's to say: see ``authority.keys``.
"""

from __future__ import annotations

from local_account.authority.documents import Documents
from local_account.base.arns import last_part


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
    state = kms_backends[account_id][region].keys[last_part(arn)].key_state
    if state == "Disabled":
        raise KeyUnusableError("KMS.DisabledException", f"{arn} is disabled.")
    if state != "Enabled":
        raise KeyUnusableError("KMS.KMSInvalidStateException", f"{arn} is pending deletion.")
    return arn
