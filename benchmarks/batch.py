"""What an image costs in the deployed workflow: ``python benchmarks/batch.py [--json] [--home DIR]``.

Runs on a laptop (Linux). Deploys the stack to an account of its own, trains two epochs (as fast to serve as a network
that is trained to the end) and approves the model; ``--home`` takes the folder of an account where `scones demo` ran
instead. Then real test images go through real state machines, functions and endpoint: one execution each, from one
client and from several, synchronous Express executions, and batches of growing size. The threshold is set so that
``--review-share`` of the images go to the review queue, and put back at the end.

Every figure is the best of ``--repeat`` runs, since whatever else the machine does only makes it worse; the share of
the cores that others took meanwhile stands beside it, and the processor time of an image, which others hardly change.
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
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from scones.stage.connection import Connection, connect, split_uri

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.loop import free_port  # the path above comes first
from benchmarks.processor_time import Watch  # the path above comes first

CLIENTS = 8
POLL_S = 0.01
BATCHES = (100, 1_000, 10_000)
PREFIX = "incoming/benchmark"
TARGETS = {
    "execution_p50_ms": "at most 50",
    "executions_per_s": "at least 40",
    "batch_gain": "at least 3",
    "batch_flatness": "near 1",
}

Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    home = "SCONES_HOME of an account with an endpoint; images and reviews stay in it (default: a new account)"
    parser.add_argument("--home", type=Path, help=home)
    parser.add_argument("--executions", type=int, default=400, help="of each run from several clients")
    parser.add_argument("--largest", type=int, default=BATCHES[-1], help="images of the largest batch")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--review-share", type=float, default=0.1, help="of the images, below the threshold")
    arguments = parser.parse_args()
    with stage(arguments.home) as connection:
        found = BatchBench(connection, arguments).measured()
    print(json.dumps(found) if arguments.json else report(found))


@contextmanager
def stage(home: Path | None) -> Iterator[Connection]:
    """The local stage with an endpoint that serves; an account that this started is stopped again."""
    with tempfile.TemporaryDirectory(prefix="scones-batch-") as folder:
        os.environ["SCONES_HOME"] = str(home or folder)
        running = port_of(home)
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{running or free_port()}"
        try:
            if not running:
                scones("account", "start")
            if home is None:
                scones("deploy")
                scones(
                    "pipeline",
                    "run",
                    "--recipe",
                    "scratch",
                    "--parameter",
                    "Epochs=2",
                    "--parameter",
                    "AccuracyGate=0.5",
                )
                scones("model", "approve")
            yield connect("local")
        finally:
            if not running:
                scones("account", "stop")


def port_of(home: Path | None) -> int | None:
    """Where the account of a home runs, if it does."""
    from local_account.server import control

    running = control.status(home / "account") if home else None
    return running.port if running else None


def scones(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("scones")), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        sys.exit(f"scones {' '.join(arguments)} failed: {(finished.stderr or finished.stdout).strip()[-500:]}")
    return finished.stdout


class BatchBench:
    """The measurements on one stage."""

    def __init__(self, connection: Connection, arguments: argparse.Namespace) -> None:
        self.connection, self.arguments = connection, arguments
        self.names = connection.names
        self.states, self.s3 = connection.client("stepfunctions"), connection.client("s3")
        self.server = server_process()

    def measured(self) -> Figures:
        keys = self.uploaded(max(self.arguments.largest, self.arguments.executions))
        before = self.connection.client("ssm").get_parameter(Name=self.names.threshold_parameter)["Parameter"]["Value"]
        try:
            self.set_threshold(json.dumps({"default": self.quantile(len(keys)), "changed_by": "benchmarks/batch.py"}))
            return self.figures(keys)
        finally:
            self.set_threshold(before)

    def figures(self, keys: list[str]) -> Figures:
        found: Figures = {"cores": os.cpu_count(), "load_at_start": round(os.getloadavg()[0], 1)}
        warm, many = keys[:100], keys[: self.arguments.executions]
        self.from_clients(warm, CLIENTS)
        found["sequential"] = self.best(lambda: self.from_clients(warm, 1), "p50_ms", min)
        found["concurrent"] = self.best(lambda: self.from_clients(many, CLIENTS), "executions_per_s", max)
        found["express"] = self.best(lambda: self.from_clients(many, CLIENTS, "EXPRESS"), "executions_per_s", max)
        sizes = [count for count in BATCHES if count < self.arguments.largest] + [self.arguments.largest]
        found["batch"] = [self.best(lambda n=count: self.batch(n), "ms_per_item", min) for count in sizes]
        found["execution_p50_ms"] = found["sequential"]["p50_ms"]
        found["executions_per_s"] = found["concurrent"]["executions_per_s"]
        each = 1000 / found["executions_per_s"]
        found["batch_gain"] = round(each / found["batch"][-1]["ms_per_item"], 2)
        found["batch_gain_cpu"] = round(found["concurrent"]["cpu_ms"]["all"] / found["batch"][-1]["cpu_ms"]["all"], 2)
        found["batch_flatness"] = round(found["batch"][-1]["ms_per_item"] / found["batch"][0]["ms_per_item"], 2)
        return found

    def best(self, run: Callable[[], Figures], name: str, better: Callable[..., Figures]) -> Figures:
        return better((run() for _ in range(self.arguments.repeat)), key=lambda figures: figures[name])

    def uploaded(self, count: int) -> list[str]:
        """Keys of ``count`` copies of the held-out test images that the live model was evaluated with."""
        listed = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.names.data_bucket, Prefix=f"{split_uri(self.names.pipeline_runs_uri)[1]}/"
        )
        found = [item["Key"] for page in listed for item in page.get("Contents", [])]
        images = [key for key in found if "/dataset/test/" in key and key.endswith(".png")]
        if not images:
            sys.exit(f"there are no test images below {self.names.pipeline_runs_uri}: run `scones demo` in that home")
        contents = [self.s3.get_object(Bucket=self.names.data_bucket, Key=key)["Body"].read() for key in images[:200]]
        keys = [f"{PREFIX}/{number:05}.png" for number in range(count)]

        def put(number: int) -> None:
            body = contents[number % len(contents)]
            self.s3.put_object(Bucket=self.names.data_bucket, Key=keys[number], Body=body)

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(put, range(count)))
        return keys

    def set_threshold(self, document: str) -> None:
        ssm = self.connection.client("ssm")
        ssm.put_parameter(Name=self.names.threshold_parameter, Value=document, Type="String", Overwrite=True)
        time.sleep(self.connection.settings.workflow.threshold_cache_s + 0.5)

    def quantile(self, available: int) -> float:
        """The confidence below which the wished share of the images lies."""
        name = self.batch(min(1_000, available))["batch_id"]
        answer = self.s3.get_object(Bucket=self.names.data_bucket, Key=f"batches/{name}/results.jsonl")
        confidences = sorted(json.loads(line)["confidence"] for line in answer["Body"].read().splitlines())
        return float(confidences[int(len(confidences) * self.arguments.review_share)])

    def from_clients(self, keys: list[str], clients: int, kind: str = "STANDARD") -> Figures:
        """One execution an image."""
        taken: list[float] = []
        reviews: list[str] = []
        run = self.one if kind == "STANDARD" else self.one_express

        def one(key: str) -> None:
            data = {"s3_bucket": self.names.data_bucket, "s3_key": key, "on_low_confidence": "review"}
            began = time.perf_counter()
            output = json.loads(run(json.dumps(data)))
            taken.append((time.perf_counter() - began) * 1000)
            if output["status"] == "needs_review":
                reviews.append(key)

        with Watch(self.server, len(keys)) as watch, ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(one, key) for key in keys]:
                done.result()
        return {
            "p50_ms": round(statistics.median(taken), 1),
            "p95_ms": round(statistics.quantiles(taken, n=20)[-1], 1),
            "executions_per_s": round(len(keys) / watch.wall_s, 1),
            "review_share": round(len(reviews) / len(keys), 2),
            **watch.figures(),
        }

    def one(self, data: str) -> str:
        arn = self.machine(self.names.workflow)
        began = self.states.start_execution(stateMachineArn=arn, name=uuid.uuid4().hex, input=data)
        while (found := self.states.describe_execution(executionArn=began["executionArn"]))["status"] == "RUNNING":
            time.sleep(POLL_S)
        return output_of(found)

    def one_express(self, data: str) -> str:
        arn = self.machine(self.names.express_workflow)
        return output_of(self.states.start_sync_execution(stateMachineArn=arn, input=data))

    def machine(self, name: str) -> str:
        return f"arn:aws:states:{self.names.region}:{self.names.account_id}:stateMachine:{name}"

    def batch(self, count: int) -> Figures:
        """One batch over the first ``count`` images."""
        bucket, batch_id = self.names.data_bucket, f"benchmark-{uuid.uuid4().hex[:12]}"
        manifest = f"batches/{batch_id}/manifest.json"
        items = [{"s3_bucket": bucket, "s3_key": f"{PREFIX}/{number:05}.png"} for number in range(count)]
        self.s3.put_object(Bucket=bucket, Key=manifest, Body=json.dumps(items).encode())
        data = json.dumps({"source": "json", "s3_bucket": bucket, "s3_key": manifest})
        with Watch(self.server, count) as watch:
            machine = self.machine(self.names.batch_workflow)
            arn = self.states.start_execution(stateMachineArn=machine, name=batch_id, input=data)["executionArn"]
            while (found := self.states.describe_execution(executionArn=arn))["status"] == "RUNNING":
                time.sleep(0.02)
        summary = json.loads(output_of(found))
        if summary["passed"] + summary["needs_review"] != count:
            sys.exit(f"a batch of {count} images ended as {summary}")
        return {
            "items": count,
            "batch_id": batch_id,
            "ms_per_item": round(watch.wall_s * 1000 / count, 2),
            "review_share": round(summary["needs_review"] / count, 2),
            **watch.figures(),
        }


def output_of(execution: dict[str, Any]) -> str:
    if execution["status"] != "SUCCEEDED":
        sys.exit(f"an execution ended as {execution}")
    return str(execution["output"])


def server_process() -> psutil.Process:
    from local_account.server import control

    running = control.status(Path(os.environ["SCONES_HOME"]) / "account")
    assert running, "the account that was reached has ended"  # noqa: S101  # a benchmark
    return psutil.Process(running.pid)


def report(found: Figures) -> str:
    def cpu(figures: Figures) -> str:
        parts = figures["cpu_ms"]
        split = ", ".join(f"{name} {parts[name]}" for name in ("account", "functions", "model"))
        return f"CPU {parts['all']:6.2f} ms ({split}; client {parts['client']}); others {figures['others_share']:.0%}"

    rows = [
        ("one after the other", f"p50 {found['sequential']['p50_ms']} ms, p95 {found['sequential']['p95_ms']} ms"),
        (f"{CLIENTS} clients", f"{found['concurrent']['executions_per_s']} /s"),
        (f"{CLIENTS} clients, Express", f"{found['express']['executions_per_s']} /s"),
        *((f"batch of {figures['items']}", f"{figures['ms_per_item']} ms an image") for figures in found["batch"]),
    ]
    reviewed = found["batch"][-1]["review_share"]
    measured = [found["sequential"], found["concurrent"], found["express"], *found["batch"]]
    return "\n".join(
        [
            *(f"{name:22}{text:28}{cpu(each)}" for (name, text), each in zip(rows, measured, strict=True)),
            "",
            *(f"{name:22}{found[name]:>8}   target: {target}" for name, target in TARGETS.items()),
            f"{'batch_gain_cpu':22}{found['batch_gain_cpu']:>8}   the same in processor time",
            f"{found['cores']} cores, load {found['load_at_start']} before; {reviewed:.0%} of the images to review",
        ]
    )


if __name__ == "__main__":
    main()
