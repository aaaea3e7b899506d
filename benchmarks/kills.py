"""What kills cost the stand-in account: ``python benchmarks/kills.py --kills 50``.

Runs on a laptop, on an account of its own in a temporary folder, for about ten seconds a kill. First the server is
killed (SIGKILL) under load at random moments of a seed and started again; then workers of functions, model servers and
jobs are, while executions, invocations and jobs go on. Prints the resets that were needed, the objects that were
damaged, what was lost and how old it was when the server died, and how what was hit ended. Exit code 1 when a reset was
needed, an object was damaged, something older than the stated bound was lost, or an end was not said.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from local_account.base.errors import AccountError
from local_account.server import control

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.account import ROLE, client, make_role, zipped  # the path above comes first
from benchmarks.loop import free_port  # the path above comes first
from benchmarks.updates import archive  # the path above comes first

LOAD_S = (1.0, 6.0)  # between the start and the kill
THREADS = 2  # for each kind of write
BUCKET = "killed"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/benchmark:1"
PATIENCE_S = 300.0  # until what was hit has to have ended
MODEL = """
def model_fn(model_dir):
    return "here"

def transform_fn(model, body, content_type, accept):
    return model, "text/plain"
"""
MACHINE = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}
# What a child of the server is, by its command line.
CHILDREN = {"worker": "lambda_worker.py", "model server": "model_server.py", "job": "of-a-killed-job"}


@dataclass(frozen=True)
class Written:
    """A write that was acknowledged, and when."""

    kind: str
    name: str
    digest: str
    at: float


@dataclass
class Tally:
    """What the kills cost."""

    kills: int = 0
    resets: int = 0
    acknowledged: int = 0
    lost: list[float] = field(default_factory=list)
    """How many seconds before the kill each lost write was acknowledged."""
    stated: list[float] = field(default_factory=list)
    """What the account said before each kill that one costs at most, in seconds."""
    late: int = 0
    """How many of those that were lost were older than that."""
    damaged: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    hit: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def report(self) -> str:
        oldest = f", the oldest {max(self.lost):.2f} s before the kill" if self.lost else ""
        return "\n".join(
            (
                f"{self.kills} kills of the account: {self.resets} resets needed, {len(self.damaged)} objects damaged,",
                f"  {len(self.lost)} of {self.acknowledged} acknowledged writes lost{oldest}",
                f"  stated: {min(self.stated):g} to {max(self.stated):g} s; {self.late} lost that were older",
                f"{sum(self.hit.values())} kills of {dict(self.hit)}: {len(self.unsaid)} ends that are not said",
                f"  {dict(self.ended)}",
                *self.damaged,
                *self.unsaid,
            )
        )

    @property
    def failed(self) -> bool:
        return bool(self.resets or self.damaged or self.unsaid or self.late)


class Load:
    """Writes of several kinds, until the server is gone; what was acknowledged."""

    def __init__(self, url: str, seed: int) -> None:
        self.written: list[Written] = []
        self._random = random.Random(seed)  # noqa: S311  # a load, no secret
        self._threads: list[threading.Thread] = []
        s3, ssm = client(url, "s3"), client(url, "ssm")
        dynamodb, states = client(url, "dynamodb"), client(url, "stepfunctions")
        machine = "arn:aws:states:us-east-1:123456789012:stateMachine:killed"
        self._calls: dict[str, Callable[[str, bytes], Any]] = {
            "object": lambda name, body: s3.put_object(Bucket=BUCKET, Key=name, Body=body),
            "parameter": lambda name, body: ssm.put_parameter(Name=name, Value=digest(body), Type="String"),
            "item": lambda name, body: dynamodb.put_item(
                TableName=BUCKET, Item={"id": {"S": name}, "digest": {"S": digest(body)}}
            ),
            "execution": lambda name, body: states.start_execution(
                stateMachineArn=machine, name=name, input=json.dumps(digest(body))
            ),
        }

    def begin(self, round_number: int) -> None:
        for kind in self._calls:
            for thread in range(THREADS):
                prefix = f"r{round_number}-{thread}"
                own = random.Random(self._random.random())  # noqa: S311  # as above
                self._threads.append(threading.Thread(target=self._write, args=(kind, prefix, own)))
        for each in self._threads:
            each.start()

    def _write(self, kind: str, prefix: str, own: random.Random) -> None:
        for number in range(sys.maxsize):
            name, body = f"{prefix}-{number}", own.randbytes(own.randrange(1, 65_536))
            try:
                self._calls[kind](name, body)
            except (BotoCoreError, ClientError):  # the server was killed
                return
            self.written.append(Written(kind, name, digest(body), time.time()))

    def end(self) -> None:
        for each in self._threads:
            each.join()


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def prepare(url: str) -> None:
    make_role(url)
    client(url, "s3").create_bucket(Bucket=BUCKET)
    client(url, "dynamodb").create_table(
        TableName=BUCKET,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client(url, "stepfunctions").create_state_machine(name="killed", definition=json.dumps(MACHINE), roleArn=ROLE)


def found(url: str, written: Written) -> str | None:
    """The digest of what is kept of a write; None when nothing is."""
    if written.kind == "object":
        return digest(client_of(url, "s3").get_object(Bucket=BUCKET, Key=written.name)["Body"].read())
    if written.kind == "parameter":
        return str(client_of(url, "ssm").get_parameter(Name=written.name)["Parameter"]["Value"])
    if written.kind == "item":
        answer = client_of(url, "dynamodb").get_item(TableName=BUCKET, Key={"id": {"S": written.name}})
        return str(answer["Item"]["digest"]["S"]) if "Item" in answer else None
    arn = f"arn:aws:states:us-east-1:123456789012:execution:killed:{written.name}"
    execution = client_of(url, "stepfunctions").describe_execution(executionArn=arn)
    if execution["status"] == "RUNNING":
        raise RuntimeError(f"{arn} still runs, in a server that did not start it")
    return str(json.loads(execution["input"]))


_clients: dict[tuple[str, str], Any] = {}


def client_of(url: str, service: str) -> Any:
    """A client, made once."""
    if (url, service) not in _clients:
        _clients[url, service] = client(url, service)
    return _clients[url, service]


def check(url: str, kept: list[Written], killed_at: float, tally: Tally) -> list[Written]:
    """Count what is lost and damaged; what is there."""
    there = []
    for written in kept:
        try:
            now = found(url, written)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                tally.damaged.append(f"{written}: {error}")
                continue
            now = None
        except RuntimeError as error:
            tally.unsaid.append(str(error))
            continue
        if now is None:
            tally.lost.append(killed_at - written.at)
        elif now != written.digest:
            tally.damaged.append(f"{written}: holds {now}")
        else:
            there.append(written)
    return there


def kill_the_account(state: Path, kills: int, seed: int, tally: Tally, *, durable: bool) -> None:
    """Kill the server under load, start it again, and look at everything that it ever acknowledged."""
    moments, port = random.Random(seed), free_port()  # noqa: S311  # as above
    kept: list[Written] = []
    running = start(state, port, durable=durable)
    prepare(running.endpoint_url)
    for number in range(kills):
        load = Load(running.endpoint_url, moments.randrange(2**32))
        load.begin(number)
        time.sleep(moments.uniform(*LOAD_S))
        seen = control.status(state)
        tally.stated.append(seen.loss_s if seen else 0.0)
        killed_at = time.time()
        os.kill(running.pid, signal.SIGKILL)
        load.end()
        tally.kills += 1
        # What was answered while the signal was on its way counts as answered at the kill.
        tally.acknowledged += len(load.written)
        try:
            running = start(state, port, durable=durable)
        except AccountError as error:
            print(f"a reset is needed: {error}", file=sys.stderr)
            tally.resets += 1
            control.reset(state)
            running, kept = start(state, port, durable=durable), []
            prepare(running.endpoint_url)
            continue
        lost = len(tally.lost)
        kept = check(running.endpoint_url, kept + load.written, killed_at, tally)
        tally.late += sum(age > tally.stated[-1] for age in tally.lost[lost:])
        print(f"kill {number + 1}: {len(load.written)} acknowledged, {len(tally.lost) - lost} lost", file=sys.stderr)
    control.stop(state)


def start(state: Path, port: int, *, durable: bool = False) -> control.Status:
    running = control.start(state, port, durable=durable)
    os.environ.update(control.environment(state, port))
    return running


class Targets:
    """A function, an endpoint and jobs that go on, and what became of each call."""

    def __init__(self, url: str, tally: Tally) -> None:
        self._url, self._tally = url, tally
        self._stop = threading.Event()
        functions = client(url, "lambda")
        arn = functions.create_function(
            FunctionName="echo", Runtime="python3.11", Role=ROLE, Handler="echo.handler", Code={"ZipFile": zipped()}
        )["FunctionArn"]
        states = {"Call": {"Type": "Task", "Resource": arn, "End": True}}
        machine = {"StartAt": "Call", "States": states}
        self._machine = client(url, "stepfunctions").create_state_machine(
            name="called", definition=json.dumps(machine), roleArn=ROLE
        )["stateMachineArn"]
        self._endpoint()
        self._threads = [threading.Thread(target=each) for each in (self._execute, self._invoke, self._run_jobs)]

    def _endpoint(self) -> None:
        client(self._url, "s3").put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive(MODEL))
        sagemaker = client(self._url, "sagemaker")
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
        sagemaker.create_model(ModelName="killed", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variant = {
            "VariantName": "All",
            "ModelName": "killed",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        sagemaker.create_endpoint_config(EndpointConfigName="killed", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName="killed", EndpointConfigName="killed")
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="killed", WaiterConfig={"Delay": 1})

    @contextmanager
    def going_on(self) -> Iterator[None]:
        for each in self._threads:
            each.start()
        try:
            yield
        finally:
            self._stop.set()
            for each in self._threads:
                each.join()

    def _execute(self) -> None:
        states = client(self._url, "stepfunctions")
        while not self._stop.is_set():
            arn = states.start_execution(stateMachineArn=self._machine)["executionArn"]
            execution = self._settled(lambda arn=arn: states.describe_execution(executionArn=arn), "status", arn)
            self._count("execution", arn, execution.get("status", ""), execution.get("cause", ""))

    def _invoke(self) -> None:
        runtime = client(self._url, "sagemaker-runtime")
        while not self._stop.is_set():
            try:
                answer = runtime.invoke_endpoint(EndpointName="killed", Body=b"x")["Body"].read()
                self._count("invocation", "killed", "answered" if answer == b"here" else "Failed", "")
            except ClientError as error:
                self._count("invocation", "killed", "Failed", error.response["Error"]["Message"])

    def _run_jobs(self) -> None:
        sagemaker = client(self._url, "sagemaker")
        for number in range(sys.maxsize):
            if self._stop.is_set():
                return
            name = f"killed-{number}"
            code = "import time; time.sleep(1)"
            sagemaker.create_processing_job(
                ProcessingJobName=name,
                RoleArn=ROLE,
                AppSpecification={"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", code, CHILDREN["job"]]},
                ProcessingResources={
                    "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
                },
            )

            def look(name: str = name) -> Any:
                return sagemaker.describe_processing_job(ProcessingJobName=name)

            job = self._settled(look, "ProcessingJobStatus", name)
            self._count("job", name, job.get("ProcessingJobStatus", ""), job.get("FailureReason", ""))

    def _settled(self, look: Callable[[], Any], status: str, name: str) -> dict[str, Any]:
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            seen: dict[str, Any] = look()
            if seen[status] not in {"RUNNING", "InProgress"}:
                return seen
            time.sleep(0.02)
        self._tally.unsaid.append(f"{name} has not ended")
        return {}

    def _count(self, kind: str, name: str, status: str, why: str) -> None:
        self._tally.ended[f"{kind} {status}"] += 1
        if status in {"FAILED", "Failed"} and not why:
            self._tally.unsaid.append(f"{kind} {name} failed without a reason")


def kill_the_children(state: Path, kills: int, seed: int, tally: Tally) -> None:
    """Kill workers, model servers and jobs in turn, at random moments, while their work goes on."""
    moments = random.Random(seed)  # noqa: S311  # as above
    running = start(state, free_port())
    targets = Targets(running.endpoint_url, tally)
    server = psutil.Process(running.pid)
    with targets.going_on():
        while sum(tally.hit.values()) < kills:
            kind = list(CHILDREN)[sum(tally.hit.values()) % len(CHILDREN)]
            time.sleep(moments.uniform(0.2, 1.5))
            for victim in children(server, CHILDREN[kind])[:1]:
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
                    tally.hit[kind] += 1
    control.stop(state)


def children(server: psutil.Process, mark: str) -> list[psutil.Process]:
    there = []
    for process in server.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(mark in part for part in process.cmdline()):
                there.append(process)
    return there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of the account, and as many of its processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durable", action="store_true", help="with `scones account start --durable`")
    arguments = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="scones-kills-") as folder:
        state = Path(folder) / "account"
        kill_the_account(state, arguments.kills, arguments.seed, tally, durable=arguments.durable)
        kill_the_children(state, arguments.kills, arguments.seed, tally)
    print(tally.report())
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
