"""How fast the console is on the stage of this environment: the first page after the start, then every page, warm.

    python -m benchmarks.pages.console                                           # on what the account holds
    python -m benchmarks.pages.console --executions 10000 --captures 100000      # after so much more
    python -m benchmarks.pages.console --open 50 --minutes 60                    # so many pages open for so long

Needs a running stand-in account with a version that serves (`scones demo`). Prints milliseconds of wall time, the
median and the slowest of ten, the processor time of the console while one page is open, and its memory; with `--open`
its memory, threads and open files as time passes. `--executions` and `--captures` stay in the account.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.pages.filling import put_captures, send_executions
from scones.runs import executions
from scones.stage.connection import Connection, connect_deployed

PAGES = (
    *("now", "live", "live?range=24h", "live?range=7d", "runs", "registry", "registry/evaluation/1"),
    *("threshold", "threshold?threshold=0.8", "photos", "review", "reports"),
)
LIVE = ("now", "live", "runs", "registry", "reports")
REPEATS = 10
IDLE_S = 20.0
LOOK_S = 60.0
NEWS = 8


def main() -> None:
    """Make what was asked for, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=0, help="executions of the workflow before")
    parser.add_argument("--captures", type=int, default=0, help="captured records before")
    parser.add_argument("--open", type=int, default=0, help="pages that are open at once, instead of the other figures")
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long")
    arguments = parser.parse_args()
    connection = connect_deployed("local")
    send_executions(connection, arguments.executions)
    put_captures(connection, arguments.captures)
    began = time.perf_counter()
    with console() as (process, address):
        cookie = opened(address)
        if arguments.open:
            watch(process, address, cookie, arguments.open, 60 * arguments.minutes)
        else:
            figures(connection, process, address, cookie, began)


def figures(connection: Connection, process: psutil.Process, address: str, cookie: str, began: float) -> None:
    """Print how long pages take, and what an open one costs."""
    ask(address, "now", cookie)
    used = process.cpu_times()
    took = 1000 * (time.perf_counter() - began)
    print(f"first page after the start: {took:.0f} ms, {1000 * (used.user + used.system):.0f} ms of them computing")
    for page in PAGES:
        first, *times = [timed(address, page, cookie) for _ in range(1 + REPEATS)]
        print(f"{page:24} first {first:5.0f} ms, then {statistics.median(times):5.0f} ms, slowest {max(times):5.0f} ms")
    waits = [news_of(connection, address, cookie) for _ in range(NEWS)]
    print(f"news of an invocation: {statistics.median(waits):.1f} s after its end, slowest {max(waits):.1f} s")
    for page in LIVE:
        print(f"{page} open for {IDLE_S:.0f} s: {idle(process, address, page, cookie):.1%} of a processor")
    print(f"memory: {process.memory_info().rss / 2**20:.0f} MiB")


def watch(process: psutil.Process, address: str, cookie: str, count: int, length_s: float) -> None:
    """Keep pages open as browsers do, and print what the console takes meanwhile."""
    stopped = threading.Event()
    readers = [
        threading.Thread(target=follow, args=(address, LIVE[n % len(LIVE)], cookie, stopped), daemon=True)
        for n in range(count)
    ]
    for reader in readers:
        reader.start()
    began, before = time.perf_counter(), process.cpu_times()
    print("minute    MiB  threads  files  of a processor")
    while (passed := time.perf_counter() - began) < length_s:
        time.sleep(min(LOOK_S, length_s - passed))
        now, passed = process.cpu_times(), time.perf_counter() - began
        share = (now.user + now.system - before.user - before.system) / passed
        memory = process.memory_info().rss / 2**20
        print(
            f"{passed / 60:6.1f} {memory:6.0f} {process.num_threads():8} {process.num_fds():6} {share:10.1%}",
            flush=True,
        )
    stopped.set()
    ask(address, "now", cookie)


def follow(address: str, page: str, cookie: str, stopped: threading.Event) -> None:
    """Read a page's news until it is enough."""
    stream = events(address, page, cookie)
    while not stopped.is_set() and stream.readline():
        pass


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


def news_of(connection: Connection, address: str, cookie: str) -> float:
    """Seconds from the end of an execution until the charts of a page that is open show it.

    Once nothing else changes: at the beginning of a minute the charts move by themselves.
    """
    stream = events(address, "live?range=15m", cookie)
    charts(stream)
    states, machine = connection.client("stepfunctions"), executions.workflow_arn(connection)
    given = json.dumps({"s3_bucket": connection.names.data_bucket, "s3_key": "incoming/none.png"})
    arn = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]
    while states.describe_execution(executionArn=arn)["status"] == "RUNNING":
        time.sleep(0.02)
    ended = time.perf_counter()
    charts(stream)
    return time.perf_counter() - ended


def charts(stream: http.client.HTTPResponse) -> None:
    """Wait until the charts are told anew."""
    while b'"charts"' not in stream.readline():
        pass


def idle(process: psutil.Process, address: str, page: str, cookie: str) -> float:
    """The console's share of a processor while somebody looks at a page."""
    stopped = threading.Event()
    threading.Thread(target=follow, args=(address, page, cookie, stopped), daemon=True).start()
    time.sleep(3)
    before, began = process.cpu_times(), time.perf_counter()
    time.sleep(IDLE_S)
    after = process.cpu_times()
    stopped.set()
    return (after.user + after.system - before.user - before.system) / (time.perf_counter() - began)


def events(address: str, page: str, cookie: str) -> http.client.HTTPResponse:
    """The news of a page as a browser's EventSource asks for them."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    place, _, query = page.partition("?")
    connection.request("GET", f"/{place}/events?{query}", headers={"cookie": cookie})
    return connection.getresponse()


if __name__ == "__main__":
    main()
