"""Measure the memory that hostile input takes of the stand-in account: a zip that unpacks to 1.4 GB, half requests.

    python benchmarks/archives.py [--server MODEL_SERVER.py]

Starts an account of its own and a model server, prints MiB before, at the peak, and afterwards. Linux only.
"""

from __future__ import annotations

import argparse
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import boto3

ZEROS_MIB = 1400
CONNECTIONS, BODY_BYTES = 60, 6_000_000
TRUST = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": \
"codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
ALLOW = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
SCRIPT = """
def model_fn(folder): return len
def input_fn(body, content_type): return body
def output_fn(prediction, accept): return str(prediction)
"""


def memory_mib(pid: int, name: str) -> float:
    """``VmRSS``, or ``VmHWM`` for the peak, of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def small_zip() -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros", "w", force_zip64=True) as file,
    ):
        for _ in range(ZEROS_MIB):
            file.write(bytes(2**20))
    return buffer.getvalue()


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def measure_build(folder: Path) -> None:
    """One build whose source is the zip."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "local_account", "--port", str(port), "--state", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        until(lambda: answers(port))
        session = boto3.Session("local", "local", region_name="us-east-1")
        s3, iam, codebuild = (
            session.client(name, endpoint_url=f"http://127.0.0.1:{port}") for name in ("s3", "iam", "codebuild")
        )
        s3.create_bucket(Bucket="sources")
        content = small_zip()
        s3.put_object(Bucket="sources", Key="a.zip", Body=content)
        role = iam.create_role(RoleName="build", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        iam.put_role_policy(RoleName="build", PolicyName="all", PolicyDocument=ALLOW)
        codebuild.create_project(
            name="zip",
            source={"type": "S3", "location": "sources/a.zip"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
            serviceRole=role,
        )
        before = memory_mib(server.pid, "VmHWM")
        build = codebuild.start_build(projectName="zip")["build"]["id"]
        until(lambda: codebuild.batch_get_builds(ids=[build])["builds"][0]["buildComplete"])
        after = memory_mib(server.pid, "VmHWM"), memory_mib(server.pid, "VmRSS")
        print(f"zip of {len(content):,} bytes: before {before:.0f}, peak {after[0]:.0f}, afterwards {after[1]:.0f} MiB")
        server.terminate()


def measure_half_requests(program: Path, folder: Path) -> None:
    """Half of a body on each of many connections, which then go away."""
    (folder / "inference.py").write_text(SCRIPT)
    port_file = folder / "port"
    environment = {
        **os.environ,
        "SM_MODEL_DIR": str(folder),
        "SAGEMAKER_SUBMIT_DIRECTORY": str(folder),
        "SAGEMAKER_BIND_TO_PORT": "0",
        "MODEL_SERVER_PORT_FILE": str(port_file),
    }
    with subprocess.Popen([sys.executable, "-P", str(program)], env=environment, stdout=subprocess.DEVNULL) as server:
        until(port_file.exists)
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES}\r\n\r\n".encode()
        before = memory_mib(server.pid, "VmRSS")
        connections = [socket.create_connection(("127.0.0.1", int(port_file.read_text()))) for _ in range(CONNECTIONS)]
        for sent in (head + bytes(BODY_BYTES - 1), b"x"):
            for connection in connections:
                connection.sendall(sent)
            time.sleep(2)
            print(f"{CONNECTIONS} requests, {'whole' if sent == b'x' else 'all but a byte'}: ", end="")
            print(f"before {before:.0f}, then {memory_mib(server.pid, 'VmRSS'):.0f} MiB")
        for connection in connections:
            connection.close()
        time.sleep(3)
        print(f"their connections closed: {memory_mib(server.pid, 'VmRSS'):.0f} MiB")
        server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[1] / "local_account" / "sagemaker" / "endpoints" / "model_server.py"
    parser.add_argument("--server", type=Path, default=default, help="another version of the model server")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("account", "model"):
            Path(scratch, name).mkdir()
        measure_half_requests(arguments.server, Path(scratch, "model"))
        measure_build(Path(scratch, "account"))


if __name__ == "__main__":
    main()
