"""The server process: one port on 127.0.0.1 where every service of the account answers.

Runs as ``python -m local_account --port P --state DIR``, in the foreground, until SIGTERM or SIGINT. Reads and writes
the state folder; refuses to start on one that another server holds.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.chaos import KINDS
from local_account.base.client_environment import shell_variables, with_programs
from local_account.base.clock import CLOCK
from local_account.base.clock import FILE as CLOCK_FILE
from local_account.base.clock import parse as parse_clock
from local_account.base.errors import DISK_FULL, AccountError
from local_account.base.images import packaged_images, parse_images

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from local_account.server.application import Application

log = logging.getLogger(__name__)

MARKER = "account.lock"
STARTED_FILE = "server.json"
# What puts our parts into moto, in this order: storage first, then what writes to it.
HOOKS = (
    "moto_bridge.requests",
    "moto_services.iam",
    "moto_services.aws_policies",
    "moto_services.s3",
    "logs.service",
    "cloudwatch.service",
    "events.service",
    "events.scheduler",
    "functions.service",
    "stepfunctions.service",
    "moto_services.dynamodb",
    "moto_services.budgets",
    "moto_services.safekeeping.keys",
    "moto_services.safekeeping.secrets",
    "moto_services.queues",
    "moto_services.tables",
    "topics.service",
    "cloudwatch.queue_metrics",
)


def lock_state(state_dir: Path) -> int:
    """Take the state folder for this process; the kernel lets go of it when the process ends, however it ends."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    state_dir.chmod(0o700)
    descriptor = os.open(state_dir / MARKER, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise AccountError(
            f"another account already runs on the state in {state_dir}; stop it, or choose another folder with --state"
        ) from error
    return descriptor


def listen(port: int) -> socket.socket:
    """Bind the port on 127.0.0.1."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise AccountError(f"port {port} on 127.0.0.1 cannot be used ({error.strerror}); choose another one") from error
    return listener


def make_application(account: Account) -> Application:
    """Hook our parts into moto, load the state of the last run, build the WSGI application."""
    # Read by moto when it is imported. Without these moto lets any web page call the account, and dials AWS for data.
    os.environ.update(MOTO_DISABLE_GLOBAL_CORS="true", MOTO_PORT=str(account.port), MOTO_ACCOUNT_ID=account.account_id)
    _leave_the_users_settings()
    os.environ.update(account.environment(), PATH=with_programs(account.client_folder, os.environ.get("PATH", "")))

    from local_account.autoscaling import service as autoscaling
    from local_account.cloudformation import service as cloudformation
    from local_account.codebuild import service as codebuild
    from local_account.codepipeline import service as codepipeline
    from local_account.codepipeline.codeconnections import CodeConnections
    from local_account.moto_bridge import state as moto_state
    from local_account.moto_services.s3 import collect_garbage
    from local_account.sagemaker import install as install_sagemaker
    from local_account.server.application import Application

    for name in HOOKS:
        importlib.import_module(f"local_account.{name}").install(account)
    moto_state.install(account)
    collect_garbage()
    control_plane, runtime, metrics = install_sagemaker(account)
    own: dict[str, WSGIApplication] = {
        "application-autoscaling": autoscaling.install(account),
        "cloudformation": cloudformation.install(account),
        "codebuild": codebuild.install(account),
        "codeconnections": CodeConnections(account),
        "codepipeline": codepipeline.install(account),
        "sagemaker": control_plane,
        "sagemaker-metrics": metrics,
        "sagemaker-runtime": runtime,
    }
    return Application(account, own)


def _leave_the_users_settings() -> None:
    """Keep the user's profile, credentials, AWS configuration and proxy out of this process and of what it starts."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.pop("BOTO_CONFIG", None)
    os.environ.update(shell_variables(os.environ))


def serve(account: Account, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then end what was started and write what is unsaved."""
    from werkzeug.serving import make_server

    account.children.guard(account.state_dir / "children")
    application = make_application(account)
    # After moto's settings were made, which the import of its server reads.
    from local_account.server.http_handler import KeepAliveHandler

    listener.listen(128)
    server = make_server(
        "127.0.0.1", account.port, application, threaded=True, request_handler=KeepAliveHandler, fd=listener.fileno()
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        # shutdown() waits for serve_forever(), which this thread is in.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    account.snapshots.keep_room()
    threading.Thread(target=account.snapshots.run, args=(account.stopping,), daemon=True).start()
    threading.Thread(target=application.warm_up, daemon=True).start()
    log.info("serving account %s at %s, state in %s", account.account_id, account.endpoint_url, account.state_dir)
    server.serve_forever()
    account.stopping.set()
    account.snapshots.mark_dirty("states")  # executions that run have moved on since they were written
    account.children.stop_all()
    account.snapshots.write()
    if trouble := account.snapshots.trouble():
        raise AccountError(f"stopped, but the last changes may not be saved: {trouble}")
    log.info("stopped")


def _clock(text: str) -> tuple[datetime | None, float]:
    try:
        return parse_clock(text)
    except ValueError as error:
        raise AccountError(f"--clock: {error}") from error


def main(argv: list[str] | None = None) -> None:
    """The command line of the server; ends the process."""
    parser = argparse.ArgumentParser(prog="python -m local_account", description=__doc__)
    parser.add_argument("--port", type=int, default=5055)
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps the account's state")
    parser.add_argument("--images", default="{}", help="JSON: the code that stands for container images, by name")
    parser.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        help="how many times as fast as stated the waits of endpoint deployments pass (default: 1)",
    )
    parser.add_argument(
        "--clock", default="", help="let time start elsewhere, pass faster and be moved: now, 2026-11-01T00:00Z@x60"
    )
    parser.add_argument("--durable", action="store_true", help="have a change on disk before it is acknowledged")
    parser.add_argument("--chaos", default="", choices=["", *KINDS], help="faults that AWS allows itself")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("local_account").setLevel(logging.INFO)
    state_dir = arguments.state.resolve()
    try:
        images = {**packaged_images(), **parse_images(arguments.images)}
        lock = lock_state(state_dir)
        listener = listen(arguments.port)
        # By this note `control` finds the server, also when whoever started it was interrupted.
        note = json.dumps({"pid": os.getpid(), "port": arguments.port})
        (state_dir / STARTED_FILE).write_text(note, encoding="utf-8")
        if arguments.time_scale < 1:
            raise AccountError(f"--time-scale must be at least 1, it is {arguments.time_scale:g}")
        if arguments.clock:
            CLOCK.make_movable(state_dir / CLOCK_FILE, *_clock(arguments.clock))
        account = Account(
            state_dir,
            arguments.port,
            images=images,
            time_scale=arguments.time_scale,
            chaos=arguments.chaos,
            durable=arguments.durable,
        )
        serve(account, listener)
    except AccountError as error:
        sys.exit(f"local_account: {error}")
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        sys.exit(f"local_account: {error.strerror} ({error.filename or state_dir}); make room and start again")
    os.close(lock)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # daemon threads still run; ending the interpreter under them only makes noise
