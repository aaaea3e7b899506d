"""Secrets Manager: moto's secrets, of which nothing is told or changed while they wait to be deleted.

Runs in the server process. Authority: Secrets Manager API Reference, the errors of each call; answers of AWS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.secretsmanager import urls
from moto.secretsmanager.exceptions import InvalidRequestException, SecretsManagerClientError
from moto.secretsmanager.models import SecretsManagerBackend, secretsmanager_backends
from moto.secretsmanager.responses import SecretsManagerResponse

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, use_backend
from local_account.protocol.kms_keys import KeyUnusableError, usable_key

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

    from local_account.base.replacements import Handlers

_ENCRYPTING, _DECRYPTING = {"CreateSecret", "PutSecretValue", "UpdateSecret"}, {"GetSecretValue"}
# What is called of a secret that waits to be deleted all the same.
_OF_DELETED = {"DeleteSecret", "DescribeSecret", "GetResourcePolicy", "ListSecretVersionIds", "RestoreSecret"}


def install(_account: Account) -> None:
    """Called once, before the first request."""
    use_backend(secretsmanager_backends, AccountSecrets)


@extends
class AccountSecrets(SecretsManagerBackend):
    """moto's secrets, answered by `SecretAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(SecretAnswers, urls.url_paths)

    def waits_to_be_deleted(self, name: object) -> bool:
        """Whether a name or an ARN is of a secret that was deleted, and can still be restored."""
        return isinstance(name, str) and name in self.secrets and self.secrets[name].is_deleted()


@extends
class SecretAnswers(SecretsManagerResponse):
    """moto's answers about secrets that are there."""

    def call_action(self) -> TYPE_RESPONSE:
        """Answer a call; raises moto's InvalidRequestException for a secret that waits to be deleted.

        Raises SecretsManagerClientError where its key cannot be used.
        """
        operation, backend = self._get_action(), self.backend
        assert isinstance(backend, AccountSecrets)  # noqa: S101  # `install` has seen to it
        if operation == "CreateSecret" and backend.waits_to_be_deleted(self._get_param("Name")):
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            )
        if operation not in _OF_DELETED and backend.waits_to_be_deleted(self._get_param("SecretId")):
            raise InvalidRequestException(
                "You can't perform this operation on the secret because it was marked for deletion."
            )
        _check_key(self, backend, operation)
        answer: TYPE_RESPONSE = super().call_action()
        return answer


def _check_key(answers: SecretAnswers, backend: AccountSecrets, operation: str) -> None:
    """Raise SecretsManagerClientError where the key that a secret is or will be encrypted with is of no use."""
    if operation not in _ENCRYPTING | _DECRYPTING:
        return
    name = answers._get_param("SecretId")
    secret = backend.secrets[name] if isinstance(name, str) and name in backend.secrets else None
    key = answers._get_param("KmsKeyId") or getattr(secret, "kms_key_id", None)
    if not key:
        return
    try:
        usable_key(backend.account_id, backend.region_name, key)
    except KeyUnusableError as error:
        what, verb = ("EncryptionFailure", "encrypt") if operation in _ENCRYPTING else ("DecryptionFailure", "decrypt")
        message = f"Secrets Manager can't {verb} the protected secret text using the provided KMS key: {error}"
        raise SecretsManagerClientError(what, message) from error
