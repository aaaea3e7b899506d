"""The containers of a job's hosts while they run: the first that fails ends the others.

Runs in the server process, in the job's thread.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from local_account.containers.run import RunningContainer
from local_account.sagemaker.jobs.cluster import Host

FAILED_GRACE_S = 5.0  # between SIGTERM and SIGKILL, for those whose peer has failed


class RunningHosts:
    """What runs on each host. Leaving its context ends what still runs."""

    def __init__(self) -> None:
        self._containers: dict[Host, RunningContainer] = {}
        self._failed: Host | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop(FAILED_GRACE_S)

    def add(self, host: Host, container: RunningContainer) -> None:
        """Take over a container that was started."""
        self._containers[host] = container

    def wait(self, timeout_s: float) -> int | None:
        """0 once all have ended well, the exit code of the first that failed, or None when some still run."""
        waiting = [container for container in self._containers.values() if container.wait(0) is None]
        for container in waiting:
            container.wait(timeout_s / len(waiting))
        if self._failed is None:
            self._failed = self._first_failure()
        if self._failed:
            self.stop(FAILED_GRACE_S)
            return self._containers[self._failed].process.returncode
        return None if any(container.wait(0) is None for container in self._containers.values()) else 0

    def _first_failure(self) -> Host | None:
        """Of the hosts that failed the one that ended first: the others may have failed because of it."""
        failed = {
            container.ended_at or 0.0: host
            for host, container in reversed(self._containers.items())
            if container.wait(0)
        }
        return failed[min(failed)] if failed else None

    def failed(self, lines: int) -> tuple[Host, list[str]]:
        """The host that failed, and the last lines that it wrote; of those that were stopped the first."""
        host = self._failed or next(iter(self._containers))
        return host, self._containers[host].tail(lines)

    def stop(self, grace_s: float) -> None:
        """SIGTERM to all processes of every host, SIGKILL after ``grace_s`` seconds."""
        left = [container for container in self._containers.values() if container.wait(0) is None]
        if left:
            with ThreadPoolExecutor(len(left)) as pool:
                list(pool.map(lambda container: container.stop(grace_s), left))
