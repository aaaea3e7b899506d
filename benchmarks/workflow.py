"""What the stand-in account's Step Functions costs: ``python benchmarks/workflow.py [--json] [--executions N]``.

Runs on a laptop: small functions and state machines of its own, on an account of its own, and the same on plain moto,
whose functions only echo. Prints one execution of three functions, the rate from several clients, memory and threads
over many executions, and the cost of an item in batches of growing size. Functions that do nothing show the account's
own share; the time of a real workflow comes on top.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from local_account.server import control

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.account import ROLE, client, make_role, zipped  # the path above comes first
from benchmarks.loop import free_port  # the path above comes first

CLIENTS = 8
SEQUENTIAL = 100
RATE = 400
PLAIN = 60
MANY = 10_000
BATCHES = (100, 1_000, 10_000)
BATCH_ITEMS = 50
POLL_S = 0.003
PLAIN_MOTO = """
import sys
from moto.core.config import default_user_config
default_user_config["stepfunctions"] = {"execute_state_machine": True}
default_user_config["lambda"] = {"use_docker": False}
from moto.server import main
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--executions", type=int, default=MANY, help="how many executions memory is measured over")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"cores": os.cpu_count(), "load_at_start": round(os.getloadavg()[0], 1)}
    with account() as (url, server):
        bench = WorkflowBench(url)
        figures |= bench.executions()
        figures["express"] = bench.express()
        figures["many"] = bench.many(arguments.executions, server)
        figures["batch"] = bench.batches()
    with plain_moto() as url:
        figures["plain_moto"] = WorkflowBench(url, simple=True).executions(PLAIN)
    each = 1000 / figures["executions_per_s"]
    figures["batch_gain"] = round(each / figures["batch"][-1]["ms_per_item"], 1)
    figures["batch_gain_unbatched"] = round(each / figures["batch"][-1]["ms_per_item_unbatched"], 1)
    print(json.dumps(figures) if arguments.json else report(figures))


@contextmanager
def account() -> Iterator[tuple[str, psutil.Process]]:
    with tempfile.TemporaryDirectory(prefix="scones-workflow-") as folder:
        running = control.start(Path(folder) / "account", free_port())
        try:
            os.environ.update(control.environment(running.state_dir, running.port))
            yield running.endpoint_url, psutil.Process(running.pid)
        finally:
            control.stop(Path(folder) / "account")


@contextmanager
def plain_moto() -> Iterator[str]:
    port = free_port()
    environment = os.environ | {"MOTO_PORT": str(port)}
    command = [sys.executable, "-c", PLAIN_MOTO, str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                client(url, "stepfunctions").list_state_machines()
                break
            except Exception:  # it is not up yet, in one way or another
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


class WorkflowBench:
    """The measurements against one account."""

    def __init__(self, url: str, simple: bool = False) -> None:
        # StartSyncExecution would otherwise go to sync-127.0.0.1.
        with mock.patch.dict(os.environ, AWS_DISABLE_HOST_PREFIX_INJECTION="true"):
            self.states, self.s3 = client(url, "stepfunctions"), client(url, "s3")
        self._names = iter(range(sys.maxsize))  # plain moto takes one unnamed execution a machine
        make_role(url)
        self.function = client(url, "lambda").create_function(
            FunctionName="echo", Runtime="python3.12", Role=ROLE, Handler="echo.handler", Code={"ZipFile": zipped()}
        )["FunctionArn"]
        self.three = self.machine("three", three_calls(self.function))
        self.simple = simple

    def machine(self, name: str, definition: dict[str, Any]) -> str:
        answer = self.states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)
        return str(answer["stateMachineArn"])

    def execute(self, machine: str, data: Any) -> Any:
        """Run to the end; the output."""
        name = f"run-{next(self._names)}"
        arn = self.states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(data))["executionArn"]
        while (found := self.states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            time.sleep(POLL_S)
        if found["status"] != "SUCCEEDED":
            raise RuntimeError(f"an execution ended as {found}")
        return json.loads(found["output"])

    def one(self) -> None:
        if not self.simple and self.execute(self.three, {"value": 1}) != {"value": 1}:
            raise RuntimeError("an execution lost its data")
        if self.simple:
            self.execute(self.three, {"value": 1})

    def executions(self, times: int = RATE) -> dict[str, Any]:
        for _ in range(10):
            self.one()
        taken = [seconds(self.one) * 1000 for _ in range(min(SEQUENTIAL, times))]

        return {
            "execution_p50_ms": round(statistics.median(taken), 1),
            "execution_p95_ms": round(statistics.quantiles(taken, n=20)[-1], 1),
            "executions_per_s": rate_of(self.one, times),
        }

    def express(self) -> dict[str, Any]:
        """The same three functions as a synchronous Express execution."""
        definition = json.dumps(three_calls(self.function))
        machine = self.states.create_state_machine(name="fast", definition=definition, roleArn=ROLE, type="EXPRESS")
        arn = machine["stateMachineArn"]

        def one() -> None:
            answer = self.states.start_sync_execution(stateMachineArn=arn, input='{"value": 1}')
            if answer.get("output") != '{"value":1}':
                raise RuntimeError(f"an execution ended as {answer}")

        one()
        taken = [seconds(one) * 1000 for _ in range(SEQUENTIAL)]
        return {"execution_p50_ms": round(statistics.median(taken), 1), "executions_per_s": rate_of(one, RATE)}

    def batches(self) -> list[dict[str, Any]]:
        """Cost of an item of a Distributed Map over a list in S3, in batches and one a child execution."""
        self.s3.create_bucket(Bucket="benchmark")
        batched = self.machine("batched", batch(self.function, {"MaxItemsPerBatch": BATCH_ITEMS}))
        single = self.machine("single", batch(self.function, None))
        found = []
        for count in (BATCHES[0], *BATCHES):  # once for the functions' workers, which start then
            items = [{"s3_bucket": "images", "s3_key": f"image-{number:05}.png"} for number in range(count)]
            self.s3.put_object(Bucket="benchmark", Key="items.json", Body=json.dumps(items).encode())
            found.append(
                {
                    "items": count,
                    "ms_per_item": round(seconds(lambda: self.execute(batched, {})) * 1000 / count, 3),
                    "ms_per_item_unbatched": round(seconds(lambda: self.execute(single, {})) * 1000 / count, 3),
                }
            )
        return found[1:]

    def many(self, executions: int, server: psutil.Process) -> dict[str, Any]:
        """Memory and threads of the account over many executions, in two halves."""
        marks = [(server.memory_info().rss, server.num_threads())]
        rates = []
        for _ in range(2):
            rates.append(rate_of(self.one, executions // 2))
            time.sleep(2)  # threads of clients end
            marks.append((server.memory_info().rss, server.num_threads()))
        return {
            "executions": executions,
            "executions_per_s_by_half": rates,
            "threads": [threads for _, threads in marks],
            "memory_mib": [round(memory / 2**20) for memory, _ in marks],
            "kib_per_execution": round((marks[2][0] - marks[1][0]) / 1024 / (executions // 2), 1),
        }


def rate_of(call: Callable[[], object], times: int) -> float:
    """Calls a second from several clients."""
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(call) for _ in range(times)]:
            done.result()
    return round(times / (time.perf_counter() - began), 1)


def three_calls(function: str) -> dict[str, Any]:
    names = ("First", "Second", "Third")
    states: dict[str, Any] = {}
    for name, following in zip(names, [*names[1:], None], strict=True):
        place = {"Next": following} if following else {"End": True}
        states[name] = {"Type": "Task", "Resource": function, "TimeoutSeconds": 60, **place}
    return {"StartAt": names[0], "States": states}


def batch(function: str, batcher: dict[str, Any] | None) -> dict[str, Any]:
    state: dict[str, Any] = {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "Parameters": {"Bucket": "benchmark", "Key": "items.json"},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            **three_calls(function),
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": "benchmark", "Prefix": "results"},
        },
        "End": True,
    }
    return {"StartAt": "Map", "States": {"Map": {**state, **({"ItemBatcher": batcher} if batcher else {})}}}


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def report(figures: dict[str, Any]) -> str:
    plain, many, express = figures["plain_moto"], figures["many"], figures["express"]
    lines = [
        f"{'':34}{'account':>10}{'plain moto, echo':>20}",
        f"{'one execution, median':34}{figures['execution_p50_ms']:>7} ms{plain['execution_p50_ms']:>17} ms",
        f"{'one execution, 95th percentile':34}{figures['execution_p95_ms']:>7} ms{plain['execution_p95_ms']:>17} ms",
        f"{f'rate from {CLIENTS} clients':34}{figures['executions_per_s']:>7} /s{plain['executions_per_s']:>17} /s",
        f"{'Express, synchronous':34}{express['execution_p50_ms']:>7} ms{express['executions_per_s']:>8} /s",
        "",
        f"{'items of a Distributed Map':28}{f'{BATCH_ITEMS} a batch':>16}{'one a child':>16}",
        *(
            f"{found['items']:>28}{found['ms_per_item']:>10} ms each{found['ms_per_item_unbatched']:>8} ms each"
            for found in figures["batch"]
        ),
        f"{'times faster than executions':28}{figures['batch_gain']:>16}{figures['batch_gain_unbatched']:>16}",
        "",
        f"{many['executions']} executions: {many['kib_per_execution']} KiB each; threads {many['threads']}; "
        f"memory {many['memory_mib']} MiB; rates {many['executions_per_s_by_half']} /s",
        f"{figures['cores']} cores, load {figures['load_at_start']} before",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
