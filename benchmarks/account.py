"""How fast the stand-in account is: ``python benchmarks/account.py``.

Runs on a laptop, with functions and a state machine of its own on an account of its own. Prints the start, the memory,
the rate of a trivial call, a warm invocation, and an execution of three functions; 50th percentiles, in one run.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

from local_account.server import control

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.loop import free_port  # the path above comes first

CALLS = 2000
EXECUTIONS = 200
CLIENTS = 8
ROLE = "arn:aws:iam::123456789012:role/benchmark"
ECHO = "def handler(event, context):\n    return event\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--durable", action="store_true", help="have every change on disk before it is answered")
    durable = parser.parse_args().durable
    with tempfile.TemporaryDirectory(prefix="scones-account-") as folder:
        state = Path(folder) / "account"
        began = time.perf_counter()
        running = control.start(state, free_port(), durable=durable)
        print(f"start to first answer         {time.perf_counter() - began:8.2f} s")
        try:
            os.environ.update(control.environment(state, running.port))
            measure(running.endpoint_url, psutil.Process(running.pid))
        finally:
            control.stop(state)


def measure(url: str, server: psutil.Process) -> None:
    """Every figure but the start."""
    clients = {name: client(url, name) for name in ("ssm", "lambda", "stepfunctions")}
    ssm = clients["ssm"]
    ssm.put_parameter(Name="value", Value="1", Type="String")
    time.sleep(3)  # the server goes on loading services for a moment
    print(f"memory after the start        {server.memory_info().rss / 2**20:8.0f} MiB")
    print(f"ssm get-parameter             {median_ms(lambda: ssm.get_parameter(Name='value'), 300):8.1f} ms")
    print(f"  from {CLIENTS} threads              {rate(lambda: ssm.get_parameter(Name='value'), CALLS):8.0f} calls/s")
    put = partial(ssm.put_parameter, Name="value", Value="2", Type="String", Overwrite=True)
    print(f"ssm put-parameter             {median_ms(put, 200):8.1f} ms")
    print(f"  from {CLIENTS} threads              {rate(put, 1000):8.0f} calls/s")
    make_role(url)
    functions = clients["lambda"]
    arn = functions.create_function(
        FunctionName="echo", Runtime="python3.12", Role=ROLE, Handler="echo.handler", Code={"ZipFile": zipped()}
    )["FunctionArn"]
    functions.invoke(FunctionName="echo", Payload=b"{}")
    print(f"invoke a warm function        {median_ms(lambda: functions.invoke(FunctionName='echo'), 300):8.1f} ms")
    execute = executor(clients["stepfunctions"], arn)
    execute()
    print(f"execute three functions       {median_ms(execute, 100):8.1f} ms")
    print(f"  from {CLIENTS} threads              {rate(execute, EXECUTIONS):8.0f} executions/s")
    print(f"memory at the end             {server.memory_info().rss / 2**20:8.0f} MiB")


def executor(states: Any, function: str) -> Callable[[], None]:
    """A function that runs a state machine of three invocations and waits for its end."""
    names = ("First", "Second", "Third")
    machine: dict[str, Any] = {"StartAt": names[0], "States": {}}
    for name, following in zip(names, [*names[1:], None], strict=True):
        place = {"Next": following} if following else {"End": True}
        machine["States"][name] = {"Type": "Task", "Resource": function, **place}
    arn = states.create_state_machine(name="three", definition=json.dumps(machine), roleArn=ROLE)["stateMachineArn"]

    def execute() -> None:
        execution = states.start_execution(stateMachineArn=arn, input='{"value": 1}')["executionArn"]
        while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.005)
        if found["status"] != "SUCCEEDED" or json.loads(found["output"]) != {"value": 1}:
            raise RuntimeError(f"an execution ended as {found}")

    return execute


def median_ms(call: Callable[[], object], times: int) -> float:
    """Median milliseconds of a call, one after the other."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def rate(call: Callable[[], object], times: int) -> float:
    """Calls a second from several threads at once."""
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(call) for _ in range(times)]:
            done.result()
    return times / (time.perf_counter() - began)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("echo.py", ECHO)
    return buffer.getvalue()


def make_role(url: str) -> None:
    """The role of everything that is measured; policies that are checked are part of what is measured."""
    services = ["lambda.amazonaws.com", "states.amazonaws.com", "sagemaker.amazonaws.com"]
    trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    actions = {
        "arn:aws:lambda:us-east-1:123456789012:function:*": "lambda:InvokeFunction",
        "arn:aws:logs:us-east-1:123456789012:log-group:/aws/*": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "arn:aws:states:us-east-1:123456789012:*": "states:*",
        "arn:aws:s3:::*": "s3:*",
    }
    statements = [{"Effect": "Allow", "Action": action, "Resource": arn} for arn, action in actions.items()]
    documents = [json.dumps({"Version": "2012-10-17", "Statement": found}) for found in ([trust], statements)]
    iam = client(url, "iam")
    iam.create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument=documents[0])
    iam.put_role_policy(RoleName=ROLE.rpartition("/")[2], PolicyName="measured", PolicyDocument=documents[1])


def client(url: str, service: str) -> Any:
    session = boto3.Session()
    return session.client(service, endpoint_url=url, config=Config(max_pool_connections=2 * CLIENTS))


if __name__ == "__main__":
    main()
