"""Jobs on several hosts: who each of them is, what it gets, what becomes of its files, and whose failure it is."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.containers.namespaces import isolation_command, namespace_command
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import (
    bucket,
    channel,
    processing_arguments,
    run_training,
    training_arguments,
    wait_for_job,
)

pytestmark = pytest.mark.skipif(namespace_command() is None, reason="this system gives no private mount namespaces")


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    name = bucket(account, f"hosts-{uuid.uuid4().hex[:8]}")
    for number in range(5):
        account.client("s3").put_object(Bucket=name, Key=f"in/part-{number}.csv", Body=b"1")
    return name


@pytest.fixture
def job_name() -> str:
    return f"hosts-{uuid.uuid4().hex[:12]}"


def listed(account: RunningAccount, bucket_name: str, prefix: str) -> list[str]:
    found = account.client("s3").list_objects_v2(Bucket=bucket_name, Prefix=prefix).get("Contents", [])
    return [entry["Key"].removeprefix(prefix) for entry in found]


def document(account: RunningAccount, bucket_name: str, key: str) -> Any:
    return json.loads(account.client("s3").get_object(Bucket=bucket_name, Key=key)["Body"].read())


def streams(account: RunningAccount, kind: str, name: str) -> list[str]:
    group = f"/aws/sagemaker/{kind}Jobs"
    found = account.client("logs").describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")
    return sorted(stream["logStreamName"].rpartition("-")[0] for stream in found["logStreams"])


# Every host says who it is to the first one, over the network, and only then do they end.
MEETING = """
import json, os, pathlib, socket, sys
config = json.load(open(sys.argv[1]))
me, hosts = config["current_host"], config["hosts"]
out = pathlib.Path(sys.argv[2])
print(me, flush=True)
port = {port}
if me == hosts[0]:
    server = socket.create_server((me, port))
    print("listening", flush=True)
    met = [me]
    for _ in hosts[1:]:
        peer, _address = server.accept()
        met.append(peer.recv(100).decode())
        peer.close()
    (out / "met.json").write_text(json.dumps(sorted(met)))
else:
    import time
    while True:
        try:
            with socket.create_connection((hosts[0], port)) as connection:
                connection.sendall(me.encode())
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
seen = {{"config": config, "name": socket.gethostname(), "address": socket.gethostbyname(me)}}
seen["parts"] = sorted(p.name for p in pathlib.Path(sys.argv[3]).glob("*"))
(out / (me + ".json")).write_text(json.dumps(seen))
(out / "same-name").write_text(me)
"""


def test_the_hosts_of_a_processing_job_meet_and_share_the_objects(
    account: RunningAccount, data: str, job_name: str
) -> None:
    request = processing_arguments("", inputs={"in": f"s3://{data}/in/"}, output_uri=f"s3://{data}/{job_name}")
    code = MEETING.format(port=7411)
    account.client("s3").put_object(Bucket=data, Key=f"{job_name}-code/meet.py", Body=code.encode())
    code_input = processing_arguments("", inputs={"code": f"s3://{data}/{job_name}-code/"})["ProcessingInputs"]
    request["ProcessingInputs"][0]["S3Input"]["S3DataDistributionType"] = "ShardedByS3Key"
    request["ProcessingInputs"] += code_input
    request["AppSpecification"]["ContainerEntrypoint"] = ["python3", "/opt/ml/processing/code/meet.py"]
    request["AppSpecification"]["ContainerArguments"] = [
        "/opt/ml/config/resourceconfig.json", "/opt/ml/processing/out", "/opt/ml/processing/in"
    ]  # fmt: skip
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 3
    account.client("sagemaker").create_processing_job(ProcessingJobName=job_name, **request)
    job = wait_for_job(account, "Processing", job_name)
    assert job["ProcessingJobStatus"] == "Completed", job
    hosts = ["algo-1", "algo-2", "algo-3"]
    assert document(account, data, f"{job_name}/met.json") == hosts
    seen = {host: document(account, data, f"{job_name}/{host}.json") for host in hosts}
    assert [seen[host]["name"] for host in hosts] == hosts
    assert len({seen[host]["address"] for host in hosts}) == 3
    assert all(seen[host]["address"].startswith("127.") for host in hosts)
    assert [seen[host]["config"]["current_host"] for host in hosts] == hosts
    assert all(seen[host]["config"]["hosts"] == hosts for host in hosts)
    parts = [seen[host]["parts"] for host in hosts]
    assert sorted(part for share in parts for part in share) == [f"part-{n}.csv" for n in range(5)]
    assert sorted(map(len, parts)) == [1, 2, 2]
    assert streams(account, "Processing", job_name) == [f"{job_name}/{host}" for host in hosts]
    assert account.client("s3").get_object(Bucket=data, Key=f"{job_name}/same-name")["Body"].read() == b"algo-1"
    assert not list(account.state_dir.glob(f"jobs/*{job_name}*"))


TRAIN = """
import json, os, pathlib
host, model = os.environ["SM_CURRENT_HOST"], pathlib.Path(os.environ["SM_MODEL_DIR"])
channels = {name: sorted(os.listdir(os.environ["SM_CHANNEL_" + name.upper()]))
            for name in json.loads(os.environ["SM_CHANNELS"])}
seen = {name: os.environ[name] for name in os.environ if name.startswith("SM_")} | {"channels": channels}
seen["config"] = json.load(open("/opt/ml/input/config/resourceconfig.json"))
(model / (host + ".json")).write_text(json.dumps(seen))
(model / "shared").mkdir()
(model / "shared" / "who").write_text(host)
(pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"]) / host).touch()
print(f"loss={len(host)}")
"""


def test_a_heterogeneous_training_job_has_groups_channels_and_one_model(
    account: RunningAccount, data: str, job_name: str
) -> None:
    request = training_arguments(data, {"train.py": TRAIN}, "train.py", account)
    request["ResourceConfig"] = {
        "VolumeSizeInGB": 1,
        "InstanceGroups": [
            {"InstanceGroupName": "data", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
            {"InstanceGroupName": "gpu", "InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1},
        ],
    }
    sharded = channel("raw", f"s3://{data}/in/")
    sharded["DataSource"]["S3DataSource"] |= {
        "S3DataDistributionType": "ShardedByS3Key", "InstanceGroupNames": ["data"]
    }  # fmt: skip
    request["InputDataConfig"] = [sharded, channel("all", f"s3://{data}/in/")]
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=(.*)"}]
    job = run_training(account, job_name, request)
    assert job["TrainingJobStatus"] == "Completed", job
    key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{data}/")
    content = account.client("s3").get_object(Bucket=data, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = [name for name in tar.getnames() if "/" in name or name.endswith(".json")]
        assert sorted(names) == ["algo-1.json", "algo-2.json", "algo-3.json", "shared/who"]
        read = {name: tar.extractfile(name).read().decode() for name in names}  # type: ignore[union-attr]
    assert read["shared/who"] == "algo-1"
    seen = [json.loads(read[f"algo-{number}.json"]) for number in (1, 2, 3)]
    shares = [set(one["channels"].get("raw", [])) for one in seen]
    assert shares[0] | shares[1] == {f"part-{n}.csv" for n in range(5)}
    assert not shares[0] & shares[1]
    assert "raw" not in seen[2]["channels"]
    assert all(len(one["channels"]["all"]) == 5 for one in seen)
    assert [one["SM_CURRENT_INSTANCE_GROUP"] for one in seen] == ["data", "data", "gpu"]
    assert [one["SM_CURRENT_INSTANCE_TYPE"] for one in seen] == ["ml.c5.xlarge"] * 2 + ["ml.g4dn.xlarge"]
    assert json.loads(seen[1]["SM_TRAINING_ENV"])["is_master"] is False
    assert json.loads(seen[2]["SM_HOSTS"]) == ["algo-1", "algo-2", "algo-3"]
    assert seen[2]["SM_IS_HETERO"] == "true"
    assert [group["hosts"] for group in seen[0]["config"]["instance_groups"]] == [["algo-1", "algo-2"], ["algo-3"]]
    assert streams(account, "Training", job_name) == [f"{job_name}/algo-{n}" for n in (1, 2, 3)]
    results = account.client("s3").get_object(Bucket=data, Key=f"models/{job_name}/output/output.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(results["Body"].read())) as tar:
        assert sorted(filter(None, (name.strip("./") for name in tar.getnames()))) == ["algo-1", "algo-2", "algo-3"]


FAILING = """
import os, sys, time
if os.environ["SM_CURRENT_HOST"] == "algo-2":
    raise RuntimeError("the second has had enough")
time.sleep(600)
"""


def test_one_hosts_failure_ends_the_job_by_its_name(account: RunningAccount, data: str, job_name: str) -> None:
    request = training_arguments(data, {"train.py": FAILING}, "train.py", account)
    request["ResourceConfig"]["InstanceCount"] = 3
    job = run_training(account, job_name, request)
    assert job["TrainingJobStatus"] == "Failed", job
    assert job["FailureReason"].startswith("AlgorithmError: algo-2: ExecuteUserScriptError:")
    assert "the second has had enough" in job["FailureReason"]
    assert job["FailureReason"].endswith("exit code: 1")


@pytest.mark.slow  # it imports torch three times
def test_torchrun_connects_the_hosts(account: RunningAccount, data: str, job_name: str) -> None:
    code = (
        "import os, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "total = torch.tensor([dist.get_rank() + 1.0]); dist.all_reduce(total)\n"
        "print(f'sum={total.item()}')\n"
    )
    request = training_arguments(
        data, {"train.py": code}, "train.py", account, sagemaker_torch_distributed_enabled=True
    )
    request["ResourceConfig"]["InstanceCount"] = 2
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "sum", "Regex": "sum=([0-9.]+)"}]
    job = run_training(account, job_name, request)
    assert job["TrainingJobStatus"] == "Completed", job
    assert [metric["Value"] for metric in job["FinalMetricDataList"]] == [3.0]


GROUPS = [{"InstanceGroupName": "one", "InstanceType": "ml.m5.large", "InstanceCount": 1}]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ResourceConfig": {"InstanceCount": 1, "InstanceGroups": GROUPS, "VolumeSizeInGB": 1}}, "not both"),
        ({"ResourceConfig": {"VolumeSizeInGB": 1}}, "expected InstanceType and InstanceCount, or InstanceGroups"),
        ({"ResourceConfig": {"InstanceGroups": GROUPS * 2, "VolumeSizeInGB": 1}}, "'one' occurs twice"),
        ({"HyperParameters": {"sagemaker_mpi_enabled": "true"}}, "sagemaker_mpi_enabled needs programs"),
        ({"InputDataConfig": ["elsewhere"]}, "no instance group 'elsewhere'"),
        (
            {"TensorBoardOutputConfig": {"S3OutputPath": "s3://b/t", "LocalPath": "/var/t"}},
            "TensorBoardOutputConfig.LocalPath must be below /opt/ml",
        ),
        (
            {"ProfilerRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]},
            "does not implement CreateTrainingJob's ProfilerRuleConfigurations.*the rules are images of AWS's own",
        ),
    ],
)
def test_hosts_that_cannot_be_are_refused(
    account: RunningAccount, data: str, job_name: str, changed: dict[str, Any], message: str
) -> None:
    request = training_arguments(data, {"train.py": ""}, "train.py", account)
    parameters = request["HyperParameters"] | changed.get("HyperParameters", {})
    request = request | changed | {"HyperParameters": parameters}
    if "InputDataConfig" in changed:
        source = channel("in", f"s3://{data}/in")
        source["DataSource"]["S3DataSource"]["InstanceGroupNames"] = changed["InputDataConfig"]
        request["InputDataConfig"] = [source]
    with pytest.raises(ClientError, match=message):
        account.client("sagemaker").create_training_job(TrainingJobName=job_name, **request)


@pytest.mark.skipif(isolation_command() is None, reason="this system forbids a network of its own")
def test_several_hosts_without_a_network_are_refused(account: RunningAccount, job_name: str) -> None:
    request = processing_arguments("print(1)") | {"NetworkConfig": {"EnableNetworkIsolation": True}}
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 2
    with pytest.raises(ClientError, match="expected one instance with EnableNetworkIsolation, got 2"):
        account.client("sagemaker").create_processing_job(ProcessingJobName=job_name, **request)
