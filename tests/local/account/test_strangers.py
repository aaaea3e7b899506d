"""Other logins of the machine reach the account's ports, and are refused at every one of them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local_account.authority.owner import owner_keys
from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop
from tests.local.foreign_models import Deployer
from tests.local.roles import make_role, trust

STRANGER = 65534
WHAT_TO_DO = 'run eval "$(scones account env)" in this shell first'
CALLS = {
    "sts": ("get_caller_identity", {}),  # query
    "sqs": ("list_queues", {}),  # JSON
    "cloudwatch": ("list_metrics", {}),  # CBOR
    "lambda": ("list_functions", {}),  # REST with JSON
    "s3": ("list_buckets", {}),  # REST with XML
    "sagemaker": ("list_models", {}),
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "any", "Body": b""}),
    "cloudformation": ("list_stacks", {}),
    "codebuild": ("list_projects", {}),
    "codepipeline": ("list_pipelines", {}),
    "application-autoscaling": ("describe_scalable_targets", {"ServiceNamespace": "sagemaker"}),
    "stepfunctions": ("list_state_machines", {}),
    "dynamodb": ("list_tables", {}),
    "iam": ("create_user", {"UserName": "stranger"}),
}


def client(account: RunningAccount, service: str, access_key: str, secret_key: str) -> Any:
    session = boto3.Session(access_key, secret_key, region_name="us-east-1")
    config = Config(retries={"total_max_attempts": 1}, proxies={}, parameter_validation=False)
    return session.client(service, endpoint_url=account.endpoint_url, config=config)


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize("kind", ["other keys", "the owner's access key, guessed secret"])
def test_who_has_not_the_owners_secret_is_refused_and_told_what_to_do(
    account: RunningAccount, service: str, kind: str
) -> None:
    access_key = "test" if kind == "other keys" else owner_keys(account.state_dir).access_key
    operation, arguments = CALLS[service]
    stranger = client(account, service, access_key, "test")
    with pytest.raises(ClientError) as raised:
        getattr(stranger, operation)(**arguments)
    stranger.close()
    answer = raised.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert WHAT_TO_DO in answer["Error"]["Message"]
    known = {"InvalidAccessKeyId", "InvalidClientTokenId"} if kind == "other keys" else {"SignatureDoesNotMatch"}
    assert answer["Error"]["Code"] in known


def _status(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_addresses_are_taken_when_the_owner_signed_them_and_only_as_signed(account: RunningAccount) -> None:
    account.client("s3").create_bucket(Bucket="of-the-owner")
    account.client("s3").put_object(Bucket="of-the-owner", Key="a b+ü", Body=b"1")
    keys = owner_keys(account.state_dir)
    path = f"/of-the-owner/{urllib.parse.quote('a b+ü')}"
    for signer in (S3SigV4QueryAuth, HmacV1QueryAuth):
        for secret_key, wanted in ((keys.secret_key, 200), ("guessed", 403)):
            request = AWSRequest("GET", account.endpoint_url + path)
            credentials = Credentials(keys.access_key, secret_key)
            place = ("s3", "us-east-1") if signer is S3SigV4QueryAuth else ()
            signer(credentials, *place).add_auth(request)
            address = urllib.parse.urlsplit(request.url)
            assert _status(account.port, "GET", f"{address.path}?{address.query}") == wanted
            assert _status(account.port, "DELETE", f"{address.path}?{address.query}") == 403
            assert _status(account.port, "GET", f"/of-the-owner/other?{address.query}") == 403


def test_an_iam_users_key_is_taken_until_it_is_switched_off(account: RunningAccount) -> None:
    iam = account.client("iam")
    iam.create_user(UserName="a-user")
    key = iam.create_access_key(UserName="a-user")["AccessKey"]
    user = client(account, "s3", key["AccessKeyId"], key["SecretAccessKey"])
    assert user.list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
    iam.update_access_key(UserName="a-user", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        user.list_buckets()
    user.close()


def test_a_roles_session_is_its_keys_and_its_token_together(account: RunningAccount) -> None:
    role = make_role(account, "of-a-session", trusted=trust(AWS="arn:aws:iam::123456789012:root"))
    given = account.client("sts").assume_role(RoleArn=role, RoleSessionName="of-a-test")["Credentials"]
    for secret_key, wanted in ((given["SecretAccessKey"], 200), ("guessed", 403)):
        request = AWSRequest("GET", f"{account.endpoint_url}/", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
        keys = Credentials(given["AccessKeyId"], secret_key, given["SessionToken"])
        SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
        assert _status(account.port, "GET", "/", **dict(request.headers)) == wanted


def test_the_owners_secret_is_the_users_alone_and_in_no_log(account: RunningAccount) -> None:
    keys = owner_keys(account.state_dir)
    assert (account.state_dir / "client" / "owner.json").stat().st_mode & 0o777 == 0o600
    assert keys.secret_key not in repr(keys)
    account.client("s3").list_buckets()
    with pytest.raises(ClientError):
        account.client("s3").list_objects_v2(Bucket="no-such-bucket-of-anybody")
    assert keys.secret_key not in account.log


@dataclass(frozen=True)
class Port:
    number: int
    process: str


def ports_of(account: RunningAccount) -> list[Port]:
    """Every port on which the account or a process that it started listens."""
    server = psutil.Process(account.process.pid)
    found = []
    for process in (server, *server.children(recursive=True)):
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.append(Port(connection.laddr.port, " ".join(process.cmdline())))
    return found


ATTACK = """
import encodings.idna, http.client, json, os, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
answers = {}
for port in map(int, sys.argv[2:]):
    for method, path, headers in (
        ("GET", "/", {}),
        ("GET", "/ping", {}),
        ("POST", "/invocations", {"Content-Type": "application/json"}),
        ("GET", "/2018-06-01/runtime/invocation/next", {}),
        ("POST", "/2018-06-01/runtime/invocation/1/response", {}),
        ("POST", "/_account/clock", {}),
        ("PUT", "/bucket-of-a-stranger", {}),
        ("CONNECT", "example.com:443", {}),
        ("POST", "/", {
            "X-Amz-Target": "AWSLambda.Invoke", "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request,"
            " SignedHeaders=host, Signature=0",
        }),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, b"{}", headers)
        answer = connection.getresponse()
        answers[f"{port} {method} {path}"] = answer.status
        connection.close()
try:
    answers["the secret"] = open(os.environ["SECRET"]).read()
except PermissionError:
    pass
print(json.dumps(answers))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_login_is_refused_at_every_port_that_the_account_opens(account: RunningAccount, tmp_path: Path) -> None:
    shop, deployer = Workshop(account), Deployer(account, "strangers")
    shop.invoke(shop.function("def handler(event, context):\n    return 1\n"))
    deployer.invoke(deployer.serve("attacked"))
    ports = ports_of(account)
    kinds = [kind for kind in ("local_account --port", "model_server.py") if any(kind in p.process for p in ports)]
    assert len(kinds) == 2
    assert len([port for port in ports if "local_account --port" in port.process]) == 2  # the Runtime API has its own
    command = [sys.executable, "-c", ATTACK, str(STRANGER), *(str(port.number) for port in ports)]
    secret = str(account.state_dir / "client" / "owner.json")
    done = subprocess.run(command, env={"SECRET": secret}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: dict[str, int] = json.loads(done.stdout)
    assert len(answers) >= 9 * len(ports)
    let_in = {what: status for what, status in answers.items() if status not in (403, 404, 405, 501)}
    assert let_in == {}
