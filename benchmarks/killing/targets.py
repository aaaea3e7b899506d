"""A function, an endpoint and jobs that go on while their processes are killed."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import psutil
from botocore.exceptions import ClientError

from benchmarks.account import ROLE, client, zipped
from benchmarks.killing.load import BUCKET, KillTally
from benchmarks.updates import archive

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/benchmark:1"
PATIENCE_S = 300.0  # until what was hit has to have ended
MODEL = """
def model_fn(model_dir):
    return "here"

def transform_fn(model, body, content_type, accept):
    return model, "text/plain"
"""
# What a child of the server is, by its command line.
CHILDREN = {"worker": "functions/worker.py", "model server": "model_server.py", "job": "of-a-killed-job"}


class Targets:
    """A function, an endpoint and jobs that go on, and what became of each call."""

    def __init__(self, url: str, tally: KillTally) -> None:
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
        """Execute, invoke and run jobs without a pause while the block runs."""
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

            def look(name: str = name) -> Mapping[str, str]:
                return sagemaker.describe_processing_job(ProcessingJobName=name)

            job = self._settled(look, "ProcessingJobStatus", name)
            self._count("job", name, job.get("ProcessingJobStatus", ""), job.get("FailureReason", ""))

    def _settled(self, look: Callable[[], Mapping[str, str]], status: str, name: str) -> Mapping[str, str]:
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            seen = look()
            if seen[status] not in {"RUNNING", "InProgress"}:
                return seen
            time.sleep(0.02)
        self._tally.unsaid.append(f"{name} has not ended")
        return {}

    def _count(self, kind: str, name: str, status: str, why: str) -> None:
        self._tally.ended[f"{kind} {status}"] += 1
        if status in {"FAILED", "Failed"} and not why:
            self._tally.unsaid.append(f"{kind} {name} failed without a reason")


def children(server: psutil.Process, mark: str) -> list[psutil.Process]:
    """Return the server's processes with ``mark`` in their command line."""
    there = []
    for process in server.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(mark in part for part in process.cmdline()):
                there.append(process)
    return there
