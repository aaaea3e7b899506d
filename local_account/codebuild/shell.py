"""The shell of a build: one process that all phases' commands run in, as CodeBuild's version 0.2 has it.

Runs in the server process; starts `sh` or `bash` in the build's folder. Commands reach the shell through a named pipe
and their exit codes come back through another one, so that `cd` and variables last from one command to the next. A
command that ends the shell (`exit 1`) has failed; what follows gets a new shell with the environment of the old one.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from local_account.account import Account
from local_account.containers.logs import LogPump

LOOK_S = 0.1
# $1 is the folder of the pipes. A command must not see them, or what it leaves running would hold them.
_LOOP = """exec 3<"$1/commands" 4>"$1/codes"
trap 'env -0 > "$CODEBUILD_SHELL/environment"' EXIT
export CODEBUILD_SHELL="$1"
while IFS= read -r CODEBUILD_COMMAND <&3; do
    . "$CODEBUILD_COMMAND" 3<&- 4>&-
    printf '%s\\n' "$?" >&4
done
"""
_OWN = {"CODEBUILD_SHELL", "CODEBUILD_COMMAND", "_", "SHLVL", "OLDPWD", "PWD"}


class ShellStoppedError(Exception):
    """The build was stopped, or its time was over."""


class Shell:
    """Runs one command after the other; `stop` may be called from any thread."""

    def __init__(
        self,
        account: Account,
        program: str,
        folder: Path,
        environment: dict[str, str],
        put: Callable[[list[str]], None],
    ) -> None:
        self._account, self._program, self._put = account, program, put
        self._folder, self._control = folder, folder.parent / "shell"
        self._control.mkdir()
        for name in ("commands", "codes"):
            os.mkfifo(self._control / name)
        # Both ends stay open here: neither side waits for the other to open its own.
        self._commands, self._codes = (
            os.open(self._control / n, os.O_RDWR | os.O_CLOEXEC) for n in ("commands", "codes")
        )
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None
        self._count = 0
        self._stopped = threading.Event()

    def run(self, command: str, announce: str = "") -> int:
        """The exit code of ``command``; ``announce`` is printed before it. Raises ShellStoppedError."""
        if self._stopped.is_set():
            raise ShellStoppedError
        process = self._process or self._start()
        self._count += 1
        path = self._control / f"command-{self._count}"
        said = f"printf '%s\\n' {shlex.quote(announce)}\n" if announce else ""
        path.write_text(f"{said}{command}\n", encoding="utf-8")
        os.write(self._commands, f"{path}\n".encode())
        code = self._await(process)
        path.unlink()
        return code

    def say(self, line: str) -> None:
        """Print a line in its place among the commands' output."""
        self.run(":", line)

    def variables(self) -> dict[str, str]:
        """The environment that the commands left."""
        self.run('env -0 > "$CODEBUILD_SHELL/environment"')
        return self._saved()

    def stop(self) -> None:
        """End the shell and everything that it started."""
        self._stopped.set()
        process = self._process
        if process is not None:
            self._account.children.stop(process, grace_s=2.0)

    def close(self) -> None:
        """End the shell; its whole output is in the log afterwards."""
        self._end(self._process)
        os.close(self._commands)
        os.close(self._codes)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [self._program, "-c", _LOOP, self._program, str(self._control)]
        process = self._account.children.start(
            command,
            environment=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._pump = threading.Thread(target=LogPump(process, self._put).run, name=f"build-{process.pid}", daemon=True)
        self._pump.start()
        self._process = process
        if self._stopped.is_set():  # it was stopped while it started
            self.stop()
        return process

    def _await(self, process: subprocess.Popen[bytes]) -> int:
        while True:
            ready, _, _ = select.select([self._codes], [], [], LOOK_S)
            if self._stopped.is_set():
                raise ShellStoppedError
            if ready:
                return int(os.read(self._codes, 64).split()[0])
            if process.poll() is not None:
                self._end(process)
                self._environment = {**self._environment, **self._saved()}
                return process.returncode or 0

    def _end(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is not None:
            self._account.children.stop(process, grace_s=1.0)
        if self._pump is not None:
            self._pump.join()
        self._process = self._pump = None

    def _saved(self) -> dict[str, str]:
        try:
            content = (self._control / "environment").read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:  # the shell was killed
            return {}
        pairs = (entry.partition("=") for entry in content.split("\0") if "=" in entry)
        return {name: value for name, _, value in pairs if name not in _OWN}
