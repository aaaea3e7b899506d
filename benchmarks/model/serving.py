"""How fast a model is served: ``python -m benchmarks.model.serving [--model DIR] [--json FILE]``.

Runs on a laptop (Linux). Takes a folder with a training job's output (``--data`` as it was trained on), or trains two
epochs of the scratch recipe: as fast as one that is trained to the end; with ``--recipe pretrained`` the default
recipe, for photographs with ``--data ../shared/photos/flowers``. Measures the four functions in process, the
import, the stand-in account's model server over HTTP with its memory under large bodies, and the same through the
account's InvokeEndpoint. Every figure
is the best of several runs, because whatever else the machine does only makes it worse; the share of the cores that
others took is given with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_account.server import control

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.account import client  # the path above comes first
from benchmarks.loop import free_port  # the path above comes first
from benchmarks.model import bodies  # the path above comes first

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "local_account" / "sagemaker" / "endpoints" / "container" / "model_server.py"
START_TIMEOUT_S = 120.0
# What the account reads of a signature is the service's name.
IMPORT = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
import serving.inference
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
resident = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mib": resident}))
"""

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder with model.onnx, labels.json and code/ (default: train one)")
    parser.add_argument("--recipe", choices=("scratch", "pretrained"), default="scratch", help="of the model it trains")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32", help="likewise")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "cifar100", help="folder of the archive")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run over HTTP")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-serving-") as folder:
        figures = measure(arguments, Path(folder))
    for part, values in figures.items():
        print(f"{part:34}" + ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Figures]:
    """All figures, by part."""
    dataset = folder / "dataset"
    run("-m", "processing.filter_cifar", "--source", arguments.data, "--output", dataset)
    model = arguments.model
    if model is None:
        model = folder / "model"
        recipe = ("--epochs", 2) if arguments.recipe == "scratch" else ("--recipe", "pretrained")
        options = (*recipe, "--precision", arguments.precision)
        run("training/train.py", "--dataset", dataset, "--model-dir", model, *options)
    images = sorted((dataset / "test").glob("**/*.png"))
    one_image = json.loads(
        run("-m", "benchmarks.model.one_image", "--model", model, "--repeat", arguments.repeat, *images[:8])
    )
    figures: dict[str, Figures] = {f"in process: {name}": {"cpu_ms": value} for name, value in one_image.items()}
    figures["import"] = best([json.loads(run("-c", IMPORT)) for _ in range(arguments.repeat)], "wall_s")

    def load(process: psutil.Process, clients: int, *more: str) -> Figures:
        runs = [put_under_load(process, images, clients, arguments.seconds, *more) for _ in range(arguments.repeat)]
        return max(runs, key=lambda figures: figures["requests_per_second"])

    with model_server(model, folder) as (process, port):
        for clients in (1, arguments.clients):
            figures[f"http: {clients} clients"] = load(process, clients, "--port", str(port))
        figures[f"http: {bodies.CONNECTIONS} large bodies"] = bodies.memory(process, port)
    ratio = figures["http: 1 clients"]["server_cpu_ms"] / figures["in process: predict_fn"]["cpu_ms"]
    figures["http: CPU against the forward alone"] = {"times": ratio}
    with endpoint(model, folder) as (account, port, name):
        more = (
            "--port",
            str(port),
            "--path",
            f"/endpoints/{name}/invocations",
            *signed_headers(f"/endpoints/{name}/invocations"),
        )
        for clients in (1, arguments.clients):
            figures[f"InvokeEndpoint: {clients} clients"] = load(account, clients, *more)
    return figures


def put_under_load(process: psutil.Process, images: list[Path], clients: int, seconds: float, *more: str) -> Figures:
    """One run of the lean client against a process and its children."""
    run("benchmarks/load.py", *more, "--clients", clients, "--seconds", 0.2, *images)  # warm, and every worker started
    processes = [process, *process.children(recursive=True)]
    machine, began = busy_s(), time.perf_counter()
    before = sum(map(cpu_s, processes))
    figures: Figures = json.loads(run("benchmarks/load.py", *more, "--clients", clients, "--seconds", seconds, *images))
    served = sum(map(cpu_s, processes)) - before
    took = time.perf_counter() - began
    everything = figures["requests"] + figures["warm_up_requests"]
    clients_s = everything * figures["client_cpu_ms"] / 1000
    others = busy_s() - machine - served - clients_s
    return {
        **{name: figures[name] for name in ("requests_per_second", "p50_ms", "p99_ms", "client_cpu_ms")},
        "server_cpu_ms": served / everything * 1000,
        "server_rss_mib": sum(process.memory_info().rss for process in processes) / 2**20,
        "others_share": max(0.0, others / took / (os.cpu_count() or 1)),
    }


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def busy_s() -> float:
    """CPU seconds that the whole machine has worked."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


@contextlib.contextmanager
def model_server(model: Path, folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The model server alone, with this checkout's serving code."""
    port_file = folder / "port"
    environment = {
        **os.environ,
        "SM_MODEL_DIR": str(model),
        "SAGEMAKER_SUBMIT_DIRECTORY": str(ROOT),
        "SAGEMAKER_PROGRAM": "serving/inference.py",
        "SAGEMAKER_BIND_TO_PORT": "0",
        "MODEL_SERVER_PORT_FILE": str(port_file),
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-P", str(SERVER)], env=environment, stdout=log, stderr=log)
    try:
        wait_for(port_file.exists, lambda: process.poll() is not None)
        yield psutil.Process(process.pid), int(port_file.read_text(encoding="utf-8"))
    finally:
        process.kill()
        process.wait()


def signed_headers(path: str) -> list[str]:
    """Options of the lean client: one signature for all bodies."""
    unsigned_body = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    request = AWSRequest("POST", f"http://127.0.0.1{path}", unsigned_body)
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(keys, "sagemaker", "us-east-1").add_auth(request)
    return [part for name, value in request.headers.items() for part in ("--header", f"{name}: {value}")]


@contextlib.contextmanager
def endpoint(model: Path, folder: Path) -> Iterator[tuple[psutil.Process, int, str]]:
    """An endpoint of a stand-in account of its own: the account's process, its port, the endpoint's name."""
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(model, arcname=".")
    port = free_port()
    running = control.start(folder / "account", port)
    try:
        os.environ.update(control.environment(running.state_dir, port))
        role = make_role(client(running.endpoint_url, "iam"))
        client(running.endpoint_url, "s3").create_bucket(Bucket="benchmark")
        client(running.endpoint_url, "s3").upload_file(str(folder / "model.tar.gz"), "benchmark", "model.tar.gz")
        sagemaker: Any = client(running.endpoint_url, "sagemaker")
        container = {"Image": "pytorch", "ModelDataUrl": "s3://benchmark/model.tar.gz"}
        sagemaker.create_model(ModelName="model", ExecutionRoleArn=role, PrimaryContainer=container)
        variant = {"VariantName": "all", "ModelName": "model", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName="config", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName="endpoint", EndpointConfigName="config")

        def status() -> str:
            return str(sagemaker.describe_endpoint(EndpointName="endpoint")["EndpointStatus"])

        wait_for(lambda: status() == "InService", lambda: status() == "Failed")
        yield psutil.Process(running.pid), port, "endpoint"
    finally:
        control.stop(folder / "account")


def make_role(iam: Any) -> str:
    """A role that the endpoint can read the model with; its ARN."""
    principal = {"Service": "sagemaker.amazonaws.com"}
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    reads = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "arn:aws:s3:::benchmark*"}
    role = iam.create_role(RoleName="benchmark", AssumeRolePolicyDocument=policy(trust))["Role"]
    iam.put_role_policy(RoleName="benchmark", PolicyName="own", PolicyDocument=policy(reads))
    return str(role["Arn"])


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def wait_for(ready: Callable[[], bool], failed: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if failed() or time.monotonic() > deadline:
            sys.exit("the model server did not start: does the folder hold model.onnx, labels.json and code/?")
        time.sleep(0.05)


def best(runs: list[Figures], name: str) -> Figures:
    return min(runs, key=lambda figures: figures[name])


def run(*arguments: object) -> str:
    finished = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        sys.exit(f"{arguments[0]} {arguments[1]} failed: {finished.stderr.strip()[-500:]}")
    return finished.stdout


if __name__ == "__main__":
    main()
