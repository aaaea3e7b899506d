"""Where MLflow runs: the key ``mlflow`` of a stage file, or ``MLFLOW_TRACKING_URI``, which overrides it.

Runs on a laptop or in CodeBuild. On AWS it is the ARN of SageMaker's managed MLflow, or the address of a server of
one's own; beside the stand-in account it may be ``local``, a database in the folder of its state, or another database.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from scones.errors import SettingsError

LOCAL = "local"
DATABASE = "sqlite:///"
# The plugin knows these partitions and kinds (sagemaker-mlflow 0.5.0); the shapes of names are botocore's,
# TrackingServerArn and MlflowAppArn.
SERVER_ARN = re.compile(
    r"arn:(aws|aws-us-gov):sagemaker:[a-z0-9-]+:[0-9]{12}:(mlflow-tracking-server|mlflow-app)/[a-zA-Z0-9](-*[a-zA-Z0-9])*"
)
_EXPECTED = (
    "mlflow (or MLFLOW_TRACKING_URI) must be arn:aws:sagemaker:REGION:ACCOUNT:mlflow-tracking-server/NAME,"
    " arn:aws:sagemaker:REGION:ACCOUNT:mlflow-app/ID, or the http(s) address of a server"
)


def check_address(address: str, *, stand_in: bool) -> None:
    """Raise SettingsError for what no job of the stage could log to."""
    if not address or SERVER_ARN.fullmatch(address) or _is_web(address):
        return
    own = address == LOCAL or (address.startswith(DATABASE) and address != DATABASE)
    if stand_in and not own:
        raise SettingsError(f"{_EXPECTED}, {LOCAL} or {DATABASE}PATH, got {address!r}")
    if not stand_in:
        why = ", which no job on AWS reaches" if own else ""
        raise SettingsError(f"{_EXPECTED}, got {address!r}{why}")


def tracking_uri(address: str, database: Path) -> str:
    """The address as MLflow takes it from any folder; ``database`` is what ``local`` stands for."""
    if address == LOCAL:
        return f"{DATABASE}{database}"
    if address.startswith(DATABASE):
        return f"{DATABASE}{Path(address.removeprefix(DATABASE)).resolve()}"
    return address


def lacking_client(address: str) -> str:
    """What this machine lacks to log to its own database; empty when nothing, or when jobs bring their client."""
    lacking = address.startswith(DATABASE) and find_spec("mlflow") is None
    return (
        "MLflow is not installed: python -m pip install -e '.[mlflow]' in the project's folder brings it"
        if lacking
        else ""
    )


def database_path(address: str) -> Path:
    """The file of a database's address."""
    return Path(address.removeprefix(DATABASE))


def _is_web(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
