"""What the account's services say of archives that they do not take, and of outputs that are links."""

from __future__ import annotations

import gzip
import io
import json
import time
import uuid
import zipfile
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from tests.local.conftest import RunningAccount
from tests.local.foreign_functions import make_zip
from tests.local.roles import make_role, trust
from tests.local.sagemaker_requests import archive, bucket, run_processing, run_training, training_arguments
from tests.unit.account.test_archives import encrypted

OUT = "/opt/ml/processing/out"
HANDLER = make_zip({"a.py": "def handler(event, context): pass\n"})


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    return bucket(account, f"archives-{uuid.uuid4().hex[:8]}")


def name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def zeros(megabytes: int) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("zeros", "w") as member,
    ):
        for _ in range(megabytes):
            member.write(bytes(2**20))
    return buffer.getvalue()


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_a_build_says_why_its_source_is_not_unpacked(account: RunningAccount, data: str) -> None:
    account.client("s3").put_object(Bucket=data, Key="source.zip", Body=encrypted())
    codebuild, project = account.client("codebuild"), name("archives")
    codebuild.create_project(
        name=project,
        source={"type": "S3", "location": f"{data}/source.zip"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=make_role(account, project, trusted=trust("codebuild")),
    )
    build = codebuild.start_build(projectName=project)["build"]
    deadline = time.monotonic() + 60
    while not build["buildComplete"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        (build,) = codebuild.batch_get_builds(ids=[build["id"]])["builds"]
    (phase,) = [each for each in build["phases"] if each["phaseType"] == "DOWNLOAD_SOURCE"]
    assert phase["phaseStatus"] == "FAILED"
    message = f"s3://{data}/source.zip holds 'secret.txt' encrypted: make it without a password"
    assert phase["contexts"] == [{"statusCode": "CLIENT_ERROR", "message": message}]


def test_lambda_looks_into_zips_when_they_come(account: RunningAccount) -> None:
    client = account.client("lambda")
    function = {
        "Runtime": "python3.11",
        "Handler": "a.handler",
        "Role": make_role(account, name("archives")),
        "FunctionName": name("archives"),
    }
    code, message = refusal(client.create_function, **function, Code={"ZipFile": encrypted()})
    assert code == "InvalidParameterValueException"
    assert message.startswith("Could not unzip uploaded file. Please check your file, then try to upload again")
    assert message.endswith("it holds 'secret.txt' encrypted: make it without a password")
    layer = name("archives")
    assert refusal(client.publish_layer_version, LayerName=layer, Content={"ZipFile": encrypted()}) == (code, message)
    code, message = refusal(client.create_function, **function, Code={"ZipFile": zeros(251)})
    assert (code, message[:53]) == (
        "InvalidParameterValueException",
        "Unzipped size must be smaller than 262144000 bytes, b",
    )


def test_a_function_and_its_layers_are_limited_together(account: RunningAccount) -> None:
    client = account.client("lambda")
    layers = [
        client.publish_layer_version(LayerName=name("archives"), Content={"ZipFile": zeros(130)})["LayerVersionArn"]
        for _ in range(2)
    ]
    function = name("archives")
    client.create_function(
        Runtime="python3.11",
        Handler="a.handler",
        Role=make_role(account, name("archives")),
        FunctionName=function,
        Code={"ZipFile": HANDLER},
        Layers=layers[:1],
    )
    code, message = refusal(client.update_function_configuration, FunctionName=function, Layers=layers)
    assert code == "InvalidParameterValueException"
    assert message.startswith("Function code combined with layers exceeds the maximum allowed size of 262144000 bytes.")
    kept = client.get_function_configuration(FunctionName=function)["Layers"]
    assert [layer["Arn"] for layer in kept] == layers[:1]


def test_an_output_that_is_a_link_is_what_the_container_saw(account: RunningAccount, data: str) -> None:
    job, code = name("links"), f"import os; os.symlink('/opt/ml/processing/in/a.txt', '{OUT}/linked.txt')"
    account.client("s3").put_object(Bucket=data, Key="in/a.txt", Body=b"alpha")
    described = run_processing(account, job, code, inputs={"in": f"s3://{data}/in/"}, output_uri=f"s3://{data}/{job}")
    assert described["ProcessingJobStatus"] == "Completed", described
    assert account.client("s3").get_object(Bucket=data, Key=f"{job}/linked.txt")["Body"].read() == b"alpha"


def test_an_output_that_is_a_link_elsewhere_fails_the_job_by_name(account: RunningAccount, data: str) -> None:
    job, code = name("links"), f"import os; os.symlink('/etc/hostname', '{OUT}/linked.txt')"
    described = run_processing(account, job, code, output_uri=f"s3://{data}/{job}")
    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"] == (
        "ClientError: Data upload failed: the link /opt/ml/processing/out/linked.txt leads to /etc/hostname, out of "
        "/opt/ml, of which alone files are kept"
    )


def test_a_model_that_is_a_link_to_nothing_fails_the_training(account: RunningAccount, data: str) -> None:
    files = {"train.py": "import os; os.symlink('weights', '/opt/ml/model/latest')"}
    described = run_training(account, name("links"), training_arguments(data, files, "train.py", account))
    assert described["TrainingJobStatus"] == "Failed"
    assert "the link /opt/ml/model/latest leads to nothing" in described["FailureReason"]


def test_a_key_that_is_a_file_and_a_folder_fails_the_download_by_name(account: RunningAccount, data: str) -> None:
    for key in ("clash/a", "clash/a/b"):
        account.client("s3").put_object(Bucket=data, Key=key, Body=b"x")
    described = run_processing(account, name("clash"), "pass", inputs={"in": f"s3://{data}/clash/"})
    assert described["ProcessingJobStatus"] == "Failed"
    assert "its name is a file's and a folder's at once" in described["FailureReason"]
    assert f"s3://{data}/clash/a/b" in described["FailureReason"]


def test_a_source_archive_that_is_damaged_is_named(account: RunningAccount, data: str) -> None:
    request = training_arguments(data, {"train.py": "pass"}, "train.py", account)
    uri = json.loads(request["HyperParameters"]["sagemaker_submit_directory"])
    whole = archive({"train.py": "print('long enough to be cut')" * 99})
    account.client("s3").put_object(Bucket=data, Key=uri.removeprefix(f"s3://{data}/"), Body=whole[:-20])
    described = run_training(account, name("damaged"), request)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith(f"ClientError: {uri}: sourcedir.tar.gz cannot be extracted: ")


def test_a_compressed_request_unpacks_to_no_more_than_services_take(account: RunningAccount) -> None:
    """A hundred kilobytes that would become a hundred megabytes."""
    content = gzip.compress(b"Action=PutMetricData&Version=2010-08-01&Namespace=" + b"x" * 10**8, 1)
    request = AWSRequest(
        "POST",
        f"{account.endpoint_url}/",
        data=content,
        headers={"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"},
    )
    SigV4Auth(Credentials("local", "local"), "monitoring", "us-east-1").add_auth(request)
    answer = URLLib3Session().send(request.prepare())
    assert answer.status_code == 413
    assert "RequestEntityTooLargeException" in answer.text
