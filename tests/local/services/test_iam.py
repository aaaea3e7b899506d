"""Permissions: what a role's policies do not allow fails here as on AWS, at exactly the step that needs it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop, make_zip
from tests.local.foreign_models import IMAGE, archive
from tests.local.queues import Queue
from tests.local.roles import allow, document, make_role, trust
from tests.local.sagemaker_requests import ROLE, processing_arguments, wait_for_job

ACCOUNT = "123456789012"
HERE = f"us-east-1:{ACCOUNT}"
OWNER = f"arn:aws:iam::{ACCOUNT}:root"
LOGS = allow(["logs:CreateLogStream", "logs:PutLogEvents"], f"arn:aws:logs:{HERE}:log-group:*")
WHO_READS = """
import boto3, os
def handler(event, context):
    who = boto3.client("sts").get_caller_identity()["Arn"]
    body = boto3.client("s3").get_object(Bucket=event["bucket"], Key="in/x")["Body"].read()
    return {"who": who, "body": body.decode()}
"""


def name(kind: str) -> str:
    return f"iam-{kind}-{uuid4().hex[:8]}"


def set_policy(account: RunningAccount, role_arn: str, *statements: dict[str, Any]) -> None:
    account.client("iam").put_role_policy(
        RoleName=role_arn.rpartition("/")[2], PolicyName="own", PolicyDocument=document(*statements)
    )


def denied(action: str, resource: str) -> str:
    """The end of AWS's usual message (IAM User Guide, access denied error messages)."""
    return (
        f"is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the "
        f"{action} action"
    )


@pytest.fixture(scope="module")
def bucket(account: RunningAccount) -> str:
    made = name("bucket")
    account.client("s3").create_bucket(Bucket=made)
    account.client("s3").put_object(Bucket=made, Key="in/x", Body=b"text")
    return made


class Assumed:
    """A role that the owner has assumed, and clients that call as it."""

    def __init__(self, account: RunningAccount, *statements: dict[str, Any], **options: Any) -> None:
        self.account = account
        self.role = make_role(account, name("role"), *statements, trusted=trust(AWS=OWNER))
        answer = account.client("sts").assume_role(RoleArn=self.role, RoleSessionName="tester", **options)
        self.credentials = answer["Credentials"]
        self.clients: list[Any] = []

    def client(self, service: str, token: str = "") -> Any:
        given = self.credentials
        session = boto3.Session(
            given["AccessKeyId"], given["SecretAccessKey"], token or given["SessionToken"], region_name="us-east-1"
        )
        self.clients.append(session.client(service, endpoint_url=self.account.endpoint_url))
        return self.clients[-1]

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def assume(account: RunningAccount) -> Iterator[Callable[..., Assumed]]:
    made: list[Assumed] = []

    def make(*statements: dict[str, Any], **options: Any) -> Assumed:
        made.append(Assumed(account, *statements, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Code and message of a call that has to fail."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error: Any = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_assumed_role_is_known_by_its_session(account: RunningAccount, assume: Callable[..., Assumed]) -> None:
    one = assume(allow("sts:Nothing", "*"))
    identity = one.client("sts").get_caller_identity()
    role = account.client("iam").get_role(RoleName=one.role.rpartition("/")[2])["Role"]
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/tester"
    assert identity["UserId"] == f"{role['RoleId']}:tester"
    assert refusal(one.client("sts", token="another").get_caller_identity)[0] == "InvalidClientTokenId"


def test_a_role_is_assumed_only_by_whom_its_trust_policy_names(account: RunningAccount) -> None:
    role = make_role(account, name("trusting"), trusted=trust("lambda"))
    code, message = refusal(account.client("sts").assume_role, RoleArn=role, RoleSessionName="tester")
    assert (code, message.endswith(f"sts:AssumeRole on resource: {role}")) == ("AccessDenied", True)


TOPIC = f"arn:aws:sns:{HERE}:t"
ENDPOINT = f"arn:aws:sagemaker:{HERE}:endpoint/e"
METRIC = {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 1}]}
# Service, call, its arguments, action, resource; the code where it is not AccessDeniedException.
REFUSED = [
    ("s3", "put_object", {"Bucket": "refusing", "Key": "k"}, "s3:PutObject", "arn:aws:s3:::refusing/k", "AccessDenied"),
    ("s3", "list_objects_v2", {"Bucket": "refusing"}, "s3:ListBucket", "arn:aws:s3:::refusing", "AccessDenied"),
    ("sns", "publish", {"TopicArn": TOPIC, "Message": "m"}, "sns:Publish", TOPIC, "AuthorizationError"),
    ("sqs", "list_queues", {}, "sqs:ListQueues", "*", "AccessDenied"),
    ("cloudwatch", "put_metric_data", METRIC, "cloudwatch:PutMetricData", "*", "AccessDenied"),
    ("ssm", "get_parameter", {"Name": "/p"}, "ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/p"),
    ("lambda", "invoke", {"FunctionName": "f"}, "lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f"),
    ("stepfunctions", "list_state_machines", {}, "states:ListStateMachines", "*"),
    ("sagemaker", "describe_endpoint", {"EndpointName": "e"}, "sagemaker:DescribeEndpoint", ENDPOINT),
    ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e"}, "sagemaker:InvokeEndpoint", ENDPOINT),
]


@pytest.mark.parametrize("case", REFUSED, ids=[f"{case[0]}-{case[1]}" for case in REFUSED])
def test_each_protocol_refuses_in_its_own_shape(
    account: RunningAccount, assume: Callable[..., Assumed], case: tuple[Any, ...]
) -> None:
    account.client("s3").create_bucket(Bucket="refusing")  # does nothing where it exists
    service, call, arguments, action, resource, *code = case
    client = assume(allow("sts:Nothing", "*")).client(service)
    found, message = refusal(getattr(client, call), **arguments, **({"Body": b""} if "invoke_" in call else {}))
    assert [found] == (code or ["AccessDeniedException"])
    assert message.startswith(f"User: arn:aws:sts::{ACCOUNT}:assumed-role/")
    assert message.endswith(denied(action, resource))


def test_a_change_of_a_policy_counts_at_once(
    account: RunningAccount, assume: Callable[..., Assumed], bucket: str
) -> None:
    reading = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*")
    one = assume(reading)
    s3 = one.client("s3")
    assert s3.get_object(Bucket=bucket, Key="in/x")["Body"].read() == b"text"
    # Who may not list the bucket is not told that an object is missing.
    assert refusal(s3.get_object, Bucket=bucket, Key="in/none")[0] == "AccessDenied"
    listing = allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", StringEquals={"s3:prefix": "in/"})
    set_policy(account, one.role, reading, listing)
    assert s3.list_objects_v2(Bucket=bucket, Prefix="in/")["KeyCount"] == 1
    assert refusal(s3.list_objects_v2, Bucket=bucket, Prefix="out/")[0] == "AccessDenied"
    set_policy(account, one.role, listing)
    assert refusal(s3.get_object, Bucket=bucket, Key="in/x")[0] == "AccessDenied"


def test_a_session_policy_and_a_boundary_limit_a_role(
    account: RunningAccount, assume: Callable[..., Assumed], bucket: str
) -> None:
    everything = allow("*", "*")
    limited = assume(everything, Policy=document(allow("s3:ListBucket", "*")))
    s3 = limited.client("s3")
    s3.list_objects_v2(Bucket=bucket)
    message = refusal(s3.get_object, Bucket=bucket, Key="in/x")[1]
    assert message.endswith("because no session policy allows the s3:GetObject action")
    iam, one = account.client("iam"), assume(everything)
    boundary = iam.create_policy(PolicyName=name("boundary"), PolicyDocument=document(allow("s3:ListBucket", "*")))
    iam.put_role_permissions_boundary(
        RoleName=one.role.rpartition("/")[2], PermissionsBoundary=boundary["Policy"]["Arn"]
    )
    message = refusal(one.client("s3").get_object, Bucket=bucket, Key="in/x")[1]
    assert message.endswith("because no permissions boundary allows the s3:GetObject action")


def test_metrics_are_limited_to_namespaces_also_when_compressed(assume: Callable[..., Assumed]) -> None:
    one = assume(allow("cloudwatch:PutMetricData", "*", StringLike={"cloudwatch:namespace": "/mine/*"}))
    cloudwatch = one.client("cloudwatch")
    dimensions = [{"Name": "D", "Value": "x" * 200}]
    data = [{"MetricName": f"m{n}", "Value": n, "Dimensions": dimensions} for n in range(100)]  # over 10 KiB
    for metrics in (data[:1], data):
        cloudwatch.put_metric_data(Namespace="/mine/own", MetricData=metrics)
        assert refusal(cloudwatch.put_metric_data, Namespace="/other", MetricData=metrics)[0] == "AccessDenied"


def test_passing_a_role_needs_a_permission_for_the_service(
    account: RunningAccount, assume: Callable[..., Assumed]
) -> None:
    making = allow("sagemaker:CreateProcessingJob", f"arn:aws:sagemaker:{HERE}:processing-job/*")
    to_lambda = allow("iam:PassRole", ROLE, StringEquals={"iam:PassedToService": "lambda.amazonaws.com"})
    one = assume(making, to_lambda)
    request = {"ProcessingJobName": name("job"), **processing_arguments("")}
    sagemaker = one.client("sagemaker")
    assert refusal(sagemaker.create_processing_job, **request)[1].endswith(denied("iam:PassRole", ROLE))
    to_sagemaker = allow("iam:PassRole", ROLE, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})
    set_policy(account, one.role, making, to_sagemaker)
    sagemaker.create_processing_job(**request)
    wait_for_job(account, "Processing", request["ProcessingJobName"])


def test_a_key_has_to_be_usable_too(account: RunningAccount, assume: Callable[..., Assumed]) -> None:
    key = account.client("kms").create_key()["KeyMetadata"]["Arn"]
    queue = Queue(account, name("secret"))
    account.client("sqs").set_queue_attributes(QueueUrl=queue.url, Attributes={"KmsMasterKeyId": key})
    sending = allow("sqs:SendMessage", queue.arn)
    one = assume(sending)
    sqs = one.client("sqs")
    message = refusal(sqs.send_message, QueueUrl=queue.url, MessageBody="m")[1]
    assert message.endswith(denied("kms:GenerateDataKey", key))
    via = {"kms:ViaService": "sqs.us-east-1.amazonaws.com"}
    set_policy(account, one.role, sending, allow(["kms:GenerateDataKey", "kms:Decrypt"], key, StringEquals=via))
    sqs.send_message(QueueUrl=queue.url, MessageBody="m")
    entries = [{"Id": str(n), "MessageBody": "m"} for n in range(2)]  # a batch has no action of its own
    assert len(sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)["Successful"]) == 2


def test_a_key_is_reached_by_its_tags_and_by_its_alias(account: RunningAccount, assume: Callable[..., Assumed]) -> None:
    kms = account.client("kms")
    ours, other = (
        kms.create_key(Tags=[{"TagKey": "team", "TagValue": team}])["KeyMetadata"]["Arn"] for team in ("ours", "other")
    )
    region_of_keys = ours.rpartition("/")[0]
    alias = region_of_keys.removesuffix(":key") + ":alias/scones-of-a-test"
    one = assume(
        allow(["kms:CreateKey", "kms:TagResource"], "*", StringEquals={"aws:RequestTag/team": "ours"}),
        allow(
            ["kms:DescribeKey", "kms:CreateAlias"], f"{region_of_keys}/*", StringEquals={"aws:ResourceTag/team": "ours"}
        ),
    )
    mine = one.client("kms")
    assert mine.create_key(Tags=[{"TagKey": "team", "TagValue": "ours"}])["KeyMetadata"]["KeyId"]
    assert refusal(mine.create_key, Tags=[{"TagKey": "team", "TagValue": "other"}])[1].endswith(
        denied("kms:CreateKey", "*")
    )
    assert mine.describe_key(KeyId=ours)["KeyMetadata"]["Arn"] == ours
    assert refusal(mine.describe_key, KeyId=other)[1].endswith(denied("kms:DescribeKey", other))
    # An alias needs the permission for both, and has no policy of its own.
    asked = {"AliasName": "alias/scones-of-a-test", "TargetKeyId": ours}
    assert refusal(mine.create_alias, **asked)[1].endswith(denied("kms:CreateAlias", alias))
    set_policy(account, one.role, allow(["kms:DescribeKey", "kms:CreateAlias"], [ours, alias]))
    mine.create_alias(**asked)
    assert mine.describe_key(KeyId="alias/scones-of-a-test")["KeyMetadata"]["Arn"] == ours


def test_a_bucket_that_is_missing_is_said_to_be_missing(assume: Callable[..., Assumed]) -> None:
    s3 = assume(allow("s3:GetObject", "arn:aws:s3:::another/*")).client("s3")
    assert refusal(s3.get_object, Bucket=name("nowhere"), Key="x")[0] == "NoSuchBucket"


def test_a_function_calls_as_its_role(account: RunningAccount, bucket: str) -> None:
    reading = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/x")
    role = make_role(account, name("function"), LOGS, reading, trusted=trust("lambda"))
    shop = Workshop(account)
    function = _function(account, role, WHO_READS)
    answer, _ = shop.invoke(function, {"bucket": bucket})
    assert answer == {
        "who": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{function}",
        "body": "text",
    }
    set_policy(account, role, LOGS)
    answer, _ = shop.invoke(function, {"bucket": bucket})
    assert answer["errorType"] in {"ClientError", "AccessDenied"}  # by the version of the function's boto3
    assert denied("s3:GetObject", f"arn:aws:s3:::{bucket}/in/x") in answer["errorMessage"]


def _function(account: RunningAccount, role: str, code: str) -> str:
    function = name("function")
    account.client("lambda").create_function(
        FunctionName=function,
        Runtime="python3.11",
        Role=role,
        Handler="main.handler",
        Timeout=60,
        Code={"ZipFile": make_zip({"main.py": code})},
    )
    return function


def test_a_job_reads_writes_and_runs_as_its_role(account: RunningAccount, bucket: str) -> None:
    code = (
        "import boto3; open('/opt/ml/processing/out/who','w').write(boto3.client('sts').get_caller_identity()['Arn'])"
    )
    reading = allow(["s3:ListBucket", "s3:GetObject"], [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/in/*"])
    writing = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/out/*")
    role = make_role(account, name("job"), reading, writing, trusted=trust("sagemaker"))
    request = processing_arguments(code, inputs={"in": f"s3://{bucket}/in/"}, output_uri=f"s3://{bucket}/out")
    request["RoleArn"] = role

    def run() -> str:
        job = name("job")
        account.client("sagemaker").create_processing_job(ProcessingJobName=job, **request)
        ended = wait_for_job(account, "Processing", job)
        return str(ended.get("FailureReason", ended["ProcessingJobStatus"]))

    assert run() == "Completed"
    who = account.client("s3").get_object(Bucket=bucket, Key="out/who")["Body"].read().decode()
    assert who == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/SageMaker"
    set_policy(account, role, reading)
    assert denied("s3:PutObject", f"arn:aws:s3:::{bucket}/out/who") in run()
    set_policy(account, role, writing)
    assert denied("s3:ListBucket", f"arn:aws:s3:::{bucket}") in run()
    account.client("iam").update_assume_role_policy(RoleName=role.rpartition("/")[2], PolicyDocument=trust("lambda"))
    assert (
        "Could not assume role"
        in refusal(account.client("sagemaker").create_processing_job, ProcessingJobName=name("job"), **request)[1]
    )


def test_a_state_machine_calls_as_its_role(account: RunningAccount) -> None:
    shop = Workshop(account)
    function = shop.arn(shop.function("def handler(event, context):\n    return 1\n"))
    queue = Queue(account, name("queue"))
    invoking, sending = allow("lambda:InvokeFunction", function), allow("sqs:SendMessage", queue.arn)
    role = make_role(account, name("machine"), invoking, trusted=trust("states"))
    definition = {
        "StartAt": "Call",
        "States": {
            "Call": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": function, "Payload": {}},
                "Next": "Send",
            },
            "Send": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage",
                "Parameters": {"QueueUrl": queue.url, "MessageBody": "m"},
                "End": True,
            },
        },
    }
    states = account.client("stepfunctions")
    machine = states.create_state_machine(name=name("machine"), definition=json.dumps(definition), roleArn=role)[
        "stateMachineArn"
    ]

    def run() -> dict[str, Any]:
        arn = states.start_execution(stateMachineArn=machine)["executionArn"]
        deadline = time.monotonic() + 60
        while (found := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return dict(found)

    ended = run()
    assert (ended["status"], denied("sqs:SendMessage", queue.arn) in ended["cause"]) == ("FAILED", True), ended
    set_policy(account, role, sending)
    ended = run()
    assert (ended["status"], ended["error"]) == ("FAILED", "Lambda.AWSLambdaException")
    assert denied("lambda:InvokeFunction", function) in ended["cause"]
    set_policy(account, role, invoking, sending)
    assert run()["status"] == "SUCCEEDED"


def test_a_pipeline_starts_jobs_as_its_role(account: RunningAccount) -> None:
    jobs = f"arn:aws:sagemaker:{HERE}:processing-job/pipelines-*"
    creating = allow("sagemaker:CreateProcessingJob", jobs)
    passing = allow("iam:PassRole", ROLE, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})
    role = make_role(account, name("pipeline"), creating, trusted=trust("sagemaker"))
    step = {"Name": "Job", "Type": "Processing", "Arguments": processing_arguments("pass")}
    sagemaker, pipeline = account.client("sagemaker"), name("pipeline")
    definition = {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": [step]}
    sagemaker.create_pipeline(
        PipelineName=pipeline,
        PipelineDefinition=json.dumps(definition),
        ClientRequestToken=uuid4().hex,
        RoleArn=role,
    )

    def run() -> dict[str, Any]:
        arn = sagemaker.start_pipeline_execution(PipelineName=pipeline, ClientRequestToken=uuid4().hex)
        deadline = time.monotonic() + 60
        while True:
            (found,) = sagemaker.list_pipeline_execution_steps(**_only_arn(arn))["PipelineExecutionSteps"] or [{}]
            if found.get("StepStatus") in {"Failed", "Succeeded"}:
                return dict(found)
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    assert denied("iam:PassRole", ROLE) in run()["FailureReason"]
    set_policy(account, role, creating, passing)
    assert run()["StepStatus"] == "Succeeded"


def _only_arn(answer: dict[str, Any]) -> dict[str, str]:
    return {"PipelineExecutionArn": answer["PipelineExecutionArn"]}


def test_an_endpoint_reads_its_model_as_its_role(account: RunningAccount, bucket: str) -> None:
    account.client("s3").put_object(Bucket=bucket, Key="models/model.tar.gz", Body=archive())
    model = f"arn:aws:s3:::{bucket}/models/model.tar.gz"
    role = make_role(account, name("model"), LOGS, trusted=trust("sagemaker"))
    sagemaker, made = account.client("sagemaker"), name("model")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/models/model.tar.gz"}
    request = {"ModelName": made, "PrimaryContainer": container, "ExecutionRoleArn": role}
    message = refusal(sagemaker.create_model, **request)[1]
    assert message.startswith(f"Could not access model data at s3://{bucket}/models/model.tar.gz.")
    set_policy(account, role, LOGS, allow("s3:GetObject", model))
    sagemaker.create_model(**request)
    set_policy(account, role, LOGS)
    variant = {"VariantName": "v", "ModelName": made, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=made, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=made, EndpointConfigName=made)
    deadline = time.monotonic() + 60
    while (found := sagemaker.describe_endpoint(EndpointName=made))["EndpointStatus"] == "Creating":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found["EndpointStatus"] == "Failed"
    assert "the role can read it" in found["FailureReason"]
    sagemaker.delete_endpoint(EndpointName=made)


def test_a_rule_needs_the_functions_permission_or_a_role(account: RunningAccount) -> None:
    shop, events, dead = Workshop(account), account.client("events"), Queue(account, name("dead"))
    function = shop.arn(shop.function("def handler(event, context):\n    return 1\n"))
    rule = name("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": function, "DeadLetterConfig": {"Arn": dead.arn}}])
    events.put_events(Entries=[{"Source": rule, "DetailType": "d", "Detail": "{}"}])
    (letter,) = dead.take()
    attributes = letter["MessageAttributes"]
    assert attributes["ERROR_CODE"]["StringValue"] == "AccessDeniedException"
    refused = f"events.amazonaws.com is not authorized to perform: lambda:InvokeFunction on resource: {function}"
    assert refused in attributes["ERROR_MESSAGE"]["StringValue"]


@pytest.mark.parametrize("version", [{}, {"Version": "2008-10-17"}])
def test_an_inline_policy_of_the_first_version_decides(account: RunningAccount, version: dict[str, str]) -> None:
    text = json.dumps({**version, "Statement": [allow("ssm:PutParameter", "*")]})
    role, iam = name("old"), account.client("iam")
    arn = make_role(account, role, allow("s3:GetObject", "*"))
    iam.put_role_policy(RoleName=role, PolicyName="old", PolicyDocument=text)
    assert iam.get_role_policy(RoleName=role, PolicyName="old")["PolicyDocument"] == json.loads(text)
    told = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["ssm:PutParameter", "ssm:GetParameter"])
    assert [each["EvalDecision"] for each in told["EvaluationResults"]] == ["allowed", "implicitDeny"]
    taken = json.loads(trust("lambda"))["Statement"]
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps({**version, "Statement": taken}))
    refused = {"Version": "2007-01-01", "Statement": [allow("ssm:PutParameter", "*")]}
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        iam.put_role_policy(RoleName=role, PolicyName="old", PolicyDocument=json.dumps(refused))
