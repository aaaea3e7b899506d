"""How fast the console is on the stage of this environment: the first page after the start, then every page, warm.

    python -m benchmarks.pages.console                      # on what the account holds
    python -m benchmarks.pages.console --executions 1000    # after so many more executions of the workflow

Needs a running stand-in account with a version that serves (`scones demo`). Prints milliseconds of wall time, the
median and the slowest of ten, the processor time of the console while one page is open, and its memory.
"""

from __future__ import annotations

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from scones.runs import executions
from scones.serving_versions import endpoint, registry
from scones.stage.connection import Connection, connect_deployed

PAGES = ("now", "live", "live?range=24h", "runs", "registry", "threshold", "photos", "review", "reports")
REPEATS = 10
IDLE_S = 20.0


def main() -> None:
    """Send what was asked for, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=0, help="executions of the workflow before")
    arguments = parser.parse_args()
    send(connect_deployed("local"), arguments.executions)
    began = time.perf_counter()
    with console() as (process, address):
        cookie = opened(address)
        ask(address, "now", cookie)
        used = process.cpu_times()
        took = 1000 * (time.perf_counter() - began)
        print(f"first page after the start: {took:.0f} ms, {1000 * (used.user + used.system):.0f} ms of them computing")
        for page in PAGES:
            times = [timed(address, page, cookie) for _ in range(REPEATS)]
            print(f"{page:16} {statistics.median(times):6.0f} ms, slowest {max(times):6.0f} ms")
        print(f"a page open for {IDLE_S:.0f} s: {idle(process, address, cookie):.1%} of a processor")
        print(f"memory: {process.memory_info().rss / 2**20:.0f} MiB")


def send(connection: Connection, count: int) -> None:
    """Run the workflow on test images, a hundred at a time."""
    if not count:
        return
    version = registry.deployed(connection, endpoint.live(connection).model_package_arn)
    images = executions.pick_test_images(connection, version.metadata["dataset_s3_uri"], 100, 0)
    for done in range(0, count, len(images)):
        executions.run(connection, images[: count - done])


@contextmanager
def console() -> Iterator[tuple[psutil.Process, str]]:
    """`scones console`, and the address that it prints."""
    command = [str(Path(sys.executable).with_name("scones")), "console", "--read-only", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        found = re.search(r"http://\S+", process.stderr.readline() if process.stderr else "")
        try:
            yield psutil.Process(process.pid), found[0] if found else ""
        finally:
            process.send_signal(2)


def opened(address: str) -> str:
    """Exchange the key for the cookie."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.netloc)
    connection.request("GET", f"{where.path}?{where.query}")
    return str(connection.getresponse().headers["set-cookie"]).partition(";")[0]


def ask(address: str, page: str, cookie: str) -> None:
    """Fetch a page to its end."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("GET", f"/{page}", headers={"cookie": cookie})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{page}: {answer.status} {text[:200]!r}")


def timed(address: str, page: str, cookie: str) -> float:
    """Milliseconds until the page is there."""
    began = time.perf_counter()
    ask(address, page, cookie)
    return 1000 * (time.perf_counter() - began)


def idle(process: psutil.Process, address: str, cookie: str) -> float:
    """The console's share of a processor while somebody looks at the first page."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("GET", "/now/events", headers={"cookie": cookie})
    stream = connection.getresponse()
    stream.readline()
    before, began = process.cpu_times(), time.perf_counter()
    time.sleep(IDLE_S)
    after = process.cpu_times()
    connection.close()
    return (after.user + after.system - before.user - before.system) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
