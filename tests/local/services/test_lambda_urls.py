"""Addresses of functions, and concurrency that is provided beforehand."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local_account.authority.owner import owner_keys
from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop

ECHO = """
import base64

def handler(event, context):
    if event["rawPath"] == "/plain":
        return {"seen": event["queryStringParameters"]}
    if event["rawPath"] == "/broken":
        raise ValueError("broken")
    if event["rawPath"] == "/split":
        return {"statusCode": 200, "headers": {"X-One": "a\\r\\nX-Two: b"}}
    body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()
    return {
        "statusCode": 201, "headers": {"X-Method": event["requestContext"]["http"]["method"]},
        "cookies": event["cookies"], "body": base64.b64encode(body[::-1]).decode(), "isBase64Encoded": True,
    }
"""


@pytest.fixture(scope="module")
def shop(account: RunningAccount) -> Workshop:
    return Workshop(account)


@pytest.fixture(scope="module")
def address(shop: Workshop) -> str:
    """The address of a function that everybody may call."""
    return open_address(shop, shop.function(ECHO))


def open_address(shop: Workshop, name: str) -> str:
    client = shop.account.client("lambda")
    url: str = client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    assert asked(url)[0] == 403  # nobody has been let in yet
    client.add_permission(
        FunctionName=name, StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*",
        FunctionUrlAuthType="NONE",
    )  # fmt: skip
    return url


def asked(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, headers=given)  # noqa: S310  # of the account
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def code_of(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize(("kind", "body"), [("text/plain", b"abc"), ("application/octet-stream", bytes(range(256)))])
def test_a_request_reaches_the_function_and_its_answer_comes_back(address: str, kind: str, body: bytes) -> None:
    status, headers, content = asked(address, body, Content_Type=kind, Cookie="a=1; b=2")
    assert (status, headers["X-Method"], content) == (201, "POST", body[::-1])
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_a_result_that_names_no_status_is_the_body(address: str) -> None:
    status, headers, content = asked(f"{address}plain?a=1&a=2&b=")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(content) == {"seen": {"a": "1,2", "b": ""}}


def test_a_function_that_fails_or_would_split_headers_is_a_bad_gateway(address: str) -> None:
    assert [asked(f"{address}{path}")[0] for path in ("broken", "split")] == [502, 502]


def test_pages_and_strangers_reach_no_function(shop: Workshop, address: str) -> None:
    assert asked(f"{address}plain?a=1", Origin="http://example.com")[0] == 403
    assert asked(f"{shop.account.endpoint_url}/lambda-url/{'0' * 32}/")[0] == 403


def test_an_address_for_iam_takes_signed_requests_only(shop: Workshop) -> None:
    name = shop.function(ECHO)
    client = shop.account.client("lambda")
    url = client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    assert asked(f"{url}plain?a=1")[0] == 403
    keys = owner_keys(shop.account.state_dir)
    signed = AWSRequest("GET", f"{url}plain?a=1")
    SigV4Auth(Credentials(keys.access_key, keys.secret_key), "lambda", "us-east-1").add_auth(signed)
    assert asked(f"{url}plain?a=1", **dict(signed.headers.items()))[0] == 200


def test_addresses_are_kept_with_the_function(shop: Workshop) -> None:
    client, name = shop.account.client("lambda"), shop.function(ECHO)
    assert (
        code_of(client.create_function_url_config, FunctionName="no-such", AuthType="NONE")
        == "ResourceNotFoundException"
    )
    assert code_of(client.get_function_url_config, FunctionName=name) == "ResourceNotFoundException"
    made = client.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert (made["InvokeMode"], "LastModifiedTime" in made) == ("BUFFERED", False)
    assert code_of(client.create_function_url_config, FunctionName=name, AuthType="NONE") == "ResourceConflictException"
    changed = client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    listed = client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert [(each["FunctionUrl"], each["AuthType"]) for each in listed] == [(made["FunctionUrl"], changed["AuthType"])]
    refused = code_of(client.update_function_url_config, FunctionName=name, InvokeMode="RESPONSE_STREAM")
    assert refused == "InvalidParameterValueException"
    client.delete_function_url_config(FunctionName=name)
    assert asked(made["FunctionUrl"])[0] == 403


def test_concurrency_is_provided_to_versions_and_aliases(shop: Workshop) -> None:
    client, name = shop.account.client("lambda"), shop.function(ECHO)
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    subject = {"FunctionName": name, "Qualifier": "live"}
    missing = code_of(client.get_provisioned_concurrency_config, **subject)
    assert missing == "ProvisionedConcurrencyConfigNotFoundException"
    made = client.put_provisioned_concurrency_config(**subject, ProvisionedConcurrentExecutions=2)
    assert (made["Status"], made["AvailableProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 0)
    found = client.get_provisioned_concurrency_config(**subject)
    assert (found["Status"], found["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    for qualifier, number, code in (
        ("1", 1, "ResourceConflictException"),
        ("$LATEST", 1, "InvalidParameterValueException"),
        ("gone", 1, "ResourceNotFoundException"),
        ("live", 901, "InvalidParameterValueException"),
    ):
        request = {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": number}
        assert code_of(client.put_provisioned_concurrency_config, **request) == code
    assert len(client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]) == 1
    client.delete_provisioned_concurrency_config(**subject)
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []


def test_tags_belong_to_functions_and_are_fifty_at_most(shop: Workshop) -> None:
    client, name = shop.account.client("lambda"), shop.function(ECHO)
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    for resource, tags in ((f"{arn}:1", {"a": "b"}), (arn, {}), (arn, {f"key-{n}": "" for n in range(51)})):
        assert code_of(client.tag_resource, Resource=resource, Tags=tags) == "InvalidParameterValueException"
    assert client.list_tags(Resource=arn)["Tags"] == {}


def test_a_stack_gives_a_function_an_address(shop: Workshop) -> None:
    client, stacks, name = shop.account.client("lambda"), shop.account.client("cloudformation"), shop.function(ECHO)
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    properties = {"TargetFunctionArn": arn, "AuthType": "NONE"}
    everybody = {
        "FunctionName": arn, "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE",
    }  # fmt: skip
    template = {
        "Resources": {
            "Address": {"Type": "AWS::Lambda::Url", "Properties": properties},
            "Everybody": {"Type": "AWS::Lambda::Permission", "Properties": everybody},
        },
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["Address", "FunctionUrl"]}}},
    }
    stacks.create_stack(StackName="with-address", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName="with-address", WaiterConfig={"Delay": 1})
    (output,) = stacks.describe_stacks(StackName="with-address")["Stacks"][0]["Outputs"]
    assert asked(f"{output['OutputValue']}plain?a=1")[0] == 200
    stacks.delete_stack(StackName="with-address")
    stacks.get_waiter("stack_delete_complete").wait(StackName="with-address", WaiterConfig={"Delay": 1})
    assert asked(output["OutputValue"])[0] == 403
