"""The stand-in account of this machine: where its state lies, where it answers, and starting it for a stage.

Runs on a laptop. The verbs of `scones account`, the demonstration and simulated traffic use it.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from local_account.base.errors import AccountError
from local_account.base.images import read_folder
from local_account.server import control
from scones.errors import SconesError
from scones.stage.settings import PROJECT_ROOT, Settings, home

# A bake of five minutes takes five seconds here.
TIME_SCALE = 60.0


def state_dir() -> Path:
    """Return the folder in which this machine's account keeps its state."""
    return home() / "account"


def port(settings: Settings) -> int:
    """The stand-in account's port, out of the stage's endpoint URL; SconesError for a stage on AWS."""
    address = urlsplit(settings.endpoint_url or "")
    if address.hostname != "127.0.0.1" or address.port is None:
        raise SconesError(
            f"stage {settings.stage!r} is not served by a stand-in account: its endpoint_url is"
            f" {settings.endpoint_url!r}, expected http://127.0.0.1:<port>"
        )
    return address.port


def images(settings: Settings) -> dict[str, dict[str, object]]:
    """What stands for container images, as the account takes it."""
    return {
        name: {
            "folder": str(PROJECT_ROOT),
            "train": list(image.train),
            "serve": image.serve,
            "metrics": dict(image.metrics),
        }
        for name, image in settings.images.items()
    }


def begin(
    settings: Settings,
    time_scale: float = TIME_SCALE,
    chaos: str = "",
    clock: str = "",
    *,
    durable: bool = False,
    image_folder: Path | None = None,
) -> None:
    """Start the account unless it runs; SconesError with what the server said when it does not come up."""
    try:
        further = read_folder(image_folder) if image_folder else {}
        found = control.start(
            state_dir(),
            port(settings),
            images=images(settings) | further,
            time_scale=time_scale,
            chaos=chaos,
            clock=clock,
            durable=durable,
        )
        if further and found.already_running:
            raise AccountError(f"the account on {state_dir()} already runs without --images; stop it first")
    except AccountError as error:
        raise SconesError(
            f"{error} (the port is that of AWS_ENDPOINT_URL, or of stages/{settings.stage}.toml)"
        ) from error
