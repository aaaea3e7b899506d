"""Time and memory of the whole loop: ``python benchmarks/loop.py`` runs `scones demo` once on an account of its own.

Runs on a laptop (Linux: it reads proportional set sizes). Prints the seconds of each part, test accuracy, and the peak
memory and the processor time of the command, the account and all they started, looked at five times a second: what a
process does after the last look at it is not counted.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

INTERVAL_S = 0.2


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="scones-loop-") as folder:
        summary, peak_mib, names, cpu_s = run(Path(folder))
    for part, seconds in summary["seconds"].items():
        print(f"{part:36} {seconds:7.1f} s")
    memory = f"peak memory {peak_mib:.0f} MiB in {names} processes"
    print(f"test accuracy {summary['accuracy']:.3f}; {cpu_s:.0f} CPU seconds; {memory}")


def run(folder: Path) -> tuple[dict[str, dict[str, float]], float, int, float]:
    """Run the demonstration; its summary, the peak of memory in MiB, how many processes that was, and CPU seconds."""
    environment = {
        **os.environ,
        "SCONES_HOME": str(folder / "home"),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
    }
    arguments = ["demo", "--stop", "--json", str(folder / "summary.json"), "--report-dir", str(folder / "report")]
    command = [str(Path(sys.executable).with_name("scones")), *arguments]
    demo = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = [0.0, 0.0]
    done = threading.Event()
    spent: dict[int, float] = {}
    watcher = threading.Thread(target=watch, args=(environment["AWS_ENDPOINT_URL"], peak, spent, done))
    watcher.start()
    code = demo.wait()
    done.set()
    watcher.join()
    if code != 0:
        sys.exit(f"scones demo ended with exit code {code}: run it by hand to see why")
    return json.loads((folder / "summary.json").read_text(encoding="utf-8")), peak[0], int(peak[1]), sum(spent.values())


def watch(endpoint_url: str, peak: list[float], spent: dict[int, float], done: threading.Event) -> None:
    while not done.wait(INTERVAL_S):
        sizes = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("AWS_ENDPOINT_URL") == endpoint_url
                if mine and process.pid != os.getpid():
                    sizes.append(process.memory_full_info().pss)
                    times = process.cpu_times()
                    spent[process.pid] = times.user + times.system
            except psutil.Error:
                continue
        peak[:] = max(peak, [sum(sizes) / 2**20, len(sizes)])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
