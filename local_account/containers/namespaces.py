"""A process's view of the machine: its own ``/opt/ml``, host name and network, by what Linux calls namespaces.

Runs in the server process; nothing of it outlives the process that it is made for. Where the system forbids a private
mount namespace (macOS, some containers), ``/opt/ml`` in the arguments and the environment is rewritten instead, and
hosts have no names. The environment variable ``LOCAL_ACCOUNT_OPT_ML=rewrite`` of the server chooses that everywhere.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OPT_ML = Path("/opt/ml")
_OPT_ML_PATH = re.compile(r"(?<![\w.-])/opt/ml(?![\w.-])")
# $1 is the folder that becomes /opt, $2 the container's /opt/ml, $3 its working folder, $4 its host name and $5 the
# file that becomes /etc/hosts, both empty for a container without a name; the rest is the command.
_ENTER = """set -e
view=$1 root=$2 folder=$3 name=$4 hosts=$5
shift 5
if [ -n "$name" ]; then
    mount --bind "$hosts" /etc/hosts
    hostname "$name" || :
fi
if [ -d /opt/ml ]; then
    mount --bind "$root" /opt/ml
else
    for entry in /opt/* /opt/.[!.]*; do
        if [ -e "$entry" ]; then mount --rbind "$entry" "$view/${entry##*/}"; fi
    done
    mount --bind "$root" "$view/ml"
    mount --rbind "$view" /opt
fi
cd "$folder"
unset OLDPWD
exec "$@"
"""


@dataclass(frozen=True)
class HostNames:
    """What a container is called, and the loopback address of each host that it knows, its own included."""

    own: str
    addresses: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Write the machine's ``/etc/hosts``, with these hosts before the rest."""
        lines = "".join(f"{address} {name}\n" for name, address in self.addresses.items())
        path.write_text(lines + Path("/etc/hosts").read_text(encoding="utf-8", errors="replace"), encoding="utf-8")


@dataclass(frozen=True)
class View:
    """What a container is to see: ``root`` as its /opt/ml, through the empty folder ``opt``, from ``folder``."""

    opt: Path
    root: Path
    folder: Path
    names: HostNames | None = None

    def enter(self, command: list[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command line and environment that run ``command`` with this view."""
        namespace = namespace_command()
        if namespace is None:
            start = ["/bin/sh", "-c", 'cd "$1"; unset OLDPWD; shift; exec "$@"', "sh"]
            rewritten = [rewrite_paths(part, self.root) for part in (str(self.folder), *command)]
            return [*start, *rewritten], {k: rewrite_paths(v, self.root) for k, v in environment.items()}
        _make_mount_points(self.opt)
        name, hosts = "", self.opt.with_name("hosts")
        if self.names:
            name = self.names.own
            self.names.write(hosts)
        arguments = [str(self.opt), str(self.root), str(self.folder), name, str(hosts)]
        return [*namespace, "/bin/sh", "-c", _ENTER, "sh", *arguments, *command], dict(environment)


def inside(path: Path, root: Path) -> Path:
    """``path`` as the container names it."""
    return OPT_ML / path.absolute().relative_to(root) if path.absolute().is_relative_to(root) else path


def rewrite_paths(text: str, root: Path) -> str:
    """``text`` with ``/opt/ml`` (and what lies below it) moved to ``root``."""
    return _OPT_ML_PATH.sub(lambda _: str(root), text)


def _make_mount_points(view: Path) -> None:
    opt = Path("/opt")
    for entry in opt.iterdir():
        if entry.is_dir():
            (view / entry.name).mkdir()
        elif entry.exists():
            (view / entry.name).touch()
    (view / "ml").mkdir(exist_ok=True)


@functools.cache
def namespace_command() -> list[str] | None:
    """The command that opens a private mount namespace here, or None; tried out once per server."""
    if os.environ.get("LOCAL_ACCOUNT_OPT_ML") == "rewrite" or not shutil.which("unshare") or not Path("/opt").is_dir():
        return None
    # root needs no user namespace, and some systems forbid those
    for options in (["-m", "-u"], ["-r", "-m", "-u"]):
        namespace = [str(shutil.which("unshare")), *options]
        if _opens(namespace):
            return namespace
    return None


def _opens(namespace: list[str]) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        view, root, hosts = Path(scratch, "opt"), Path(scratch, "root"), Path(scratch, "hosts")
        view.mkdir()
        root.mkdir()
        (root / "probe").touch()
        HostNames("probe", {"probe": "127.0.0.1"}).write(hosts)
        _make_mount_points(view)
        arguments = [str(view), str(root), "/", "probe", str(hosts), "test", "-f", "/opt/ml/probe"]
        command = [*namespace, "/bin/sh", "-c", _ENTER, "sh", *arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


# Brings up the loopback interface of the new network (SIOCSIFFLAGS, IFF_UP and IFF_RUNNING), then runs the command.
_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def without_network() -> list[str]:
    """The command that runs another one without a network. Raises RuntimeError where the system forbids that."""
    command = isolation_command()
    if command is None:
        raise RuntimeError("this system cannot keep a container from the network")
    return command


@functools.cache
def isolation_command() -> list[str] | None:
    """The command that runs another one without a network, or None where the system forbids that; tried out once."""
    if sys.platform != "linux" or not (unshare := shutil.which("unshare")):
        return None
    for options in (["--net"], ["--map-root-user", "--net"]):
        command = [unshare, *options, sys.executable, "-I", "-S", "-c", _LOOPBACK]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return None
