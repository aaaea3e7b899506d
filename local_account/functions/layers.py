"""Layers that AWS publishes for everybody: their package as it is installed beside the account.

Runs in the server process. A layer of this account is a zip that `PublishLayerVersion` brought. A layer of another
account cannot be fetched, so it is refused when a function asks for it; except those below, which only wrap a package
that pip installs as well (docs.aws.amazon.com/powertools/python/latest/getting-started/install). Differences from AWS:
the installed version is used whatever version the ARN names, and ``CodeSize`` is 0.
"""

from __future__ import annotations

import importlib.metadata
import re

from local_account.base.arns import read_arn
from local_account.functions.code import CodeError

PUBLISHED = {
    r"arn:aws[\w-]*:lambda:[\w-]+:017000801446:layer:AWSLambdaPowertoolsPythonV3-python3\d+-x86_64:\d+": (
        "aws-lambda-powertools",
        "aws-xray-sdk",
        "jmespath",
        "typing_extensions",
        "wrapt",
    ),
}


def published_layer(arn: str) -> tuple[str, ...] | None:
    """The distributions in a layer that AWS publishes; None for any other layer."""
    return next((names for pattern, names in PUBLISHED.items() if re.fullmatch(pattern, arn)), None)


def check_installed(arn: str, names: tuple[str, ...]) -> None:
    """Raises CodeError with what to install."""
    for name in names:
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            message = f"Layer {arn} holds {name}, which is not installed beside the stand-in account: pip install it"
            raise CodeError(message) from error


def foreign_account(arn: str, account_id: str) -> str | None:
    """The other account that owns a layer version, if another one does."""
    named = read_arn(arn)
    return named.account if named is not None and named.account != account_id else None
