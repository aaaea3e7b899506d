"""Requests that fail while an endpoint of the stand-in account is updated again and again.

Runs on a laptop: ``python benchmarks/updates.py``. Starts an account in a temporary folder, sends requests from four
threads without a pause, and meanwhile updates the endpoint twenty times: all at once, in steps, by a canary, rolling,
and every fifth time to a model that does not start, which is rolled back. Prints what became of the requests; exit
code 1 when one failed.
"""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local_account.server import control

UPDATES = 20
CLIENTS = 4
TIME_SCALE = 60.0
NAME = "updated"
ROLE = "arn:aws:iam::123456789012:role/benchmark"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/benchmark:1"
SCRIPT = """
def model_fn(model_dir):
    {}

def transform_fn(model, body, content_type, accept):
    return "{}", "text/plain"
"""
HALF = {"Type": "CAPACITY_PERCENT", "Value": 50}
WAIT = {"WaitIntervalInSeconds": 20}
POLICIES: tuple[dict[str, Any], ...] = (
    {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", **WAIT}}},
    {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "LINEAR", "LinearStepSize": HALF, **WAIT}}},
    {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "CANARY", "CanarySize": HALF, **WAIT}}},
    {"RollingUpdatePolicy": {"MaximumBatchSize": HALF, **WAIT}},
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="scones-updates-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        running = control.start(Path(folder) / "account", port, time_scale=TIME_SCALE)
        try:
            os.environ.update(control.environment(running.state_dir, port))
            failed = measure(running.endpoint_url)
        finally:
            control.stop(running.state_dir)
    sys.exit(1 if failed else 0)


def client(url: str, service: str) -> Any:
    session: Any = boto3.Session()
    return session.client(service, endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


def measure(url: str) -> int:
    """Print the figures; the number of requests that failed."""
    sagemaker, runtime = client(url, "sagemaker"), client(url, "sagemaker-runtime")
    client(url, "s3").create_bucket(Bucket=NAME)
    make_role(url)
    for name, body in (("one", "return None"), ("two", "return None"), ("broken", "raise OSError('no weights')")):
        make_config(url, name, SCRIPT.format(body, name))
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName="one")
    settled(sagemaker)
    answers: Counter[str] = Counter()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers[runtime.invoke_endpoint(EndpointName=NAME, Body=b"?")["Body"].read().decode()] += 1
            except Exception as error:  # every failure counts, whatever it is
                answers[f"failed: {error}"] += 1

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(CLIENTS):
            pool.submit(ask)
        outcomes = Counter(update(sagemaker, number) for number in range(UPDATES))
        stop.set()
    failures = sum(count for answer, count in answers.items() if answer.startswith("failed"))
    print(
        f"{outcomes['updated']} updates and {outcomes['rolled back']} rollbacks in {time.perf_counter() - began:.0f} s"
    )
    print(f"{answers.total()} requests, {failures} failed: {dict(answers)}")
    return failures


def update(sagemaker: Any, number: int) -> str:
    """One update; what became of it."""
    current = sagemaker.describe_endpoint(EndpointName=NAME)["EndpointConfigName"]
    wanted = "broken" if number % 5 == 4 else {"one": "two", "two": "one"}[current]
    policy = POLICIES[number % len(POLICIES)]
    sagemaker.update_endpoint(EndpointName=NAME, EndpointConfigName=wanted, DeploymentConfig=policy)
    return "updated" if settled(sagemaker)["EndpointConfigName"] == wanted else "rolled back"


def settled(sagemaker: Any) -> dict[str, Any]:
    while (found := sagemaker.describe_endpoint(EndpointName=NAME))["EndpointStatus"] != "InService":
        if found["EndpointStatus"] == "Failed":
            sys.exit(f"the endpoint did not start: {found['FailureReason']}")
        time.sleep(0.05)
    return dict(found)


def make_role(url: str) -> None:
    """The role of the models: it reads the archives."""
    iam = client(url, "iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    reads = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{NAME}/*"}
    role = ROLE.rpartition("/")[2]
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(trust))
    iam.put_role_policy(RoleName=role, PolicyName="archives", PolicyDocument=document(reads))


def document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def archive(script: str) -> bytes:
    """A model archive of one script."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(script.encode())
        tar.addfile(member, io.BytesIO(script.encode()))
    return stream.getvalue()


def make_config(url: str, name: str, script: str) -> None:
    """A model of ``script`` and a configuration of two instances, both called ``name``."""
    client(url, "s3").put_object(Bucket=NAME, Key=f"{name}.tar.gz", Body=archive(script))
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{NAME}/{name}.tar.gz"}
    sagemaker = client(url, "sagemaker")
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


if __name__ == "__main__":
    main()
