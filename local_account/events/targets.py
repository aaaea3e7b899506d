"""What a target of a rule may be: checked when it comes, in EventBridge's words.

Runs in the server process. Source: EventBridge API Reference, PutTargets; User Guide, "Input transformation".
"""

from __future__ import annotations

import base64
import binascii
import re

from moto.core.exceptions import JsonRESTError
from moto.events.exceptions import ValidationException

from local_account.base.arns import read_arn
from local_account.events.delivery import UndeliverableError, service_of
from local_account.events.documents import EventTarget

MAX_TARGETS = 5
_PLACEHOLDER = re.compile(r"<([^<>\s]+)>")
_PREDEFINED = re.compile(r"aws\.events\.(rule-arn|rule-name|event|event\.json|event\.ingestion-time)")


class LimitExceededError(JsonRESTError):
    """A sixth target of a rule."""

    def __init__(self) -> None:
        super().__init__(
            "LimitExceededException", "The requested resource exceeds the maximum number allowed: at most 5 targets."
        )


def check_target(target: EventTarget, account: str, region: str) -> None:
    """Raises moto's ValidationException for a target that EventBridge, or nothing here, would deliver to."""
    arn = read_arn(target["Arn"])
    if arn is None:
        raise ValidationException(
            f"Parameter {target['Arn']} is not valid. Reason: Provided Arn is not in correct format."
        )
    try:
        service_of(target["Arn"])
    except UndeliverableError as error:
        raise ValidationException(f"Parameter {target['Arn']} is not valid. Reason: {error}") from error
    if not arn.is_in(account, region):
        raise ValidationException(
            f"Parameter {arn} is not valid. Reason: nothing is delivered beyond account {account} in {region}."
        )
    given = [name for name in ("Input", "InputPath", "InputTransformer") if name in target]
    if len(given) > 1:
        raise ValidationException(
            f"Only one of Input, InputPath, or InputTransformer must be provided for target {target.get('Id', '')}."
        )
    _check_transformer(target)


def _check_transformer(target: EventTarget) -> None:
    transformer = target.get("InputTransformer")
    if transformer is None:
        return
    named = transformer.get("InputPathsMap", {})
    for name in named:
        if name.startswith("aws."):
            raise ValidationException(f"InputPathsMap must not name {name}: keys that begin with AWS. are reserved.")
    for name in _PLACEHOLDER.findall(transformer["InputTemplate"]):
        if name not in named and not _PREDEFINED.fullmatch(name):
            raise ValidationException(
                f"InputTemplate for target {target.get('Id', '')} contains invalid placeholder {name}."
            )


def token_of(start: int) -> str:
    """The token for what comes after so many."""
    return base64.b64encode(f"targets-{start}".encode()).decode()


def read_token(token: str | None) -> int:
    """How many a token of `token_of` is past; raises moto's ValidationException for any other."""
    try:
        match = re.fullmatch(rb"targets-(\d+)", base64.b64decode(token or token_of(0), validate=True))
    except binascii.Error:
        match = None
    if match is None:
        raise ValidationException("Invalid token.")
    return int(match[1])
