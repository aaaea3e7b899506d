"""KMS: moto's keys, which are of no use while they are disabled or wait to be deleted.

Runs in the server process. Authority: KMS Developer Guide, Key states of KMS keys; which call can meet which state is
in botocore's model of its errors. moto encrypts and signs with every key.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from moto.core.exceptions import JsonRESTError
from moto.kms import urls
from moto.kms.models import Key, KmsBackend, kms_backends
from moto.kms.responses import KmsResponse

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, use_backend
from local_account.protocol.members import table_of

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

    from local_account.base.replacements import Handlers

_KEY_ID_LENGTH = 36
# What is called of a key that waits to be deleted all the same.
_OF_DYING_KEYS = {
    "CancelKeyDeletion", "DeleteAlias", "GetKeyPolicy", "ListGrants", "ListKeyPolicies", "ListKeyRotations",
    "PutKeyPolicy", "RetireGrant", "RevokeGrant",
}  # fmt: skip


def install(_account: Account) -> None:
    """Called once, before the first request."""
    use_backend(kms_backends, AccountKeys)


@extends
class AccountKeys(KmsBackend):
    """moto's keys, answered by `KeyAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(KeyAnswers, urls.url_paths)

    def named(self, name: object) -> Key | None:
        """The key that an id, an ARN or an alias names."""
        return self.keys.get(self.any_id_to_key_id(name)) if isinstance(name, str) and name else None


@extends
class KeyAnswers(KmsResponse):
    """moto's answers, of keys that are in a state for them."""

    def call_action(self) -> TYPE_RESPONSE:
        """Answer a call; raises moto's DisabledException, KMSInvalidStateException and IncorrectKeyException."""
        operation = self._get_action()
        for key in _keys_of(self):
            _check(operation, key)
        answer: TYPE_RESPONSE = super().call_action()
        return answer


def _keys_of(answers: KeyAnswers) -> Iterator[Key]:
    """The keys that a request is about: those that it names, and the one that encrypted what it brings."""
    backend = answers.kms_backend
    assert isinstance(backend, AccountKeys)  # noqa: S101  # `install` has seen to it
    names = [answers._get_param(member) for member in ("KeyId", "TargetKeyId", "SourceKeyId", "DestinationKeyId")]
    named = [key for key in map(backend.named, names) if key is not None]
    ciphertext = answers._get_param("CiphertextBlob")
    encrypted_by = _of_ciphertext(backend, ciphertext) if ciphertext else None
    source = backend.named(names[0] or names[2])
    if encrypted_by is not None and source is not None and source is not encrypted_by:
        message = "The key ID in the request does not identify a CMK that can perform this operation."
        raise JsonRESTError("IncorrectKeyException", message)
    yield from named
    if encrypted_by is not None:
        yield encrypted_by


def _of_ciphertext(backend: AccountKeys, ciphertext: bytes | str) -> Key | None:
    """The key whose id stands at the begin of what it encrypted."""
    try:
        content = base64.b64decode(ciphertext) if isinstance(ciphertext, str) else ciphertext
        return backend.keys.get(content[:_KEY_ID_LENGTH].decode())
    except ValueError:
        return None


def _check(operation: str, key: Key) -> None:
    errors = _errors(operation)
    if operation == "CancelKeyDeletion" and key.key_state != "PendingDeletion":
        raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
    if key.key_state == "Disabled" and "DisabledException" in errors:
        raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
    if key.key_state == "PendingDeletion" and "KMSInvalidStateException" in errors and operation not in _OF_DYING_KEYS:
        raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")


@functools.cache
def _errors(operation: str) -> frozenset[str]:
    """What a call may meet, by botocore's model."""
    table = table_of("kms")
    assert table is not None  # noqa: S101  # its room registers it
    return frozenset(shape.name for shape in table.model.operation_model(operation).error_shapes)
