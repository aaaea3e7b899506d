"""What a restart finds again: everything, also when the server was killed and had no chance to write."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import RunningAccount, free_port
from tests.local.foreign_functions import Workshop
from tests.places import SAMPLES

WRITTEN_WITHIN_S = 2.0  # the state is written every second
ECHO = "def handler(event, context):\n    return {'got': event}\n"


def _fill(account: RunningAccount) -> dict[str, Any]:
    """Make something of everything; what is needed to find it again."""
    shop = Workshop(account)
    s3 = account.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="kept", Key="twice", Body=b"first")["VersionId"]
    s3.put_object(Bucket="kept", Key="twice", Body=b"second")
    large = os.urandom(9_000_000)
    s3.upload_fileobj(io.BytesIO(large), "kept", "large")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    account.client("iam").put_role_policy(RoleName="foreign", PolicyName="p", PolicyDocument=json.dumps(policy))
    account.client("ssm").put_parameter(Name="/kept", Value="value", Type="String")
    function = shop.function(ECHO)
    dynamodb = account.client("dynamodb")
    dynamodb.create_table(
        TableName="kept",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName="kept", Item={"id": {"S": "a"}, "n": {"N": "1.5"}, "m": {"M": {"b": {"BOOL": True}}}})
    queue = account.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
    account.client("sqs").send_message(QueueUrl=queue, MessageBody="waiting")
    topic = account.client("sns").create_topic(Name="kept")["TopicArn"]
    events = account.client("events")
    events.put_rule(Name="kept", EventPattern='{"source": ["kept"]}')
    events.put_targets(Rule="kept", Targets=[{"Id": "1", "Arn": shop.arn(function)}])
    account.client("scheduler").create_schedule(
        Name="kept",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": shop.arn(function), "RoleArn": shop.role},
    )
    account.client("cloudwatch").put_metric_alarm(
        AlarmName="kept",
        Namespace="Kept",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    logs = account.client("logs")
    logs.create_log_group(logGroupName="/kept")
    logs.create_log_stream(logGroupName="/kept", logStreamName="s")
    now_ms = int(time.time() * 1000)
    logs.put_log_events(logGroupName="/kept", logStreamName="s", logEvents=[{"timestamp": now_ms, "message": "a line"}])
    key = account.client("kms").create_key()["KeyMetadata"]["KeyId"]
    machine = shop.machine({"Call": shop.task(function)})
    finished = shop.run(machine, {"a": 1}, name="finished")
    waiting = shop.machine({"Wait": {"Type": "Wait", "Seconds": 600, "End": True}})
    running = account.client("stepfunctions").start_execution(stateMachineArn=waiting)["executionArn"]
    template = {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}
    cloudformation = account.client("cloudformation")
    cloudformation.create_stack(StackName="kept", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="kept", WaiterConfig={"Delay": 1})
    account.client("sagemaker").create_model_package_group(ModelPackageGroupName="kept")
    return {
        "first": first,
        "large": large,
        "function": function,
        "queue": queue,
        "topic": topic,
        "key": key,
        "machine": machine,
        "finished": finished["executionArn"],
        "running": running,
    }


def _killed_account(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The state of an account that was filled and killed."""
    from tests.local.conftest import start_account

    before = start_account(folder / "state")
    made = _fill(before)
    time.sleep(WRITTEN_WITHIN_S)
    before.kill()
    return before.state_dir, made


def _account_of_version_0_1_0(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The state that ``_fill`` and an orderly stop left behind with version 0.1.0, without the folder of functions."""
    with tarfile.open(SAMPLES / "account-state-0.1.0.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    made = json.loads((folder / "state" / "made.json").read_text())
    return folder / "state", {**made, "large": bytes(9_000_000)}


@pytest.fixture(scope="module", params=[_killed_account, _account_of_version_0_1_0])
def restarted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An account that was filled, ended and started again, with what was put into it."""
    from tests.local.conftest import start_account

    state_dir, made = request.param(tmp_path_factory.mktemp("persistence"))
    after = start_account(state_dir)
    yield after, made
    after.stop()


def test_objects_and_their_versions_are_kept(restarted: Any) -> None:
    account, made = restarted
    s3 = account.client("s3")
    assert s3.get_object(Bucket="kept", Key="twice")["Body"].read() == b"second"
    assert s3.get_object(Bucket="kept", Key="twice", VersionId=made["first"])["Body"].read() == b"first"
    assert s3.get_object(Bucket="kept", Key="large")["Body"].read() == made["large"]
    assert len(s3.list_object_versions(Bucket="kept")["Versions"]) == 3


def test_the_parts_of_a_finished_upload_take_no_room_after_a_restart(restarted: Any) -> None:
    account, made = restarted
    sizes = [path.stat().st_size for path in (account.state_dir / "objects").glob("*/*")]
    assert sorted(sizes)[-1] == len(made["large"])
    assert sum(sizes) < len(made["large"]) + 100_000


def test_identities_parameters_and_keys_are_kept(restarted: Any) -> None:
    account, made = restarted
    assert account.client("iam").get_role_policy(RoleName="foreign", PolicyName="p")["PolicyDocument"]["Statement"]
    assert account.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "value"
    assert account.client("kms").describe_key(KeyId=made["key"])["KeyMetadata"]["KeyId"] == made["key"]
    assert account.client("sagemaker").describe_model_package_group(ModelPackageGroupName="kept")


def test_tables_are_kept_and_their_conditions_hold(restarted: Any) -> None:
    account, _made = restarted
    dynamodb = account.client("dynamodb")
    item = dynamodb.get_item(TableName="kept", Key={"id": {"S": "a"}})["Item"]
    assert item == {"id": {"S": "a"}, "n": {"N": "1.5"}, "m": {"M": {"b": {"BOOL": True}}}}
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(TableName="kept", Item=item, ConditionExpression="attribute_not_exists(id)")


def test_functions_still_run(restarted: Any) -> None:
    account, made = restarted
    assert Workshop(account).invoke(made["function"], {"x": 1})[0] == {"got": {"x": 1}}


def test_rules_schedules_alarms_topics_queues_and_logs_are_kept(restarted: Any) -> None:
    account, made = restarted
    assert [t["Id"] for t in account.client("events").list_targets_by_rule(Rule="kept")["Targets"]] == ["1"]
    assert account.client("scheduler").get_schedule(Name="kept")["ScheduleExpression"] == "rate(1 day)"
    assert account.client("cloudwatch").describe_alarms(AlarmNames=["kept"])["MetricAlarms"]
    assert made["topic"] in [t["TopicArn"] for t in account.client("sns").list_topics()["Topics"]]
    assert account.client("sns").publish(TopicArn=made["topic"], Message="is it still there?")["MessageId"]
    assert account.client("sqs").receive_message(QueueUrl=made["queue"])["Messages"][0]["Body"] == "waiting"
    events = account.client("logs").get_log_events(logGroupName="/kept", logStreamName="s")["events"]
    assert [event["message"] for event in events] == ["a line"]


def test_finished_executions_keep_output_and_history(restarted: Any) -> None:
    account, made = restarted
    client = account.client("stepfunctions")
    execution = client.describe_execution(executionArn=made["finished"])
    assert execution["status"] == "SUCCEEDED"
    assert json.loads(execution["output"]) == {"got": {"a": 1}}
    history = client.get_execution_history(executionArn=made["finished"])["events"]
    assert history[0]["type"] == "ExecutionStarted"
    assert history[-1]["type"] == "ExecutionSucceeded"
    assert Workshop(account).run(made["machine"], {"b": 2})["status"] == "SUCCEEDED"


def test_an_execution_that_the_kill_cut_short_is_aborted_with_the_cause(restarted: Any) -> None:
    account, made = restarted
    execution = account.client("stepfunctions").describe_execution(executionArn=made["running"])
    assert execution["status"] == "ABORTED"
    assert "stopped" in execution["cause"]
    assert execution["stopDate"] >= execution["startDate"]


def test_stacks_are_kept_and_can_be_deleted(restarted: Any) -> None:
    account, _ = restarted
    client = account.client("cloudformation")
    stack_id = client.describe_stacks(StackName="kept")["Stacks"][0]["StackId"]
    client.delete_stack(StackName="kept")
    client.get_waiter("stack_delete_complete").wait(StackName=stack_id, WaiterConfig={"Delay": 1})


class _Payload:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("damage", ["hostile", "truncated"])
def test_a_state_file_that_cannot_be_trusted_ends_the_start_in_one_line(
    fresh_account: Callable[..., RunningAccount], tmp_path: Path, damage: str
) -> None:
    running = fresh_account()
    running.client("ssm").put_parameter(Name="/p", Value="v", Type="String")
    running.stop()
    state_file = running.state_dir / "services" / "ssm"
    proof = tmp_path / "proof"
    content = pickle.dumps(_Payload(proof)) if damage == "hostile" else state_file.read_bytes()[:-20]
    state_file.write_bytes(content)
    refused = subprocess.run(
        [sys.executable, "-m", "local_account", "--port", str(free_port()), "--state", str(running.state_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode != 0
    last = refused.stderr.strip().splitlines()[-1]
    assert re.match(rf"local_account: the state file {state_file} cannot be read", last)
    assert "Traceback" not in refused.stderr
    assert not proof.exists()


def test_the_state_is_readable_by_its_user_only(fresh_account: Callable[..., RunningAccount]) -> None:
    running = fresh_account()
    running.client("s3").create_bucket(Bucket="private-state")
    running.stop()
    assert running.state_dir.stat().st_mode & 0o777 == 0o700
