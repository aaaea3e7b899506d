"""The three functions of the exercise in the style of its starter code: bytes in events, an endpoint, a threshold.

Serialize, classify, filter: one reads a picture from S3 into base64 bytes (and hands them on as bytes), one asks an
endpoint, one raises when nothing is likely enough. The state machine reads what the integration tells of the call.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import Workshop
from tests.local.foreign_models import Deployer, archive

SERIALIZE = """
import base64
import boto3

s3 = boto3.client("s3")

def handler(event, context):
    key, bucket = event["s3_key"], event["s3_bucket"]
    s3.download_file(bucket, key, "/tmp/image.png")
    with open("/tmp/image.png", "rb") as f:
        image_data = base64.b64encode(f.read())
    return {"statusCode": 200, "body": {"image_data": image_data, "s3_bucket": bucket, "s3_key": key, "inferences": []}}
"""
CLASSIFY = """
import base64, json
import boto3

ENDPOINT = "__ENDPOINT__"
runtime = boto3.Session().client("sagemaker-runtime")

def handler(event, context):
    image = base64.b64decode(event["body"]["image_data"])
    response = runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="image/png", Body=image)
    inferences = response["Body"].read().decode("utf-8")
    event["inferences"] = [float(x) for x in inferences[1:-1].split(",")]
    return {"statusCode": 200, "body": json.dumps({**event["body"], "inferences": event["inferences"]})}
"""
FILTER = """
import json

THRESHOLD = .93

def handler(event, context):
    body = json.loads(event["body"])
    inferences = body["inferences"]
    if isinstance(inferences, str):
        inferences = json.loads(inferences)
    meets_threshold = any(x >= THRESHOLD for x in inferences)
    if meets_threshold:
        pass
    else:
        raise("THRESHOLD_CONFIDENCE_NOT_MET")
    return {"statusCode": 200, "body": json.dumps(body)}
"""
MODEL = """
import json

def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    assert content_type == "image/png"
    return body

def predict_fn(data, model):
    return [0.96, 0.04] if data.startswith(b"bicycle") else [0.6, 0.4]

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


def step(function: str, following: str = "") -> dict[str, Any]:
    """As Workflow Studio writes an optimised invocation, reading the status of the call as well."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"{function}:$LATEST", "Payload.$": "$"},
        "ResultSelector": {"status.$": "$.SdkHttpMetadata.HttpStatusCode", "payload.$": "$.Payload"},
        "OutputPath": "$.payload",
        "Retry": [
            {
                "ErrorEquals": ["Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException"],
                "IntervalSeconds": 2,
                "MaxAttempts": 6,
                "BackoffRate": 2,
            }
        ],
        **({"Next": following} if following else {"End": True}),
    }


@pytest.fixture(scope="module")
def shop(account: RunningAccount) -> tuple[Workshop, str, str]:
    """The workshop, the state machine's ARN and the bucket."""
    deployer, workshop = Deployer(account, f"exercise-{uuid.uuid4().hex[:8]}"), Workshop(account)
    endpoint = deployer.serve("image", archive(MODEL))
    functions = [
        workshop.arn(workshop.function(code.replace("__ENDPOINT__", endpoint), Timeout=30))
        for code in (SERIALIZE, CLASSIFY, FILTER)
    ]
    states = {
        "Serialize": step(functions[0], "Classify"),
        "Classify": step(functions[1], "Filter"),
        "Filter": step(functions[2]),
    }
    for name in ("bicycle", "motorcycle"):
        account.client("s3").put_object(Bucket=deployer.bucket, Key=f"test/{name}_s_1.png", Body=name.encode())
    return workshop, workshop.machine(states), deployer.bucket


def test_a_sure_picture_passes(shop: tuple[Workshop, str, str]) -> None:
    workshop, machine, bucket = shop
    output = workshop.output(machine, {"image_data": "", "s3_bucket": bucket, "s3_key": "test/bicycle_s_1.png"})
    body = json.loads(output["body"])
    assert body["inferences"] == [0.96, 0.04]
    assert body["image_data"] == "YmljeWNsZQ=="


def test_a_doubtful_picture_fails_loudly(shop: tuple[Workshop, str, str]) -> None:
    workshop, machine, bucket = shop
    execution = workshop.run(machine, {"image_data": "", "s3_bucket": bucket, "s3_key": "test/motorcycle_s_1.png"})
    assert execution["status"] == "FAILED"
    # The starter code raises a text, which Python refuses: its class is what Step Functions tells.
    assert execution["error"] == "TypeError"
    assert "exceptions must derive from BaseException" in execution["cause"]
