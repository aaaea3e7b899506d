"""Names as AWS takes them: buckets and keys of S3, in whatever way they come, and the names of other services."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.base.wire.s3_names import is_bucket, is_key
from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import make_zip
from tests.local.roles import make_role
from tests.local.sagemaker_requests import bucket, processing_arguments, run_processing

BAD_BUCKETS = [
    "x..y", "192.168.5.4", "xn--abc", "sthree-abc", "amzn-s3-demo-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap",
    "Abc", "a_b", "-abc", "abc-", "abc.", ".abc", "ab", "a" * 64,
]  # fmt: skip
LONGEST_KEY = "é" * 512


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    return bucket(account, f"names-{uuid.uuid4().hex[:8]}")


def test_names_with_line_breaks_are_no_buckets() -> None:
    assert not any(is_bucket(name) for name in ("abc\n", "a\nbc", "a b", "abc--x-s3", "äbc", ""))
    assert all(is_bucket(name) for name in ("abc", "a" * 63, "my.bucket-1", "1.2.3", "192.168.5.4a", "xn-abc"))
    assert is_key(LONGEST_KEY)
    assert not is_key(f"{LONGEST_KEY}a")


@pytest.mark.parametrize("name", BAD_BUCKETS)
def test_a_bucket_s_name_is_checked_when_it_is_made(account: RunningAccount, name: str) -> None:
    code, message = refusal(account.client("s3").create_bucket, Bucket=name)
    assert (code, message) == ("InvalidBucketName", "The specified bucket is not valid.")


def test_a_bucket_that_cannot_be_there_is_called_invalid(account: RunningAccount) -> None:
    s3 = account.client("s3")
    assert refusal(s3.get_object, Bucket="x..y", Key="a")[0] == "InvalidBucketName"
    assert refusal(s3.put_object, Bucket="x..y", Key="a")[0] == "InvalidBucketName"
    assert refusal(s3.list_objects_v2, Bucket="x..y")[0] == "InvalidBucketName"
    assert refusal(s3.list_objects_v2, Bucket="not-there-at-all")[0] == "NoSuchBucket"
    assert refusal(s3.list_objects_v2, Bucket="someOldName_with-Capitals")[0] == "NoSuchBucket"


@pytest.mark.parametrize("name", ["x..y", "a b", "a\nb"])
def test_a_stack_makes_no_such_bucket_either(account: RunningAccount, name: str) -> None:
    client, stack = account.client("cloudformation"), f"names-{uuid.uuid4().hex[:8]}"
    template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}}}
    client.create_stack(StackName=stack, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING")
    deadline = time.monotonic() + 300
    while client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] != "CREATE_FAILED":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    events = client.describe_stack_events(StackName=stack)["StackEvents"]
    (reason,) = [e["ResourceStatusReason"] for e in events if e["ResourceStatus"] == "CREATE_FAILED"
                 and e["LogicalResourceId"] == "Bucket"]  # fmt: skip
    assert "InvalidBucketName" in reason or "#/BucketName: failed validation constraint" in reason


def test_a_key_has_1024_bytes_at_most(account: RunningAccount, data: str) -> None:
    s3, key = account.client("s3"), f"{LONGEST_KEY}a"
    s3.put_object(Bucket=data, Key=LONGEST_KEY, Body=b"x")
    too_long = ("KeyTooLongError", "Your key is too long")
    assert refusal(s3.put_object, Bucket=data, Key=key, Body=b"x") == too_long
    assert refusal(s3.get_object, Bucket=data, Key=key) == too_long
    assert refusal(s3.create_multipart_upload, Bucket=data, Key=key) == too_long
    assert refusal(s3.copy_object, Bucket=data, Key=key, CopySource={"Bucket": data, "Key": LONGEST_KEY}) == too_long
    assert refusal(s3.copy_object, Bucket=data, Key="a", CopySource={"Bucket": data, "Key": key}) == too_long


def test_keys_are_bytes_case_and_line_breaks_included(account: RunningAccount, data: str) -> None:
    s3, keys = (
        account.client("s3"),
        ["case/A", "case/a", "case/a\nb", "case/a b", "case/a+b", "case/a%2Fb", "case/../b"],
    )
    for key in keys:
        s3.put_object(Bucket=data, Key=key, Body=key.encode())
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=data, Prefix="case/")["Contents"]]
    assert listed == sorted(keys)
    assert [s3.get_object(Bucket=data, Key=key)["Body"].read().decode() for key in keys] == keys


def test_a_job_names_what_is_wrong_with_its_places(account: RunningAccount, data: str) -> None:
    job = f"names-{uuid.uuid4().hex[:8]}"
    described = run_processing(account, job, "pass", inputs={"in": "s3://x..y/in/"})
    assert described["FailureReason"].startswith("ClientError: InvalidBucketName (400)")
    code = "open('/opt/ml/processing/out/' + 'a' * 200, 'w')"
    described = run_processing(account, f"{job}-key", code, output_uri=f"s3://{data}/{'b' * 900}")
    assert "KeyTooLongError (400)" in described["FailureReason"]


def test_two_jobs_that_differ_in_case_have_folders_of_their_own(account: RunningAccount, data: str) -> None:
    job = f"names-{uuid.uuid4().hex[:8]}"
    for name in (job, job.upper()):
        code = f"import time; open('/opt/ml/processing/out/a', 'w').write('{name}'); time.sleep(0.5)"
        request = processing_arguments(code, output_uri=f"s3://{data}/{name}")
        account.client("sagemaker").create_processing_job(ProcessingJobName=name, **request)
    s3, deadline = account.client("s3"), time.monotonic() + 300
    for name in (job, job.upper()):
        while "Contents" not in s3.list_objects_v2(Bucket=data, Prefix=f"{name}/"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert s3.get_object(Bucket=data, Key=f"{name}/a")["Body"].read().decode() == name


@pytest.mark.parametrize("name", ["a b", "a\nb", "a*", "a" * 600])
def test_names_are_checked_by_the_service_s_own_model(account: RunningAccount, name: str) -> None:
    role, code = make_role(account, f"names-{uuid.uuid4().hex[:8]}"), {"ZipFile": make_zip({"a.py": ""})}
    schedule = {"ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    target = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:a", "RoleArn": role}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("events", "put_rule", {"Name": name, "EventPattern": '{"source": ["a"]}'}),
        ("events", "create_event_bus", {"Name": name}),
        ("scheduler", "create_schedule", {"Name": name, "Target": target, **schedule}),
        ("scheduler", "create_schedule_group", {"Name": name}),
        ("lambda", "create_function",
         {"FunctionName": name, "Runtime": "python3.11", "Role": role, "Handler": "a.h", "Code": code}),
        ("lambda", "publish_layer_version", {"LayerName": name, "Content": code}),
        ("logs", "create_log_group", {"logGroupName": name}),
        ("iam", "create_role", {"RoleName": name, "AssumeRolePolicyDocument": "{}"}),
        ("sagemaker", "create_model_package_group", {"ModelPackageGroupName": name}),
    ]  # fmt: skip
    for service, operation, arguments in calls:
        code_said, message = refusal(getattr(account.client(service), operation), **arguments)
        assert code_said in ("ValidationException", "ValidationError", "InvalidParameterException"), operation
        of_logs = operation == "create_log_group" and len(name) > 512
        assert ("length less than or equal to 512" if of_logs else "validation error") in message, operation


@pytest.mark.parametrize("name", ["1a", "a b", "a_b", "a\n", "a" * 129])
def test_a_stack_s_name_is_checked_before_anything_is_made(account: RunningAccount, name: str) -> None:
    client, template = account.client("cloudformation"), '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    request = {"StackName": name, "TemplateBody": template}
    for call, more in (
        (client.create_stack, {}),
        (client.create_change_set, {"ChangeSetName": "a", "ChangeSetType": "CREATE"}),
    ):
        code, message = refusal(call, **request, **more)
        assert (code, "at 'stackName' failed to satisfy constraint" in message) == ("ValidationError", True)
