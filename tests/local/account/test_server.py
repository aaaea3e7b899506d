"""The server's front: protocols of errors, signatures, connections, what a browser may not do, S3 over the wire."""

from __future__ import annotations

import gzip
import http.client
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local_account.authority.owner import owner_keys
from tests.local.conftest import RunningAccount, free_port
from tests.local.foreign_functions import Workshop
from tests.local.sagemaker_requests import job_log, processing_arguments, wait_for_job


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("kinesis", "list_streams", {}),  # JSON
        ("elbv2", "describe_load_balancers", {}),  # query
        ("ec2", "describe_instances", {}),  # EC2's own
        ("batch", "describe_job_queues", {}),  # REST with JSON
        ("route53", "list_hosted_zones", {}),  # REST with XML
        ("cloudwatch", "list_metric_streams", {}),  # CBOR
        ("ssm", "list_associations", {}),
        ("iam", "get_access_key_last_used", {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}),
        ("lambda", "list_capacity_providers", {}),
        ("sagemaker", "list_apps", {}),
        ("cloudformation", "describe_type", {}),
        ("s3", "list_bucket_analytics_configurations", {"Bucket": "no-such-bucket-here"}),
    ],
)
def test_what_is_not_implemented_is_a_client_error(
    account: RunningAccount, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as raised:
        getattr(account.client(service), operation)(**arguments)
    answer = raised.value.response
    assert answer["Error"]["Code"]
    assert 400 <= answer["ResponseMetadata"]["HTTPStatusCode"] < 600
    if service != "iam":  # which knows the action and misses the key
        assert "does not implement" in answer["Error"]["Message"]


def test_many_calls_share_a_connection(account: RunningAccount) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", account.port)
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/_account/health")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        assert connection.sock is not None
        sockets.add(connection.sock.getsockname())
    connection.close()
    assert len(sockets) == 1


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://example.com"}, {"Host": "rebound.example.com"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_web_page_cannot_call_the_account(account: RunningAccount, headers: dict[str, str]) -> None:
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sts/aws4_request, Signature=0"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    request = urllib.request.Request(  # noqa: S310  # ours
        account.endpoint_url, data=b"Action=GetCallerIdentity&Version=2011-06-15", headers=signed | form | headers
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310
    assert raised.value.code == 403
    assert "not web pages" in raised.value.read().decode()
    assert "access-control-allow-origin" not in {name.lower() for name in raised.value.headers}
    raised.value.close()


def test_an_address_alone_changes_nothing_and_tells_a_page_nothing(account: RunningAccount) -> None:
    keys = owner_keys(account.state_dir)
    topic = AWSRequest("GET", f"{account.endpoint_url}/?Action=CreateTopic&Name=of-a-page&Version=2010-03-31")
    SigV4QueryAuth(Credentials(keys.access_key, keys.secret_key), "sns", "us-east-1").add_auth(topic)
    connection = http.client.HTTPConnection("127.0.0.1", account.port, timeout=10)
    connection.request("GET", topic.url.removeprefix(account.endpoint_url))
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 404
    assert "of-a-page" not in str(account.client("sns").list_topics())
    connection.request("GET", "/_account/health", headers={"Host": "rebound.example.com"})
    answer = connection.getresponse()
    assert answer.status == 403
    assert str(account.state_dir).encode() not in answer.read()
    connection.close()


def test_a_body_that_breaks_off_is_not_stored(account: RunningAccount) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="server-broken-off")
    address = urlsplit(s3.generate_presigned_url("put_object", {"Bucket": "server-broken-off", "Key": "part"}))
    head = f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
    for rest in ("Content-Length: 1000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3e8\r\nabc"):
        with socket.create_connection(("127.0.0.1", account.port), timeout=10) as client:
            client.sendall((head + rest).encode())
            client.shutdown(socket.SHUT_WR)
            assert b"200 OK" not in client.recv(1000)
    assert "Contents" not in s3.list_objects_v2(Bucket="server-broken-off")


def test_requests_without_a_signature_are_refused(account: RunningAccount) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{account.endpoint_url}/moto-api/data.json", timeout=10)  # noqa: S310
    assert raised.value.code == 403
    assert "scones account env" in raised.value.read().decode()
    raised.value.close()


def test_objects_come_back_byte_by_byte(account: RunningAccount) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="server-objects")
    content = os.urandom(300_000)
    for key, body in {"plain": content, "empty": b"", "odd name ü+%/.txt": b"text"}.items():
        s3.put_object(Bucket="server-objects", Key=key, Body=body, Metadata={"with_underscore": "kept"})
        found = s3.get_object(Bucket="server-objects", Key=key)
        assert found["Body"].read() == body
        assert found["Metadata"] == {"with_underscore": "kept"}
        assert s3.head_object(Bucket="server-objects", Key=key)["ContentLength"] == len(body)
    s3.put_object(Bucket="server-objects", Key="packed", Body=gzip.compress(b"text"), ContentEncoding="gzip")
    assert gzip.decompress(s3.get_object(Bucket="server-objects", Key="packed")["Body"].read()) == b"text"
    part = s3.get_object(Bucket="server-objects", Key="plain", Range="bytes=1000-1999")
    assert part["Body"].read() == content[1000:2000]
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    suffix = s3.get_object(Bucket="server-objects", Key="plain", Range="bytes=-7")
    assert suffix["Body"].read() == content[-7:]
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="server-objects", Key="missing")


def test_a_multipart_upload_is_one_object(account: RunningAccount, tmp_path: Path) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="server-multipart")
    content = os.urandom(11_000_000)  # two parts of boto3's 8 MiB
    s3.upload_fileobj(io.BytesIO(content), "server-multipart", "large")
    assert s3.head_object(Bucket="server-multipart", Key="large")["ETag"].endswith('-2"')
    s3.download_file("server-multipart", "large", str(tmp_path / "large"))
    assert (tmp_path / "large").read_bytes() == content
    s3.copy_object(Bucket="server-multipart", Key="copy", CopySource="server-multipart/large")
    assert s3.get_object(Bucket="server-multipart", Key="copy")["Body"].read() == content


def test_presigned_addresses_work_both_ways(account: RunningAccount) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="server-presigned")
    place = {"Bucket": "server-presigned", "Key": "it"}
    put = urllib.request.Request(s3.generate_presigned_url("put_object", place), data=b"sent", method="PUT")  # noqa: S310
    urllib.request.urlopen(put, timeout=10).close()  # noqa: S310
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", place), timeout=10) as answer:  # noqa: S310
        assert answer.read() == b"sent"


def test_clients_at_once_do_not_disturb_each_other(account: RunningAccount) -> None:
    ssm = account.client("ssm")
    ssm.put_parameter(Name="/server/busy", Value="still here", Type="String")
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(20):
            value = ssm.get_parameter(Name="/server/busy")["Parameter"]["Value"]
            if value != "still here":
                wrong.append(value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _run_server(port: int, state_dir: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local_account", "--port", str(port), "--state", str(state_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_second_account_on_the_same_state_is_refused_in_one_line(account: RunningAccount) -> None:
    refused = _run_server(free_port(), account.state_dir)
    assert refused.returncode != 0
    assert re.fullmatch(r"local_account: another account already runs on .*\n", refused.stderr)


def test_a_port_in_use_is_named_in_one_line(account: RunningAccount, tmp_path: Path) -> None:
    refused = _run_server(account.port, tmp_path / "state")
    assert refused.returncode != 0
    assert re.fullmatch(rf"local_account: port {account.port} on 127.0.0.1 cannot be used .*\n", refused.stderr)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_process_outlives_the_server(fresh_account: Callable[..., RunningAccount], how: str) -> None:
    running = fresh_account()
    shop = Workshop(running)
    shop.invoke(shop.function("def handler(event, context):\n    return 'warm'\n"))
    children = psutil.Process(running.process.pid).children(recursive=True)
    assert children
    getattr(running, how)()
    deadline = time.monotonic() + 10
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, f"still running: {children}"
        time.sleep(0.05)


def test_stopping_ends_with_success_and_says_so(fresh_account: Callable[..., RunningAccount]) -> None:
    running = fresh_account()
    assert running.stop() == 0
    assert "stopped" in running.log


def test_the_plain_aws_command_line_works(account: RunningAccount) -> None:
    account.client("s3").create_bucket(Bucket="server-cli")
    aws = Path(sys.executable).with_name("aws")

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, str(aws), *arguments],
            env=account.environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    assert "server-cli" in run("s3", "ls")
    assert "Endpoints" in run("sagemaker", "list-endpoints")
    assert "stateMachines" in run("stepfunctions", "list-state-machines")


def test_the_users_profile_and_configuration_do_not_reach_the_account(
    fresh_account: Callable[..., RunningAccount], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "config"
    configuration.write_text("[default]\nretry_mode = nonsense\nendpoint_url = http://127.0.0.1:9\n")
    for name, value in {"PROFILE": "missing", "CONFIG_FILE": str(configuration), "SESSION_TOKEN": "secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    running = fresh_account()
    monkeypatch.undo()
    assert running.client("stepfunctions").list_state_machines()["stateMachines"] == []
    running.client("s3").create_bucket(Bucket="users-settings")
    request = processing_arguments("import os; print(dict(os.environ))", inputs={"all": "s3://users-settings/"})
    running.client("s3").put_object(Bucket="users-settings", Key="a", Body=b"1")
    running.client("sagemaker").create_processing_job(ProcessingJobName="environment", **request)
    assert wait_for_job(running, "Processing", "environment")["ProcessingJobStatus"] == "Completed"
    assert "secret" not in "".join(job_log(running, "Processing", "environment"))
