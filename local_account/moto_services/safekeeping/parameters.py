"""Parameter Store: moto's parameters, whose values are looked at before they are kept.

Runs in the server process. Authority: Systems Manager API Reference, PutParameter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moto.core.exceptions import ServiceException
from moto.ssm import urls
from moto.ssm.exceptions import ValidationException
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends
from moto.ssm.responses import SimpleSystemManagerResponse

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, use_backend

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers

STANDARD_LIMIT, ADVANCED_LIMIT = 4096, 8192
"""Bytes of a value."""


class PatternMismatchError(ServiceException):
    """A value that is not as the parameter's pattern says."""

    code = "ParameterPatternMismatchException"


class AllowedPatternError(ServiceException):
    """A pattern that is none."""

    code = "InvalidAllowedPatternException"


def install(_account: Account) -> None:
    """Called once, before the first request."""
    use_backend(ssm_backends, AccountParameters)


@extends
class AccountParameters(SimpleSystemManagerBackend):
    """moto's parameters, with their values checked."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(SimpleSystemManagerResponse, urls.url_paths)

    def put_parameter(  # noqa: PLR0917  # moto's signature
        self,
        name: str,
        description: str,
        value: str,
        parameter_type: str,
        allowed_pattern: str,
        keyid: str,
        overwrite: bool,
        tags: list[dict[str, str]],
        data_type: str,
        tier: str | None,
        policies: str | None,
    ) -> Parameter:
        """PutParameter; raises moto's errors, AllowedPatternError and PatternMismatchError."""
        before = self._parameters[name][-1] if self._parameters.get(name) else None
        kept = (before.allowed_pattern, before.tier) if before is not None and overwrite else (None, None)
        _check_pattern(allowed_pattern or kept[0], value)
        chosen = _tier(tier or kept[1] or "Standard", value)
        return super().put_parameter(
            name, description, value, parameter_type, allowed_pattern, keyid, overwrite, tags, data_type, chosen,
            policies,
        )  # fmt: skip


def _check_pattern(pattern: str | None, value: str) -> None:
    try:
        fits = not pattern or re.search(pattern, value) is not None
    except re.error as error:
        message = f"Parameter allowedPattern is invalid: {pattern} is no regular expression ({error})"
        raise AllowedPatternError(message) from error
    if not fits:
        raise PatternMismatchError(f"Parameter value, cannot be validated against allowedPattern: {pattern}")


def _tier(asked: str, value: str) -> str:
    """The tier that a value is kept in; raises moto's ValidationException for one that is too long for it."""
    length = len(value.encode())
    if asked == "Intelligent-Tiering":
        asked = "Advanced" if length > STANDARD_LIMIT else "Standard"
    if asked == "Standard" and length > STANDARD_LIMIT:
        raise ValidationException(
            "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger "
            "parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see "
            "https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
        )
    if length > ADVANCED_LIMIT:
        raise ValidationException(
            "Advanced tier parameters support a maximum parameter value of 8192 characters. To create a larger "
            "parameter value, use another service."
        )
    return asked
