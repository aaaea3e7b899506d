"""A container without Docker: a process with its own ``/opt/ml``, its own Python environment and its log in CloudWatch.

Runs in the server process; starts jobs and model servers. On Linux the process gets a private mount namespace in which
``root`` lies on ``/opt/ml``. Where the system forbids that (macOS, some containers), ``/opt/ml`` in the arguments and
the environment is rewritten to ``root``: then a script that spells the path out itself does not find it.
Writes ``<state>/containers/<name>-*`` while the process runs; nothing of it stays, except the shared ``cache``.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local_account.account import Account
from local_account.authority.identity import session_environment
from local_account.base.client_environment import no_proxy, with_programs
from local_account.containers.logs import LogPump
from local_account.containers.namespaces import HostNames, View, inside, namespace_command, without_network
from local_account.containers.python import let_locked_packages_stand, make_environment

log = logging.getLogger(__name__)

# Docker's default; the user's own PATH would let a job reach the user's pip and scripts.
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Of the user's environment only what pip and TLS need to reach a package index.
_PASSED_ON = re.compile(r"PIP_\w+|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(https?|all)_proxy", re.I)


class RunningContainer:
    """A started container. It has ended, with its whole log written, once ``wait`` returns its exit code."""

    def __init__(self, account: Account, process: subprocess.Popen[bytes], logs: LogPump, scratch: Path) -> None:
        self.process = process
        self._account = account
        self._logs = logs
        self._scratch = scratch
        self._ended = threading.Event()
        self.ended_at: float | None = None
        """On the monotonic clock."""
        threading.Thread(target=self._run, name=f"container-{scratch.name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._logs.run()
        finally:
            self.ended_at = time.monotonic()
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._ended.set()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The exit code (negative: the signal that ended it), or None when it still runs after ``timeout_s``."""
        return self.process.returncode if self._ended.wait(timeout_s) else None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def stop(self, grace_s: float) -> None:
        """SIGTERM to all its processes, SIGKILL after ``grace_s`` seconds."""
        self._account.children.stop(self.process, grace_s)
        self._ended.wait(5)

    def tail(self, n: int = 20) -> list[str]:
        """The last ``n`` lines it wrote."""
        return self._logs.tail(n)


def start_container(
    account: Account,
    *,
    name: str,
    root: Path,
    command: list[str],
    environment: dict[str, str],
    log_group: str,
    log_stream: str,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    role: str = "",
    isolated: bool = False,
    sockets: tuple[int, ...] = (),
    names: HostNames | None = None,
) -> RunningContainer:
    """Start ``command`` with ``root`` as its ``/opt/ml``; ``on_line`` sees every line of its output.

    With the ARN of a role the container has credentials of that role, and logs only what the role may.
    An ``isolated`` one has no network but its own loopback interface, and ``sockets``, descriptors that it inherits.
    With ``names`` it is called as they say, and finds its peers by their names.
    ``cwd`` may be given below ``/opt/ml`` or below ``root``; without it the process starts in an empty folder.
    Raises FileNotFoundError when the program does not exist.
    """
    containers = account.state_dir.absolute() / "containers"
    containers.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{name[:40]}-", dir=containers))
    try:
        folders = _Folders.make(scratch, root)
        own = session_environment(role, "SageMaker") if role else {}
        variables = {**_environment(account, folders, containers / "cache", names), **own, **environment}
        view = View(folders.view, root, inside(cwd, root) if cwd else folders.work, names)
        entered, variables = view.enter(command, variables)
        if isolated:
            entered = [*without_network(), *entered]
        process = account.children.start(
            entered,
            environment=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=sockets,
        )
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    logs = LogPump(process, functools.partial(account.put_log_lines, log_group, log_stream, role=role), on_line)
    return RunningContainer(account, process, logs, scratch)


def prepare(account: Account) -> None:
    """At the server's start: drop what a killed server left behind, and say how ``/opt/ml`` is provided."""
    for left in (account.state_dir / "containers").glob("*-*"):
        shutil.rmtree(left, ignore_errors=True)
    if namespace_command():
        log.info("containers see their own /opt/ml (private mount namespace)")
    else:
        log.warning("no private /opt/ml on this system: /opt/ml in arguments and environment is rewritten instead")


@dataclass(frozen=True)
class _Folders:
    root: Path
    view: Path
    work: Path
    home: Path
    tmp: Path
    python: Path

    @classmethod
    def make(cls, scratch: Path, root: Path) -> _Folders:
        folders = cls(root, *(scratch / part for part in ("opt", "work", "home", "tmp", "python")))
        for folder in (folders.view, folders.work, folders.home, folders.tmp):
            folder.mkdir()
        make_environment(folders.python)
        let_locked_packages_stand(folders.python)
        return folders


def _environment(account: Account, folders: _Folders, cache: Path, names: HostNames | None) -> dict[str, str]:
    machine = machine_environment(account.client_folder, folders.python, folders.home)
    exceptions = ",".join([machine["NO_PROXY"], *(names.addresses if names else ())])
    return {
        **machine,
        "NO_PROXY": exceptions,
        "no_proxy": exceptions,
        "XDG_CACHE_HOME": str(cache),
        "TMPDIR": str(folders.tmp),
        **account.environment(),
    }


def machine_environment(client: Path, python: Path, home: Path) -> dict[str, str]:
    """What a process gets that has a Python and a home folder of its own, but this machine's package index."""
    _link_pip_settings(home)
    passed_on = {k: v for k, v in os.environ.items() if _PASSED_ON.fullmatch(k)}
    exceptions = no_proxy(os.environ)
    return {
        "PIP_CACHE_DIR": str(_user_cache() / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        **passed_on,
        "NO_PROXY": exceptions,
        "no_proxy": exceptions,
        "PATH": with_programs(client, f"{python / 'bin'}:{_SYSTEM_PATH}"),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # Nothing of what runs here is told to anybody, by ONNX Runtime, MLflow or whatever heeds the usual word.
        "ORT_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",  # as in AWS's images: lines appear in the log when they are printed
    }


def _user_cache() -> Path:
    default = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME", default))


def _link_pip_settings(home: Path) -> None:
    """Let pip find the user's index settings, and nothing else of the user's home folder."""
    for relative in (".config/pip", ".pip", "Library/Application Support/pip"):
        if (Path.home() / relative).is_dir():
            (home / relative).parent.mkdir(parents=True, exist_ok=True)
            (home / relative).symlink_to(Path.home() / relative)
