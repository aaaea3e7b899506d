"""Whether the stand-in account stays as it is under a mixed load: ``python benchmarks/soak.py --minutes 60``.

Runs on a laptop, on an account of its own: objects, parameters, items, messages, metrics, invocations, executions and
invocations of an endpoint, from several threads at a steady rate. Each minute a line says what the server holds:
memory of the server, open files, threads, processes. What is written is deleted again or overwritten, except executions
and log lines, which an account keeps. Ends with 1 when memory grows by more than a tenth after the first ten minutes
beyond what is kept, or when files, threads or processes grow.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from local_account.server import control

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.account import ROLE, client, executor, make_role, zipped  # the path above comes first
from benchmarks.loop import free_port  # likewise
from benchmarks.updates import IMAGE, archive  # likewise

MODEL = """
def model_fn(_folder): return None
def transform_fn(_model, body, content_type, _accept): return body, content_type
"""
WARM_UP_MINUTES = 10
MOST_GROWTH = 0.10
KEPT_BYTES_OF_AN_EXECUTION = 16 * 1024
"""What an execution of three functions keeps (11 KiB by docs/local_account.md), with room for the allocator."""


@dataclass(frozen=True)
class SoakSample:
    """What the server held at the end of a minute."""

    mib: float
    files: int
    threads: int
    processes: int
    executions: int


def main() -> int:
    """Load an account, print a line a minute; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rounds-per-second", type=float, default=1.0, help="each is one call of every kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-soak-") as folder:
        state = Path(folder) / "account"
        running = control.start(state, free_port())
        try:
            os.environ.update(control.environment(state, running.port))
            load = MixedLoad(running.endpoint_url, 1 / arguments.rounds_per_second)
            samples = watch(psutil.Process(running.pid), load, arguments.minutes)
        finally:
            control.stop(state)
    return verdict(samples, load)


class MixedLoad:
    """Calls of every kind at a steady pace, each kind in a thread of its own."""

    def __init__(self, url: str, pause_s: float) -> None:
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._pause_s, self._stop = pause_s, threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, call), daemon=True) for name, call in calls(url).items()
        ]

    def _repeat(self, name: str, call: Callable[[int], object]) -> None:
        for number in itertools.count():
            if self._stop.wait(self._pause_s):
                return
            try:
                call(number)
                self.done[name] += 1
            except Exception as error:
                self.failed[f"{name}: {type(error).__name__}: {error}"[:200]] += 1

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, when the calls under way have ended."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def calls(url: str) -> dict[str, Callable[[int], object]]:
    """One call of each kind, by name; each takes its number."""
    make_role(url)
    services = (
        "s3",
        "ssm",
        "dynamodb",
        "sqs",
        "cloudwatch",
        "lambda",
        "stepfunctions",
        "sagemaker",
        "sagemaker-runtime",
    )
    of = {name: client(url, name) for name in services}
    of["s3"].create_bucket(Bucket="soak")
    of["dynamodb"].create_table(
        TableName="soak",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    queue = of["sqs"].create_queue(QueueName="soak")["QueueUrl"]
    function = of["lambda"].create_function(
        FunctionName="echo", Runtime="python3.12", Role=ROLE, Handler="echo.handler", Code={"ZipFile": zipped()}
    )["FunctionArn"]
    execute = executor(of["stepfunctions"], function)
    make_endpoint(of["s3"], of["sagemaker"])

    def keep_an_object(number: int) -> None:
        key = f"{number % 50}"
        of["s3"].put_object(Bucket="soak", Key=key, Body=os.urandom(50_000))
        of["s3"].get_object(Bucket="soak", Key=key)["Body"].read()
        of["s3"].delete_object(Bucket="soak", Key=key)

    def pass_a_message(number: int) -> None:
        of["sqs"].send_message(QueueUrl=queue, MessageBody=str(number))
        for message in of["sqs"].receive_message(QueueUrl=queue).get("Messages", []):
            of["sqs"].delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    def count(number: int) -> None:
        data = [{"MetricName": "soak", "Value": float(number)}]
        of["cloudwatch"].put_metric_data(Namespace="Soak", MetricData=data)

    return {
        "object": keep_an_object,
        "parameter": lambda number: of["ssm"].put_parameter(
            Name="soak", Value=str(number), Type="String", Overwrite=True
        ),
        "item": lambda number: of["dynamodb"].put_item(TableName="soak", Item={"id": {"S": str(number % 50)}}),
        "message": pass_a_message,
        "metric": count,
        "invocation": lambda number: of["lambda"].invoke(FunctionName="echo", Payload=json.dumps(number)),
        "execution": lambda _number: execute(),
        "answer": lambda number: of["sagemaker-runtime"].invoke_endpoint(
            EndpointName="soak", ContentType="text/plain", Body=str(number)
        ),
    }


def make_endpoint(s3: Any, sagemaker: Any) -> None:
    """An endpoint of one instance that answers what it is asked."""
    s3.put_object(Bucket="soak", Key="model.tar.gz", Body=archive(MODEL))
    container = {"Image": IMAGE, "ModelDataUrl": "s3://soak/model.tar.gz"}
    sagemaker.create_model(ModelName="soak", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "All", "ModelName": "soak", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="soak", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="soak", EndpointConfigName="soak")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="soak", WaiterConfig={"Delay": 1})


def watch(server: psutil.Process, load: MixedLoad, minutes: float) -> list[SoakSample]:
    """A sample at the end of each minute, printed as it is taken."""
    load.start()
    samples = []
    began = time.monotonic()
    print("minute    MiB  files  threads  processes  executions")
    for minute in itertools.count(1):
        time.sleep(max(began + 60 * minute - time.monotonic(), 0))
        samples.append(
            SoakSample(
                server.memory_info().rss / 2**20,
                server.num_fds(),
                server.num_threads(),
                len(server.children(recursive=True)),
                load.done["execution"],
            )
        )
        last = samples[-1]
        held = f"{last.mib:6.0f} {last.files:6} {last.threads:8} {last.processes:10} {last.executions:11}"
        print(f"{minute:6} {held}", flush=True)
        if minute >= minutes:
            break
    load.stop()
    return samples


def verdict(samples: list[SoakSample], load: MixedLoad) -> int:
    """Say what grew; 1 when something did."""
    total = sum(load.done.values())
    print(f"{total} calls, {sum(load.failed.values())} failed: {dict(load.done)}")
    problems = [f"{number} failed as {what}" for what, number in load.failed.items()]
    if len(samples) < WARM_UP_MINUTES + 5:
        print(f"too short to say what grows: at least {WARM_UP_MINUTES + 5} minutes")
    else:
        problems += grown(samples[WARM_UP_MINUTES - 1 :])
    print(*problems or ["nothing grew"], sep="\n")
    return bool(problems)


def grown(samples: list[SoakSample]) -> list[str]:
    """What is more at the end than after the warm-up: medians of five minutes each."""
    first, last = samples[:5], samples[-5:]
    kept = (last[-1].executions - first[-1].executions) * KEPT_BYTES_OF_AN_EXECUTION / 2**20
    found = []
    before, after = (statistics.median(s.mib for s in part) for part in (first, last))
    print(f"memory {before:.0f} -> {after:.0f} MiB, of which {kept:.0f} MiB executions may keep")
    if after - kept > before * (1 + MOST_GROWTH):
        found.append(f"memory grew from {before:.0f} to {after:.0f} MiB, {kept:.0f} of them kept by executions")
    for name in ("files", "threads", "processes"):
        before, after = (statistics.median(getattr(s, name) for s in part) for part in (first, last))
        if after > before + max(3, before * MOST_GROWTH):
            found.append(f"{name} grew from {before:g} to {after:g}")
    return found


if __name__ == "__main__":
    sys.exit(main())
