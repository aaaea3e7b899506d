"""Lambda's API as AWS answers it: states, revisions, versions, aliases, policies, settings and queues as sources."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.foreign_functions import Workshop, make_zip
from tests.local.queues import Queue

WHO = "def handler(event, context):\n    return [context.function_version, context.invoked_function_arn]\n"


@pytest.fixture(scope="module")
def shop(account: Any) -> Workshop:
    return Workshop(account)


@pytest.fixture(scope="module")
def published(shop: Workshop) -> str:
    """A function with two versions."""
    name = shop.function(WHO)
    client_of(shop).publish_version(FunctionName=name)
    client_of(shop).update_function_configuration(FunctionName=name, Description="second")
    client_of(shop).publish_version(FunctionName=name)
    return name


def client_of(shop: Workshop) -> Any:
    return shop.account.client("lambda")


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_a_function_is_pending_then_active_under_another_revision(shop: Workshop) -> None:
    client = client_of(shop)
    made = client.create_function(
        FunctionName="states", Runtime="python3.12", Role=shop.role, Handler="index.handler",
        Code={"ZipFile": make_zip({"index.py": WHO})}, Environment={"Variables": {}},
    )  # fmt: skip
    assert (made["State"], made["StateReasonCode"], made["Environment"]) == ("Pending", "Creating", {"Variables": {}})
    assert "LastUpdateStatus" not in made
    found = client.get_function_configuration(FunctionName="states")
    assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful")
    assert found["RevisionId"] != made["RevisionId"]
    changed = client.update_function_configuration(FunctionName="states", Timeout=9, RevisionId=found["RevisionId"])
    assert changed["LastUpdateStatus"] == "InProgress"
    code, _ = refusal(client.update_function_configuration, FunctionName="states", RevisionId=found["RevisionId"])
    assert code == "PreconditionFailedException"


def test_the_code_of_a_function_can_be_fetched(shop: Workshop, published: str) -> None:
    found = client_of(shop).get_function(FunctionName=f"{published}:1")
    with urllib.request.urlopen(found["Code"]["Location"]) as answer:  # noqa: S310  # of this account
        assert len(answer.read()) == found["Configuration"]["CodeSize"]
    assert found["Configuration"]["FunctionArn"].endswith(f":{published}:1")


def test_versions_are_published_of_what_is_expected_and_once(shop: Workshop, published: str) -> None:
    client = client_of(shop)
    assert client.publish_version(FunctionName=published)["Version"] == "2"
    code, message = refusal(client.publish_version, FunctionName=published, CodeSha256="other")
    assert code == "InvalidParameterValueException"
    assert message.startswith("CodeSHA256 (other) is different from current CodeSHA256 in $LATEST (")
    listed = client.list_versions_by_function(FunctionName=published, MaxItems=2)
    following = client.list_versions_by_function(FunctionName=published, Marker=listed["NextMarker"])
    assert [each["Version"] for each in listed["Versions"] + following["Versions"]] == ["$LATEST", "1", "2"]
    assert "State" not in listed["Versions"][0]


def test_an_alias_shares_its_traffic_by_weight(shop: Workshop, published: str) -> None:
    client, half = client_of(shop), {"AdditionalVersionWeights": {"2": 0.5}}
    client.create_alias(FunctionName=published, Name="shared", FunctionVersion="1", RoutingConfig=half)
    arn = f"{shop.arn(published)}:shared"
    seen: set[str] = set()
    while seen != {"1", "2"}:
        version, invoked = json.loads(client.invoke(FunctionName=f"{published}:shared")["Payload"].read())
        assert invoked == arn
        seen.add(version)
    request = {"FunctionName": published, "Name": "a", "FunctionVersion": "2", "RoutingConfig": half}
    code, message = refusal(client.create_alias, **request)
    assert (code, message.partition(". ")[0]) == ("InvalidParameterValueException", "Invalid function version 2")
    whole = {"AdditionalVersionWeights": {}}
    assert "RoutingConfig" not in client.update_alias(FunctionName=published, Name="shared", RoutingConfig=whole)


ACCOUNTS = "123456789012:function:"


@pytest.mark.parametrize("start", ["", "function:", ACCOUNTS, f"arn:aws:lambda:us-east-1:{ACCOUNTS}"])
def test_a_function_is_found_by_each_form_of_its_name(shop: Workshop, published: str, start: str) -> None:
    text = f"{start}{published}:1"
    assert client_of(shop).get_function_configuration(FunctionName=text)["Version"] == "1"
    code, message = refusal(client_of(shop).get_function, FunctionName=text, Qualifier="2")
    assert (code, message) == (
        "InvalidParameterValueException",
        "The derived qualifier from the function name does not match the specified qualifier.",
    )


def test_a_retired_runtime_is_refused_in_awss_words(shop: Workshop) -> None:
    code, message = refusal(client_of(shop).create_function, FunctionName="old", Runtime="go1.x", Role=shop.role,
        Handler="main", Code={"ZipFile": make_zip({"index.py": WHO})})  # fmt: skip
    assert code == "InvalidParameterValueException"
    assert message.startswith("The runtime parameter of go1.x is no longer supported for creating or updating")


def test_policies_are_told_apart_by_version(shop: Workshop, published: str) -> None:
    client = client_of(shop)
    request: dict[str, Any] = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    made = client.add_permission(FunctionName=published, Qualifier="1", SourceArn="arn:aws:s3:::b", **request)
    statement = json.loads(made["Statement"])
    assert statement["Resource"].endswith(f":{published}:1")
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}
    assert refusal(client.get_policy, FunctionName=published)[0] == "ResourceNotFoundException"
    code, _ = refusal(client.add_permission, FunctionName=published, Qualifier="1", **request)
    assert code == "ResourceConflictException"
    client.remove_permission(FunctionName=published, Qualifier="1", StatementId="s")
    assert refusal(client.get_policy, FunctionName=published, Qualifier="1")[0] == "ResourceNotFoundException"


def test_the_script_that_wraps_a_runtime_starts_it(shop: Workshop) -> None:
    wrapped = {
        "index.py": "import os\n\n\ndef handler(event, context):\n    return os.environ['SET_BY_WRAPPER']\n",
        "wrap": '#!/bin/bash\nexport SET_BY_WRAPPER=yes\nexec "$@"\n',
    }
    client_of(shop).create_function(
        FunctionName="wrapped", Runtime="python3.12", Role=shop.role, Handler="index.handler",
        Code={"ZipFile": make_zip(wrapped)}, Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}},
    )  # fmt: skip
    assert shop.invoke("wrapped")[0] == "yes"


def test_messages_of_a_queue_reach_the_function_and_failed_ones_come_back(shop: Workshop, account: Any) -> None:
    sqs, told, source = account.client("sqs"), Queue(account, "told"), Queue(account, "source")
    sqs.set_queue_attributes(QueueUrl=source.url, Attributes={"VisibilityTimeout": "3"})
    code = f"""
import boto3, json

def handler(event, context):
    bodies = sorted(record["body"] for record in event["Records"])
    boto3.client("sqs").send_message(QueueUrl={told.url!r}, MessageBody=json.dumps(bodies))
    failed = [record["messageId"] for record in event["Records"] if "bad" in record["body"]
              and record["attributes"]["ApproximateReceiveCount"] == "1"]
    return {{"batchItemFailures": [{{"itemIdentifier": each}} for each in failed]}}
"""
    name = shop.function(code, Timeout=3)
    pattern = json.dumps({"body": {"kind": ["good", "bad"]}})
    mapping = client_of(shop).create_event_source_mapping(
        EventSourceArn=source.arn, FunctionName=name, FunctionResponseTypes=["ReportBatchItemFailures"],
        FilterCriteria={"Filters": [{"Pattern": pattern}]},
    )  # fmt: skip
    assert mapping["State"] == "Creating"
    for kind in ("good", "bad", "other"):
        sqs.send_message(QueueUrl=source.url, MessageBody=json.dumps({"kind": kind}))
    seen: list[str] = []
    while seen.count('{"kind": "bad"}') < 2 or '{"kind": "good"}' not in seen:
        seen += [body for message in told.take() for body in json.loads(message["Body"])]
    assert sorted(set(seen)) == ['{"kind": "bad"}', '{"kind": "good"}']
    assert seen.count('{"kind": "good"}') == 1
    client_of(shop).delete_event_source_mapping(UUID=mapping["UUID"])
    assert refusal(client_of(shop).get_event_source_mapping, UUID=mapping["UUID"])[0] == "ResourceNotFoundException"


@pytest.mark.parametrize("where", ["us-east-1:999999999999", "eu-west-1:123456789012"])
def test_what_hangs_on_a_function_is_of_this_account_and_region(shop: Workshop, where: str) -> None:
    client, name = client_of(shop), shop.function(WHO)
    shop.account.client("sqs").create_queue(QueueName="namesake")
    queue = f"arn:aws:sqs:{where}:namesake"
    destination = {"OnFailure": {"Destination": queue}}
    for call, more in (
        (client.create_event_source_mapping, {"EventSourceArn": queue}),
        (client.put_function_event_invoke_config, {"DestinationConfig": destination}),
        (client.update_function_configuration, {"DeadLetterConfig": {"TargetArn": queue}}),
        (
            client.update_function_configuration,
            {"DeadLetterConfig": {"TargetArn": f"arn:aws:dynamodb:{where}:table/t"}},
        ),
    ):
        code, message = refusal(call, FunctionName=name, **more)
        assert code == "InvalidParameterValueException", message
    logs = shop.account.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix="/namesake")["logGroups"]:
        logs.create_log_group(logGroupName="/namesake")
    subscription = {"logGroupName": "/namesake", "filterName": "f", "filterPattern": ""}
    target = f"arn:aws:lambda:{where}:function:{name}"
    with pytest.raises(ClientError):
        logs.put_subscription_filter(**subscription, destinationArn=target)


def test_environment_variables_take_four_kilobytes_together(shop: Workshop) -> None:
    client, name = client_of(shop), shop.function(WHO)
    room = 4096 - len('{"LARGE":""}')
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"LARGE": "x" * room}})
    more = {"Variables": {"LARGE": "x" * (room + 1)}}
    code, message = refusal(client.update_function_configuration, FunctionName=name, Environment=more)
    assert code == "InvalidParameterValueException"
    assert "exceeded the 4KB limit" in message
    kept = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]["LARGE"]
    assert len(kept) == room


def test_there_are_no_configurations_of_code_signing(shop: Workshop) -> None:
    client, name = client_of(shop), shop.function(WHO)
    arn = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0a1b2c3d4e5f60718"
    for call in (
        client.get_code_signing_config, client.delete_code_signing_config, client.list_functions_by_code_signing_config,
    ):  # fmt: skip
        assert refusal(call, CodeSigningConfigArn=arn)[0] == "ResourceNotFoundException"
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == []
    client.delete_function_code_signing_config(FunctionName=name)
    assert "CodeSigningConfigArn" not in client.get_function_code_signing_config(FunctionName=name)
