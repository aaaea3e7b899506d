"""Generated requests to every operation that the account answers, and what no service of AWS would answer to them.

That is a fault, an error that is none of the service's, a success that botocore cannot read.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_account.authority.requests import CLIENT_NAMES
from local_account.protocol.members import table_of
from local_account.protocol.service import Service
from local_account.server.application import Application
from tests.unit.protocol.walk_verdicts import Verdict, verdict
from tests.unit.protocol.walked_requests import Walk, WalkedRequest

if TYPE_CHECKING:
    from botocore.model import ServiceModel

HOST = "127.0.0.1:5055"  # nobody listens
ID = "123456789012"
TRUSTED = [f"{name}.amazonaws.com" for name in ("lambda", "states", "events", "scheduler", "sagemaker")]
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": TRUSTED}, "Action": "sts:AssumeRole"}]}
MACHINE = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
LOG_LINES = [{"timestamp": 1767225600000, "message": "hello"}]


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:us-east-1:{ID}:{resource}"


ROLE = f"arn:aws:iam::{ID}:role/there"
EVERYWHERE: dict[str, tuple[str, ...]] = {
    "[Rr]ole(Arn|ARN)?|.*RoleArn": (ROLE,),
    "[Rr]oleName": ("there",),
    "Bucket|S3Bucket|BucketName": ("there",),
    "QueueUrl": (f"http://{HOST}/{ID}/there", f"http://{HOST}/{ID}/none"),
    "TopicArn": (arn("sns", "there"), arn("sns", "none")),
    "TargetArn|Endpoint|SourceArn|Destination": (arn("sqs", "there"), arn("lambda", "function:there")),
    "stateMachineArn": (arn("states", "stateMachine:there"),),
    "FunctionName": ("there", arn("lambda", "function:there"), "none"),
    "EventSourceArn": (arn("sqs", "there"),),
    "AliasName": ("alias/there",),
    "KeyId|Key": ("there",),
    "logGroupIdentifier|logGroupIdentifiers": ("there",),
    "EventBusName": ("default",),
    "[Rr]esource(Arn|ARN)?|ResourceIdList": (ROLE,),
    "PolicyDocument|AssumeRolePolicyDocument|Policy|policyDocument|PolicyInputList": (json.dumps(TRUST),),
    "EventPattern": ('{"source": ["a"]}',),
    "Event": ("{}",),
    "definition": (MACHINE,),
    "input|output|Input|Detail": ("{}",),
    "ScheduleExpression": ("rate(5 minutes)",),
    "[Nn]ame|.*Name|Rule|Key|SecretId": ("there", "none", "other"),
    "Template(Body)?": ('{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}',),
    ".*U(RL|rl)": (
        "http://example.com/x",
        "https://there.s3.amazonaws.com/",
        f"http://{HOST}/there/there",
        "s3://there/x",
    ),
    ".*U(RI|ri)": ("s3://there/there", "s3://", "there"),
    "AttributeType|KeyType": ("S", "HASH"),
    "Statement": ("SELECT * FROM there",),
    "Runtime": ("python3.12",),
    "Handler": ("a.b",),
}
"""Values that are there, by the pattern of a member's name."""


@dataclass
class FrontDoor:
    """The account's front, called as the server calls it."""

    application: Application
    credentials: Credentials

    def send(self, request: WalkedRequest) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers and the body of an answer."""
        environ = self._environ(request)
        seen: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], _error: object = None, /) -> Any:
            seen.append((status, headers))
            return lambda _data: None

        body = b"".join(self.application(environ, start))
        status, headers = seen[-1]
        return int(status[:3]), {name.lower(): value for name, value in headers}, body

    def _environ(self, request: WalkedRequest) -> dict[str, Any]:
        signed = AWSRequest(request.method, f"http://{HOST}{request.path}", dict(request.headers), request.body)
        SigV4Auth(self.credentials, request.service, "us-east-1").add_auth(signed)
        path, _, query = request.path.partition("?")
        headers = {
            f"HTTP_{name.upper().replace('-', '_')}": on_the_wire(value) for name, value in signed.headers.items()
        }
        content_type = headers.pop("HTTP_CONTENT_TYPE", "")
        return {
            "REQUEST_METHOD": request.method, "PATH_INFO": unquote(path, "latin-1"), "QUERY_STRING": query,
            "REQUEST_URI": request.path, "RAW_URI": request.path, "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "5055",
            "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": HOST, "CONTENT_TYPE": content_type, "SCRIPT_NAME": "",
            "CONTENT_LENGTH": str(len(request.body)), "wsgi.input": io.BytesIO(request.body), "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr, "wsgi.version": (1, 0), "REMOTE_ADDR": "127.0.0.1", **headers,
        }  # fmt: skip


def on_the_wire(value: object) -> str:
    """A header as WSGI hands it out: its bytes as Latin-1."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.encode().decode("latin-1")


def prepare(door: FrontDoor) -> None:
    """Make what the values name: one thing of each kind, called ``there``."""
    policy = json.dumps(TRUST)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.py", "def b(event, context):\n    return event\n")
    attribute = [{"AttributeName": "there", "AttributeType": "S"}]
    hash_key = [{"AttributeName": "there", "KeyType": "HASH"}]
    target = {"Arn": arn("sqs", "there"), "RoleArn": ROLE}
    metric = {"Namespace": "there", "MetricName": "there", "Period": 60, "Statistic": "Sum"}
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("iam", "CreateRole", {"RoleName": "there", "AssumeRolePolicyDocument": policy}),
        ("iam", "CreateUser", {"UserName": "there"}),
        ("s3", "CreateBucket", {"Bucket": "there"}),
        ("s3", "PutObject", {"Bucket": "there", "Key": "there", "Body": b"content"}),
        ("sqs", "CreateQueue", {"QueueName": "there"}),
        ("sns", "CreateTopic", {"Name": "there"}),
        ("kms", "CreateKey", {}),
        ("logs", "CreateLogGroup", {"logGroupName": "there"}),
        ("logs", "CreateLogStream", {"logGroupName": "there", "logStreamName": "there"}),
        ("logs", "PutLogEvents", {"logGroupName": "there", "logStreamName": "there", "logEvents": LOG_LINES}),
        ("ssm", "PutParameter", {"Name": "there", "Value": "1", "Type": "String"}),
        ("dynamodb", "CreateTable", {
            "TableName": "there", "AttributeDefinitions": attribute, "KeySchema": hash_key,
            "BillingMode": "PAY_PER_REQUEST",
        }),
        ("lambda", "CreateFunction", {
            "FunctionName": "there", "Runtime": "python3.12", "Role": ROLE, "Handler": "a.b",
            "Code": {"ZipFile": archive.getvalue()}, "Publish": True,
        }),
        ("lambda", "CreateAlias", {"FunctionName": "there", "Name": "there", "FunctionVersion": "1"}),
        ("events", "PutRule", {"Name": "there", "EventPattern": '{"source": ["a"]}'}),
        ("scheduler", "CreateSchedule", {
            "Name": "there", "ScheduleExpression": "rate(5 minutes)", "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target, "State": "DISABLED",
        }),
        ("states", "CreateStateMachine", {"name": "there", "definition": MACHINE, "roleArn": ROLE}),
        ("monitoring", "PutMetricAlarm", {
            "AlarmName": "there", "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1,
            "Threshold": 1, **metric,
        }),
    )  # fmt: skip
    for service, operation, members in calls:
        status, _, body = door.send(written(service, operation, members))
        if status not in {200, 201}:
            raise RuntimeError(f"{service}'s {operation} answered {status}: {body.decode('utf-8', 'replace')}")


def written(service: str, operation: str, members: dict[str, Any]) -> WalkedRequest:
    """A request with these members."""
    walk = Walk(service, CLIENT_NAMES.get(service, service), {}, 0)
    return walk.written(operation, members)


def operations(application: Application, service: str, model: ServiceModel) -> list[str]:
    """What the service answers here."""
    own = application.own.get(service)
    if isinstance(own, Service):
        return sorted(own.actions)
    table = table_of(service)
    return sorted(table.acts) if table else sorted(model.operation_names)


def walk(
    application: Application, door: FrontDoor, seed: int, number: int, services: list[str]
) -> Iterator[Verdict | None]:
    """What is wrong with each answer to so many requests for each operation."""
    for service in services:
        made = Walk(service, CLIENT_NAMES.get(service, service), EVERYWHERE, seed)
        for operation in operations(application, service, made.model):
            for request in made.requests(operation, number):
                yield verdict(made.model, request, door.send(request))
