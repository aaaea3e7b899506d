"""Keys and networks that jobs, models and endpoints ask for: outputs are encrypted, containers isolated, or refused."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.containers.namespaces import isolation_command
from tests.local.conftest import RunningAccount
from tests.local.foreign_models import Deployer, archive
from tests.local.roles import allow, make_role, trust
from tests.local.sagemaker_requests import (
    IMAGE,
    ROLE,
    bucket,
    processing_arguments,
    run_training,
    training_arguments,
    wait_for_job,
)

NO_KEY = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
WRITE = "open('/opt/ml/processing/out/a', 'w').write('a')"
needs_isolation = pytest.mark.skipif(isolation_command() is None, reason="this system forbids a network of its own")


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    return bucket(account, f"keys-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def key(account: RunningAccount) -> str:
    return str(account.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def deployer(account: RunningAccount) -> Deployer:
    return Deployer(account, f"keys-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def name() -> str:
    return f"keys-{uuid.uuid4().hex[:8]}"


def encryption(account: RunningAccount, bucket_name: str, object_key: str) -> tuple[str | None, str | None]:
    head = account.client("s3").head_object(Bucket=bucket_name, Key=object_key)
    return head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")


def processing(account: RunningAccount, name: str, request: dict[str, Any], **output: Any) -> dict[str, Any]:
    config = {**request["ProcessingOutputConfig"], **output}
    account.client("sagemaker").create_processing_job(
        ProcessingJobName=name, **{**request, "ProcessingOutputConfig": config}
    )
    return wait_for_job(account, "Processing", name)


def test_s3_encrypts_with_keys_that_are_there(account: RunningAccount, data: str, key: str) -> None:
    s3, kms = account.client("s3"), account.client("kms")
    kms_options: dict[str, Any] = {"Bucket": data, "Key": "own", "Body": b"", "ServerSideEncryption": "aws:kms"}
    s3.put_object(**kms_options, SSEKMSKeyId=key.rpartition("/")[2])
    assert encryption(account, data, "own") == ("aws:kms", key)  # the ARN, whatever named it
    with pytest.raises(ClientError, match=r"KMS.NotFoundException"):
        s3.put_object(**kms_options, SSEKMSKeyId=NO_KEY)
    disabled = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=disabled)
    with pytest.raises(ClientError, match=r"KMS.DisabledException"):
        s3.put_object(**kms_options, SSEKMSKeyId=disabled)


def test_what_a_processing_job_writes_is_encrypted_with_its_key(
    account: RunningAccount, data: str, key: str, name: str
) -> None:
    job = processing(account, name, processing_arguments(WRITE, output_uri=f"s3://{data}/{name}"), KmsKeyId=key)
    assert job["ProcessingJobStatus"] == "Completed", job
    assert encryption(account, data, f"{name}/a") == ("aws:kms", key)


def test_a_job_whose_key_is_not_there_fails(account: RunningAccount, data: str, name: str) -> None:
    job = processing(account, name, processing_arguments(WRITE, output_uri=f"s3://{data}/{name}"), KmsKeyId=NO_KEY)
    assert job["ProcessingJobStatus"] == "Failed"
    assert f"KMS.NotFoundException (400): Key '{NO_KEY}' does not exist" in job["FailureReason"]
    assert "Contents" not in account.client("s3").list_objects_v2(Bucket=data, Prefix=f"{name}/")


def test_a_job_s_role_needs_its_key(account: RunningAccount, data: str, key: str, name: str) -> None:
    """The same role may write the same place without the key."""
    role = make_role(account, name, allow(["s3:*", "logs:*"], "*"), trusted=trust("sagemaker"))
    request = {**processing_arguments(WRITE, output_uri=f"s3://{data}/{name}"), "RoleArn": role}
    job = processing(account, name, request, KmsKeyId=key)
    assert job["ProcessingJobStatus"] == "Failed"
    assert "kms:GenerateDataKey" in job["FailureReason"]
    assert processing(account, f"{name}-plain", request)["ProcessingJobStatus"] == "Completed"


def test_what_a_training_writes_is_encrypted_with_its_key(
    account: RunningAccount, data: str, key: str, name: str
) -> None:
    files = {"train.py": "for name in ('model', 'output/data'): open(f'/opt/ml/{name}/a', 'w').write('a')"}
    request = training_arguments(data, files, "train.py", account)
    request["OutputDataConfig"]["KmsKeyId"] = key
    job = run_training(account, name, request)
    assert job["TrainingJobStatus"] == "Completed", job
    folder = f"models/{name}/output"
    for each in ("model.tar.gz", "output.tar.gz"):
        assert encryption(account, data, f"{folder}/{each}") == ("aws:kms", key)


def test_transforms_and_captures_are_encrypted_with_their_keys(
    account: RunningAccount, deployer: Deployer, key: str
) -> None:
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{deployer.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
        "KmsKeyId": key,
    }
    deployer.invoke(deployer.serve("captured", capture=capture))
    model, s3 = deployer.model("batch", archive()), account.client("s3")
    s3.put_object(Bucket=deployer.bucket, Key="in/a", Body=b"\x01")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{deployer.bucket}/in/"}}
    account.client("sagemaker").create_transform_job(
        TransformJobName=model,
        ModelName=model,
        TransformInput={"DataSource": source, "ContentType": "application/octet-stream"},
        TransformOutput={"S3OutputPath": f"s3://{deployer.bucket}/out", "KmsKeyId": key},
        TransformResources={"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    )
    assert wait_for_job(account, "Transform", model)["TransformJobStatus"] == "Completed"
    assert encryption(account, deployer.bucket, "out/a.out") == ("aws:kms", key)
    deadline = time.monotonic() + 300
    while not (found := s3.list_objects_v2(Bucket=deployer.bucket, Prefix="captured/").get("Contents")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert encryption(account, deployer.bucket, found[0]["Key"]) == ("aws:kms", key)


def test_keys_of_disks_and_captures_that_are_not_there_are_refused(
    account: RunningAccount, deployer: Deployer, name: str
) -> None:
    sagemaker, request = account.client("sagemaker"), processing_arguments("pass")
    request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] = NO_KEY
    with pytest.raises(ClientError, match=r"ValidationException.*VolumeKmsKeyId: Key .* does not exist"):
        sagemaker.create_processing_job(ProcessingJobName=name, **request)
    variant = {
        "VariantName": "a",
        "ModelName": deployer.model("unkeyed", archive()),
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    with pytest.raises(ClientError, match=r"KmsKeyId: Key .* does not exist"):
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], KmsKeyId=NO_KEY)


def test_networks_that_are_not_there_are_refused(account: RunningAccount, name: str) -> None:
    vpc = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    with pytest.raises(ClientError, match=r"ValidationException.*subnet-1 .*sg-1 do not exist"):
        account.client("sagemaker").create_processing_job(
            ProcessingJobName=name, **processing_arguments("pass"), NetworkConfig={"VpcConfig": vpc}
        )
    with pytest.raises(ClientError, match="do not exist"):
        account.client("sagemaker").create_model(
            ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}, VpcConfig=vpc
        )


# What a container reaches: the account itself, on the host's loopback interface, and a server of its own.
REACH = """
import json, os, socket, urllib.request
from urllib.parse import urlsplit
found = {}
own = socket.create_server(('127.0.0.1', 0))
for name, place in (('account', urlsplit(os.environ['AWS_ENDPOINT_URL'])[1].split(':')), ('own', own.getsockname())):
    try:
        socket.create_connection((place[0], int(place[1])), 5).close()
        found[name] = True
    except OSError:
        found[name] = False
found['interfaces'] = [name for _, name in socket.if_nameindex()]
"""


@needs_isolation
@pytest.mark.parametrize("isolated", [True, False])
def test_a_job_without_a_network_reaches_nothing(account: RunningAccount, data: str, name: str, isolated: bool) -> None:
    code = f"{REACH}\njson.dump(found, open('/opt/ml/processing/out/found', 'w'))"
    account.client("s3").put_object(Bucket=data, Key=f"code/{name}/look.py", Body=code.encode())
    run = "import runpy; runpy.run_path('/opt/ml/processing/code/look.py')"
    inputs = {"code": f"s3://{data}/code/{name}/"}
    request = processing_arguments(run, inputs=inputs, output_uri=f"s3://{data}/{name}")
    request["NetworkConfig"] = {"EnableNetworkIsolation": isolated}
    job = processing(account, name, request)
    assert job["ProcessingJobStatus"] == "Completed", job
    found = json.loads(account.client("s3").get_object(Bucket=data, Key=f"{name}/found")["Body"].read())
    assert (found["account"], found["own"]) == (not isolated, True)
    assert not isolated or found["interfaces"] == ["lo"]


@needs_isolation
def test_a_training_without_a_network_reaches_nothing(account: RunningAccount, data: str, name: str) -> None:
    files = {"train.py": f"{REACH}\nassert not found['account'] and found['own'], found"}
    request = training_arguments(data, files, "train.py", account)
    job = run_training(account, name, {**request, "EnableNetworkIsolation": True})
    assert job["TrainingJobStatus"] == "Completed", job


@needs_isolation
def test_a_model_without_a_network_answers_all_the_same(account: RunningAccount, deployer: Deployer) -> None:
    script = f"""{REACH}
def model_fn(folder): return found
def input_fn(body, content_type): return body
def predict_fn(data, model): return model
def output_fn(prediction, accept): return json.dumps(prediction)
"""
    open_model = deployer.model("isolated", archive(script))
    container = deployer.sagemaker.describe_model(ModelName=open_model)["PrimaryContainer"]
    isolated = f"{open_model}-in"
    deployer.sagemaker.create_model(
        ModelName=isolated, PrimaryContainer=container, ExecutionRoleArn=ROLE, EnableNetworkIsolation=True
    )
    for model, reaches in ((open_model, True), (isolated, False)):
        endpoint = deployer.endpoint(model, deployer.config(model, {"AllTraffic": model}))
        assert deployer.settled(endpoint)["EndpointStatus"] == "InService"
        answer = json.loads(deployer.invoke(endpoint)["Body"].read())
        assert (answer["account"], answer["own"]) == (reaches, True)
