"""Processing and training jobs on the stand-in account: what they read, run, write and how they fail."""

from __future__ import annotations

import io
import json
import tarfile
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import (
    IMAGE,
    ROLE,
    bucket,
    channel,
    job_log,
    processing_arguments,
    run_processing,
    run_training,
    training_arguments,
    wait_for_job,
)


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name = bucket(account, f"jobs-{uuid.uuid4().hex[:8]}")
    s3 = account.client("s3")
    s3.put_object(Bucket=name, Key="in/a.txt", Body=b"alpha")
    s3.put_object(Bucket=name, Key="in/deep/b.txt", Body=b"beta")
    s3.put_object(Bucket=name, Key="into/c.txt", Body=b"of a neighbour")
    return name


@pytest.fixture
def job_name() -> str:
    return f"job-{uuid.uuid4().hex[:12]}"


def keys(account: RunningAccount, bucket_name: str, prefix: str) -> list[str]:
    listed = account.client("s3").list_objects_v2(Bucket=bucket_name, Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def read(account: RunningAccount, bucket_name: str, key: str) -> bytes:
    content: bytes = account.client("s3").get_object(Bucket=bucket_name, Key=key)["Body"].read()
    return content


COPY = (
    "import shutil, sys; shutil.copytree('/opt/ml/processing/in', '/opt/ml/processing/out/copy');"
    "print('to the log'); print('and the errors', file=sys.stderr);"
    "open('/opt/ml/output/message', 'w').write('all copied')"
)


def test_a_processing_job_reads_writes_and_logs(account: RunningAccount, data: str, job_name: str) -> None:
    job = run_processing(
        account, job_name, COPY, inputs={"in": f"s3://{data}/in/"}, output_uri=f"s3://{data}/{job_name}"
    )
    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["ExitMessage"] == "all copied"
    assert keys(account, data, job_name) == [f"{job_name}/copy/a.txt", f"{job_name}/copy/deep/b.txt"]
    assert read(account, data, f"{job_name}/copy/deep/b.txt") == b"beta"
    assert sorted(job_log(account, "Processing", job_name)) == ["and the errors", "to the log"]
    assert job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert not list(account.state_dir.glob(f"jobs/*{job_name}*"))


def test_one_object_and_its_configuration_reach_the_container(
    account: RunningAccount, data: str, job_name: str
) -> None:
    code = (
        "import json, os; c = json.load(open('/opt/ml/config/processingjobconfig.json'));"
        "r = json.load(open('/opt/ml/config/resourceconfig.json'));"
        "print(c['ProcessingJobName'], r['current_host'], sorted(os.listdir('/opt/ml/processing/in')))"
    )
    run_processing(account, job_name, code, inputs={"in": f"s3://{data}/in/a.txt"})
    assert job_log(account, "Processing", job_name) == [f"{job_name} algo-1 ['a.txt']"]


def test_a_manifest_names_the_objects(account: RunningAccount, data: str, job_name: str) -> None:
    manifest = [{"prefix": f"s3://{data}/in/"}, "deep/b.txt"]
    account.client("s3").put_object(Bucket=data, Key="list.manifest", Body=json.dumps(manifest).encode())
    request = processing_arguments(
        "import os; print([f for *_, fs in os.walk('/opt/ml/processing/in') for f in fs])",
        inputs={"in": f"s3://{data}/list.manifest"},
    )
    request["ProcessingInputs"][0]["S3Input"]["S3DataType"] = "ManifestFile"
    account.client("sagemaker").create_processing_job(ProcessingJobName=job_name, **request)
    assert wait_for_job(account, "Processing", job_name)["ProcessingJobStatus"] == "Completed"
    assert job_log(account, "Processing", job_name) == ["['b.txt']"]


def test_a_job_that_raises_says_why(account: RunningAccount, data: str, job_name: str) -> None:
    job = run_processing(account, job_name, "print('before'); raise KeyError('colour')", output_uri=f"s3://{data}/no")
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: See job logs for more information, exit code: 1")
    assert job["FailureReason"].endswith("KeyError: 'colour'")
    assert "before" in job_log(account, "Processing", job_name)


def test_a_failure_file_becomes_the_reason(account: RunningAccount, job_name: str) -> None:
    code = "open('/opt/ml/output/failure', 'w').write('w' * 3000); raise SystemExit(4)"
    reason = run_processing(account, job_name, code)["FailureReason"]
    assert "exit code: 4" in reason
    assert reason.endswith("www")
    assert len(reason) == 1024


@pytest.mark.parametrize("uri", ["s3://no-such-bucket-at-all/x", "s3://{data}/nothing/here"])
def test_missing_input_fails_the_job_as_on_aws(account: RunningAccount, data: str, job_name: str, uri: str) -> None:
    job = run_processing(account, job_name, "print(1)", inputs={"in": uri.format(data=data)})
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Data download failed:No S3 objects found under S3 URL")


def test_an_output_bucket_that_is_missing_fails_the_job(account: RunningAccount, job_name: str) -> None:
    code = "open('/opt/ml/processing/out/x', 'w').write('1')"
    job = run_processing(account, job_name, code, output_uri="s3://no-such-bucket-at-all/x")
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Data upload failed: NoSuchBucket (404)")


def test_an_image_without_an_entrypoint_cannot_run_here(account: RunningAccount, job_name: str) -> None:
    request = processing_arguments("")
    del request["AppSpecification"]["ContainerEntrypoint"]
    account.client("sagemaker").create_processing_job(ProcessingJobName=job_name, **request)
    job = wait_for_job(account, "Processing", job_name)
    assert job["FailureReason"].startswith(f"ClientError: image {IMAGE} cannot run here")


def test_stopping_a_processing_job(account: RunningAccount, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    request = processing_arguments("import time; print('up'); time.sleep(60)")
    sagemaker.create_processing_job(ProcessingJobName=job_name, **request)
    while "ProcessingStartTime" not in sagemaker.describe_processing_job(ProcessingJobName=job_name):
        time.sleep(0.02)
    sagemaker.stop_processing_job(ProcessingJobName=job_name)
    job = wait_for_job(account, "Processing", job_name)
    assert job["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in job
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_processing_job(ProcessingJobName=job_name)


def test_the_maximum_run_time_is_enforced(account: RunningAccount, job_name: str) -> None:
    request = processing_arguments("import time; time.sleep(60)") | {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    account.client("sagemaker").create_processing_job(ProcessingJobName=job_name, **request)
    job = wait_for_job(account, "Processing", job_name)
    assert job["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds (1)" in job["FailureReason"]


def test_names_are_unique_and_requests_are_checked(account: RunningAccount, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    run_processing(account, job_name, "print(1)")
    with pytest.raises(sagemaker.exceptions.ResourceInUse, match="must be unique"):
        sagemaker.create_processing_job(ProcessingJobName=job_name, **processing_arguments("print(2)"))
    pipe = processing_arguments("print(1)", inputs={"in": "s3://b/x"})
    pipe["ProcessingInputs"][0]["S3Input"]["S3InputMode"] = "Pipe"
    two = processing_arguments("print(1)")
    two["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 21
    outside = processing_arguments("print(1)", inputs={"in": "s3://b/x"})
    outside["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/opt/ml/processing/../../etc"
    features = processing_arguments("print(1)", output_uri="s3://b/out")
    features["ProcessingOutputConfig"]["Outputs"][0]["FeatureStoreOutput"] = {"FeatureGroupName": "g"}
    for request, message in [
        (pipe, "S3InputMode File only, got Pipe"),
        (features, "FeatureStoreOutput.*: there is no Feature Store here"),
        (two, "at most 20 instances, got 21"),
        (outside, "LocalPath must be below /opt/ml/processing"),
        (processing_arguments("print(1)") | {"RoleArn": "not-an-arn-of-any-role"}, "regular expression pattern"),
        (processing_arguments("x" * 300), "length less than or equal to 256"),
    ]:
        with pytest.raises(ClientError, match=message):
            sagemaker.create_processing_job(ProcessingJobName=f"{job_name}-2", **request)
    with pytest.raises(ClientError, match="not found"):
        sagemaker.describe_processing_job(ProcessingJobName=f"{job_name}-2")


TRAIN = """
import argparse, json, os, pathlib
import neighbour
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
parser.add_argument("--layers")
arguments = parser.parse_args()
for epoch in range(3):
    print(f"epoch={epoch} loss={1 / (epoch + 1):.2f}")
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "sub").mkdir()
seen = {
    "rate": arguments.rate, "layers": arguments.layers, "cwd": os.getcwd(), "neighbour": neighbour.VALUE,
    "channels": json.loads(os.environ["SM_CHANNELS"]), "hps": json.loads(os.environ["SM_HPS"]),
    "files": sorted(os.listdir(os.environ["SM_CHANNEL_WORDS"])), "hp": os.environ["SM_HP_RATE"],
    "config": json.load(open(os.environ["SM_INPUT_CONFIG_DIR"] + "/hyperparameters.json"))["rate"],
}
(model / "sub" / "seen.json").write_text(json.dumps(seen))
(pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"]) / "plot.txt").write_text("a plot")
"""
FILES = {"jobs/train.py": TRAIN, "neighbour.py": "VALUE = 5\n", "requirements.txt": "numpy\n"}


def test_script_mode_trains_and_packs_the_model(account: RunningAccount, data: str, job_name: str) -> None:
    request = training_arguments(data, FILES, "jobs/train.py", account, rate=0.5, layers=[8, 4])
    request["InputDataConfig"] = [channel("words", f"s3://{data}/in")]
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    job = run_training(account, job_name, request)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed", job.get("FailureReason")
    uri = f"s3://{data}/models/{job_name}/output/model.tar.gz"
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == uri
    content = read(account, data, f"models/{job_name}/output/model.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        file = tar.extractfile("sub/seen.json")
        assert file is not None
        seen = json.load(file)
    assert seen["cwd"].endswith("/code")
    del seen["cwd"]
    assert seen == {
        "rate": 0.5,
        "layers": "[8, 4]",
        "neighbour": 5,
        "channels": ["words"],
        "hps": {"rate": 0.5, "layers": [8, 4]},
        # a prefix without a closing slash names its neighbours too, as on AWS
        "files": ["a.txt", "deep", "into"],
        "hp": "0.5",
        "config": "0.5",
    }
    assert f"models/{job_name}/output/output.tar.gz" in keys(account, data, f"models/{job_name}")
    statuses = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert [(m["MetricName"], round(m["Value"], 2)) for m in job["FinalMetricDataList"]] == [("loss", 0.33)]
    metrics = account.client("cloudwatch").list_metrics(
        Namespace="/aws/sagemaker/TrainingJobs", Dimensions=[{"Name": "TrainingJobName", "Value": job_name}]
    )["Metrics"]
    assert [m["MetricName"] for m in metrics] == ["loss"]


def test_a_training_script_that_raises_says_why(account: RunningAccount, data: str, job_name: str) -> None:
    files = {"train.py": "def fit():\n    raise ValueError('no images of bicycles')\nfit()\n"}
    job = run_training(account, job_name, training_arguments(data, files, "train.py", account, epochs=2))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    reason = job["FailureReason"]
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage ")
    assert "ValueError: no images of bicycles" in reason
    assert 'Command "python3 train.py --epochs 2"' in reason
    assert reason.endswith(", exit code: 1")
    assert keys(account, data, f"models/{job_name}") == []


def test_requirements_that_cannot_be_installed_fail_the_job(account: RunningAccount, data: str, job_name: str) -> None:
    files = {"train.py": "print('never')", "requirements.txt": "./not-there\n"}
    job = run_training(account, job_name, training_arguments(data, files, "train.py", account))
    assert job["FailureReason"].startswith("AlgorithmError: InstallRequirementsError:")
    assert "never" not in job_log(account, "Training", job_name)


def test_what_pip_said_is_no_part_of_the_reason(account: RunningAccount, data: str, job_name: str) -> None:
    files = {"train.py": "import sys\nsys.exit('no images of bicycles')\n", "requirements.txt": "numpy\n"}
    job = run_training(account, job_name, training_arguments(data, files, "train.py", account, epochs=2))
    assert 'ErrorMessage "no images of bicycles"' in job["FailureReason"]


def test_an_own_entrypoint_trains_without_script_mode(account: RunningAccount, data: str, job_name: str) -> None:
    request = training_arguments(data, {"x.py": ""}, "x.py", account)
    del request["HyperParameters"]
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/sh", "-ec"],
        "ContainerArguments": ["echo $TRAINING_JOB_NAME > /opt/ml/model/name"],
    }
    assert run_training(account, job_name, request)["TrainingJobStatus"] == "Completed"
    with tarfile.open(fileobj=io.BytesIO(read(account, data, f"models/{job_name}/output/model.tar.gz"))) as tar:
        file = tar.extractfile("name")
        assert file is not None
        assert file.read().decode().strip() == job_name


def test_checkpoints_go_to_s3_and_come_back(account: RunningAccount, data: str, job_name: str) -> None:
    code = (
        "import os, pathlib\np = pathlib.Path(os.environ['CHECKPOINTS'], 'step')\n"
        "n = int(p.read_text()) + 1 if p.exists() else 1\np.write_text(str(n))\n"
    )
    request = training_arguments(data, {"train.py": code}, "train.py", account)
    request["CheckpointConfig"] = {"S3Uri": f"s3://{data}/{job_name}-checkpoints"}
    request["Environment"] = {"CHECKPOINTS": "/opt/ml/checkpoints"}
    for attempt in ("a", "b"):
        job = run_training(account, f"{job_name}-{attempt}", request)
        assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    assert read(account, data, f"{job_name}-checkpoints/step") == b"2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"HyperParameters": {"depth": "3"}}, f"ClientError: image {IMAGE} cannot run here"),
        (
            {"HyperParameters": {"sagemaker_program": "a.py", "sagemaker_submit_directory": "s3://no-such-bucket-x/c"}},
            "ClientError: Data download failed:NoSuchBucket",
        ),
        ({"program": "other.py"}, "AlgorithmError: expected the entry point 'other.py'"),
        ({"archive": b"not an archive"}, "ClientError: s3://"),
        ({"archive": "outside"}, "ClientError: s3://"),
    ],
)
def test_training_that_cannot_start_says_why(
    account: RunningAccount, data: str, job_name: str, change: dict[str, Any], reason: str
) -> None:
    request = training_arguments(data, {"train.py": ""}, "train.py", account)
    if "HyperParameters" in change:
        request["HyperParameters"] = change["HyperParameters"]
    if "program" in change:
        request["HyperParameters"]["sagemaker_program"] = json.dumps(change["program"])
    if "archive" in change:
        body = change["archive"] if isinstance(change["archive"], bytes) else _archive_that_escapes()
        uri = json.loads(request["HyperParameters"]["sagemaker_submit_directory"])
        account.client("s3").put_object(Bucket=data, Key=uri.split("/", 3)[3], Body=body)
    job = run_training(account, job_name, request)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(reason)
    assert not (account.state_dir / "jobs" / "escaped").exists()


def _archive_that_escapes() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
    return buffer.getvalue()


def test_pipe_mode_and_more_hosts_than_fit_are_refused(account: RunningAccount, data: str, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    pipe = training_arguments(data, {"train.py": ""}, "train.py", account)
    pipe["InputDataConfig"] = [channel("words", f"s3://{data}/in") | {"InputMode": "Pipe"}]
    two = training_arguments(data, {"train.py": ""}, "train.py", account)
    two["ResourceConfig"]["InstanceCount"] = 21
    for request, message in [(pipe, "File and FastFile, got Pipe"), (two, "at most 20 instances, got 21")]:
        with pytest.raises(ClientError, match=message):
            sagemaker.create_training_job(TrainingJobName=job_name, **request)


def test_stopping_a_training_job_keeps_its_model(account: RunningAccount, data: str, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    code = "import os, time; open(os.environ['SM_MODEL_DIR'] + '/half', 'w').close(); print('ready'); time.sleep(60)"
    request = training_arguments(data, {"train.py": code}, "train.py", account)
    sagemaker.create_training_job(TrainingJobName=job_name, **request)
    while "ready" not in _log_so_far(account, job_name):
        time.sleep(0.05)
    sagemaker.stop_training_job(TrainingJobName=job_name)
    job = wait_for_job(account, "Training", job_name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith(f"{job_name}/output/model.tar.gz")


def _log_so_far(account: RunningAccount, job_name: str) -> list[str]:
    try:
        return job_log(account, "Training", job_name)
    except account.client("logs").exceptions.ResourceNotFoundException:
        return []


def test_jobs_are_listed_newest_first(account: RunningAccount, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    for suffix, code in [("a", "print(1)"), ("b", "raise SystemExit(1)"), ("c", "print(1)")]:
        run_processing(account, f"{job_name}-{suffix}", code)
    listed = sagemaker.list_processing_jobs(NameContains=job_name)["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"][-1] for job in listed] == ["c", "b", "a"]
    failed = sagemaker.list_processing_jobs(NameContains=job_name, StatusEquals="Failed")["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"][-1] for job in failed] == ["b"]
    pages = sagemaker.get_paginator("list_processing_jobs").paginate(
        NameContains=job_name, SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    names = [job["ProcessingJobName"][-1] for page in pages for job in page["ProcessingJobSummaries"]]
    assert names == ["a", "b", "c"]


def test_tags_of_a_job(account: RunningAccount, job_name: str) -> None:
    sagemaker = account.client("sagemaker")
    arn = sagemaker.create_processing_job(
        ProcessingJobName=job_name,
        Tags=[{"Key": "team", "Value": "red"}, {"Key": "cost", "Value": "1"}],
        **processing_arguments("print(1)"),
    )["ProcessingJobArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "blue"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["cost"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "blue"}]
    wait_for_job(account, "Processing", job_name)


def test_the_role_is_quoted_when_data_is_missing(account: RunningAccount, job_name: str) -> None:
    job = run_processing(account, job_name, "print(1)", inputs={"in": "s3://no-such-bucket-at-all/x"})
    assert f'the role "{ROLE}" has "s3:ListBucket" permissions' in job["FailureReason"]
