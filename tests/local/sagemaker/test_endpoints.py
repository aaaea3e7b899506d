"""Endpoints of the stand-in account, with a model that the project does not contain."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.sagemaker.endpoints.archive import Container, StartError
from local_account.sagemaker.endpoints.instance import Instance
from tests.local.conftest import free_port
from tests.local.foreign_models import MEAN, Deployer, archive


@pytest.fixture(scope="module")
def deployer(account: Any) -> Deployer:
    return Deployer(account, "ep")


@pytest.fixture(scope="module")
def mean(deployer: Deployer) -> str:
    return deployer.serve("mean")


def error_of(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call()
    return {**caught.value.response, **caught.value.response["Error"]}


def wait_until(condition: Callable[[], Any], timeout_s: float = 300) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found or time.monotonic() > deadline:
            assert found
            return found
        time.sleep(0.1)


def test_the_archive_s_own_script_answers(deployer: Deployer, mean: str) -> None:
    answer = deployer.invoke(mean, bytes([2, 4, 9]))
    assert json.loads(answer["Body"].read()) == {"mean": 5.0, "model": 1.0}
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"


def test_describe_shows_what_serves(deployer: Deployer, mean: str) -> None:
    description = deployer.sagemaker.describe_endpoint(EndpointName=mean)
    assert description["EndpointStatus"] == "InService"
    assert description["EndpointConfigName"] == "ep-mean"
    variant = description["ProductionVariants"][0]
    assert (variant["VariantName"], variant["CurrentWeight"], variant["CurrentInstanceCount"]) == ("AllTraffic", 1.0, 1)
    listed = deployer.sagemaker.list_endpoints(NameContains=mean, StatusEquals="InService")["Endpoints"]
    assert [e["EndpointName"] for e in listed] == [mean]


def test_no_answer_holds_a_member_that_botocore_does_not_know(account: Any, deployer: Deployer, mean: str) -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    raw: dict[str, Any] = {}
    client = deployer.sagemaker
    client.meta.events.register("before-parse.sagemaker", lambda response_dict, **_: raw.update(response_dict))
    try:
        for name, request in (
            ("DescribeEndpoint", {"EndpointName": mean}),
            ("ListEndpoints", {}),
            ("DescribeEndpointConfig", {"EndpointConfigName": "ep-mean"}),
            ("ListEndpointConfigs", {}),
        ):
            method = getattr(client, "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_"))
            method(**request)
            unknown = unknown_members(json.loads(raw["body"]), model.operation_model(name).output_shape)
            assert not unknown, name
    finally:
        client.meta.events.unregister("before-parse.sagemaker")


def unknown_members(value: Any, shape: Any) -> list[str]:
    if shape.type_name == "structure":
        known = [
            m for key in value.keys() & shape.members.keys() for m in unknown_members(value[key], shape.members[key])
        ]
        return known + sorted(value.keys() - shape.members.keys())
    if shape.type_name == "list":
        return [m for entry in value for m in unknown_members(entry, shape.member)]
    return []


def test_an_exception_of_the_script_is_a_model_error_with_its_message(deployer: Deployer, mean: str) -> None:
    error = error_of(lambda: deployer.invoke(mean, b""))
    assert (error["Code"], error["OriginalStatusCode"]) == ("ModelError", 500)
    assert error["OriginalMessage"] == "nothing to average"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error["LogStreamArn"].startswith(
        f"arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/{mean}"
    )
    assert 'Received server error (500) from primary with message "nothing to average"' in error["Message"]


def test_unsupported_content_is_a_client_error(deployer: Deployer, mean: str) -> None:
    error = error_of(lambda: deployer.invoke(mean, b"a,b", ContentType="text/csv"))
    assert (error["Code"], error["OriginalStatusCode"]) == ("ModelError", 400)
    assert "text/csv is not served" in error["OriginalMessage"]


def test_the_log_is_in_cloudwatch(account: Any, deployer: Deployer, mean: str) -> None:
    group = f"/aws/sagemaker/Endpoints/{mean}"
    deployer.invoke(mean)
    logs = account.client("logs")
    wait_until(lambda: logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"])
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert streams[0]["logStreamName"].startswith("AllTraffic/i-")


def test_unknown_endpoint_and_too_large_body_are_refused(deployer: Deployer, mean: str) -> None:
    error = error_of(lambda: deployer.invoke("nobody"))
    assert (error["Code"], error["Message"]) == (
        "ValidationError",
        "Endpoint nobody of account 123456789012 not found.",
    )
    error = error_of(lambda: deployer.invoke(mean, b"x" * 6_291_457))
    assert error["Code"] == "ValidationError"
    assert "6291456" in error["Message"]


def test_async_and_streaming_invocations_say_that_they_are_missing(account: Any, mean: str) -> None:
    runtime = account.client("sagemaker-runtime")
    for call in (
        lambda: runtime.invoke_endpoint_async(EndpointName=mean, InputLocation="s3://bucket/key"),
        lambda: runtime.invoke_endpoint_with_response_stream(EndpointName=mean, Body=b"x"),
    ):
        error = error_of(call)
        assert error["Code"] == "ValidationError"
        assert "does not implement" in error["Message"]


def test_duplicates_and_unknown_names_are_refused_in_aws_s_words(deployer: Deployer, mean: str) -> None:
    sagemaker = deployer.sagemaker
    error = error_of(lambda: sagemaker.create_endpoint(EndpointName=mean, EndpointConfigName="ep-mean"))
    assert error["Message"].startswith('Cannot create already existing endpoint "arn:aws:sagemaker')
    error = error_of(lambda: sagemaker.create_endpoint(EndpointName="new", EndpointConfigName="none"))
    assert error["Message"].startswith('Could not find endpoint configuration "arn:aws:sagemaker')
    error = error_of(lambda: sagemaker.describe_endpoint(EndpointName="none"))
    assert error["Message"].startswith('Could not find endpoint "arn:aws:sagemaker')
    error = error_of(lambda: deployer.config("orphan", {"AllTraffic": "no-such-model"}))
    assert error["Message"].startswith('Could not find model "arn:aws:sagemaker')
    error = error_of(lambda: deployer.config("mean", {"AllTraffic": "ep-mean"}))
    assert error["Message"].startswith("Cannot create already existing endpoint configuration")


def escaping() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        member = tarfile.TarInfo("../../outside.txt")
        tar.addfile(member, io.BytesIO(b""))
    return stream.getvalue()


UNSTARTABLE = {
    "missing": (None, "Could not find model data at s3://"),
    "damaged": (archive()[:100], "Failed to extract model data archive"),
    "no-tar": (b"this is no archive", "Failed to extract model data archive"),
    "escaping": (escaping(), "Failed to extract model data archive"),
    "no-code": (archive(None), "has no code/inference.py"),
    "raises": (archive("raise OSError('the weights are gone')"), "the weights are gone"),
    "no-model-fn": (archive("def input_fn(b, t): return b"), "Please provide a model_fn implementation"),
}


@pytest.mark.parametrize("name", UNSTARTABLE)
def test_a_model_that_cannot_start_fails_the_endpoint(deployer: Deployer, name: str) -> None:
    content, expected = UNSTARTABLE[name]
    endpoint = deployer.endpoint(name, deployer.config(name, {"AllTraffic": deployer.model(name, content)}))
    description = deployer.settled(endpoint)
    assert description["EndpointStatus"] == "Failed"
    assert expected in description["FailureReason"]
    if name == "raises":
        assert description["FailureReason"].startswith(
            "The primary container for production variant AllTraffic did not pass the ping health check. "
            "Please check CloudWatch logs for this endpoint."
        )
    assert error_of(lambda: deployer.invoke(endpoint))["Code"] == "ValidationError"
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_a_model_that_never_answers_its_ping_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("import time\ndef model_fn(model_dir):\n    time.sleep(60)\n")
    container = Container(
        image="none", model_data="", compressed=True, environment={"SAGEMAKER_SUBMIT_DIRECTORY": str(tmp_path / "code")}
    )
    account = Account(tmp_path / "state", free_port())
    server = Instance(account, "never", "AllTraffic", container, startup_s=1)
    with pytest.raises(StartError) as caught:
        server.start()
    assert str(caught.value) == (
        "The primary container for production variant AllTraffic did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )
    server.stop()
    account.children.stop_all()


def test_weights_share_traffic_and_a_target_variant_wins(deployer: Deployer) -> None:
    models = {
        name: deployer.model(f"weights-{name.lower()}", archive(weights=str(i)))
        for i, name in enumerate("ABC", start=1)
    }
    endpoint = deployer.endpoint("weights", deployer.config("weights", models, A=0.0, B=3.0, C=1.0))
    deployer.settled(endpoint)
    seen = Counter(deployer.invoke(endpoint)["InvokedProductionVariant"] for _ in range(80))
    assert seen["A"] == 0
    assert seen["B"] > seen["C"] > 0
    answer = deployer.invoke(endpoint, TargetVariant="A")
    assert (answer["InvokedProductionVariant"], json.loads(answer["Body"].read())["model"]) == ("A", 1.0)
    assert "Variant X" in error_of(lambda: deployer.invoke(endpoint, TargetVariant="X"))["Message"]

    wishes = [{"VariantName": "A", "DesiredWeight": 1.0}, {"VariantName": "B", "DesiredWeight": 0.0}]
    deployer.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint, DesiredWeightsAndCapacities=[*wishes, {"VariantName": "C", "DesiredWeight": 0.0}]
    )
    deployer.settled(endpoint)
    assert {deployer.invoke(endpoint)["InvokedProductionVariant"] for _ in range(10)} == {"A"}
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_no_request_fails_while_an_endpoint_is_updated(deployer: Deployer) -> None:
    endpoint = deployer.serve("update", archive(weights="1"))
    second = deployer.config("update-2", {"AllTraffic": deployer.model("update-2", archive(weights="2"))})
    stop = threading.Event()
    seen: list[float] = []

    def ask() -> None:
        while not stop.is_set():
            seen.append(json.loads(deployer.invoke(endpoint, b"sleep")["Body"].read())["model"])

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        time.sleep(0.3)
        deployer.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=second)
        description = deployer.sagemaker.describe_endpoint(EndpointName=endpoint)
        assert description["EndpointStatus"] == "Updating"
        assert description["PendingDeploymentSummary"]["EndpointConfigName"] == second
        error = error_of(lambda: deployer.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=second))
        assert error["Message"].startswith("Cannot update in-progress endpoint")
        description = deployer.settled(endpoint)
        time.sleep(0.3)
        stop.set()
        for future in asking:
            future.result()  # raises what a request raised
    assert description["EndpointConfigName"] == second
    assert "PendingDeploymentSummary" not in description
    assert set(seen) == {1.0, 2.0}

    broken = deployer.config("update-3", {"AllTraffic": deployer.model("update-3", archive("raise OSError('broken')"))})
    deployer.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=broken)
    description = deployer.settled(endpoint)
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", second)
    assert "broken" in description["FailureReason"]
    assert json.loads(deployer.invoke(endpoint)["Body"].read())["model"] == 2.0
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_a_crashed_model_server_is_started_again(deployer: Deployer) -> None:
    endpoint = deployer.serve("crash")
    error = error_of(lambda: deployer.invoke(endpoint, b"die"))
    assert (error["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)

    def answers() -> bool:
        try:
            return bool(deployer.invoke(endpoint)["Body"].read())
        except ClientError as failure:
            assert failure.response["Error"]["Code"] == "ModelError"
            return False

    wait_until(answers)
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)
    wait_until(lambda: not deployer.sagemaker.list_endpoints(NameContains=endpoint)["Endpoints"])


def test_metrics_of_the_invocations_reach_cloudwatch(account: Any, deployer: Deployer) -> None:
    endpoint = deployer.serve("metrics")
    for _ in range(3):
        deployer.invoke(endpoint)
    error_of(lambda: deployer.invoke(endpoint, b""))

    def total(name: str) -> float:
        points = account.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=time.time() - 600,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return float(sum(p["Sum"] for p in points))

    wait_until(lambda: total("Invocations") == 4)
    assert total("Invocation5XXErrors") == 1
    assert total("Invocation4XXErrors") == 0
    assert total("ModelLatency") > 0
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_default_hooks_serve_json_and_csv(deployer: Deployer) -> None:
    endpoint = deployer.serve("defaults", archive("def model_fn(model_dir):\n    return lambda data: data * 2\n"))
    answer = deployer.invoke(endpoint, b"[1, 2]", ContentType="application/json", Accept="text/csv")
    assert (answer["Body"].read().split(), answer["ContentType"]) == ([b"2", b"4"], "text/csv")
    error = error_of(lambda: deployer.invoke(endpoint, b"x", ContentType="image/png"))
    assert error["OriginalStatusCode"] == 415
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_the_model_cannot_import_the_project_or_the_account(deployer: Deployer) -> None:
    script = """
import importlib.util
def model_fn(model_dir):
    return [n for n in ("local_account", "scones", "endpoints", "runtime") if importlib.util.find_spec(n)]
def predict_fn(data, model):
    return model
"""
    endpoint = deployer.serve("imports", archive(script))
    answer = deployer.invoke(endpoint, b"[1]", ContentType="application/json", Accept="application/json")
    assert json.loads(answer["Body"].read()) == []
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_endpoints_come_up_again_with_the_account(fresh_account: Callable[..., Any]) -> None:
    first = fresh_account()
    deployer = Deployer(first, "again")
    endpoint = deployer.serve("mean", archive(MEAN, weights="7"))
    first.stop()
    second = fresh_account(first.state_dir)
    deployer.account, deployer.sagemaker = second, second.client("sagemaker")
    assert deployer.settled(endpoint)["EndpointStatus"] == "InService"
    assert json.loads(deployer.invoke(endpoint)["Body"].read())["model"] == 7.0


GATED = """
import os, time

def model_fn(model_dir):
    while not os.path.exists({gate!r}):
        time.sleep(0.01)
    return "open"

def predict_fn(data, model):
    return model

def output_fn(prediction, accept):
    return prediction, "text/plain"
"""


def test_an_endpoint_that_is_not_up_again_after_a_start_says_so(
    fresh_account: Callable[..., Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    first = fresh_account()
    deployer = Deployer(first, "gated")
    endpoint = deployer.serve("model", archive(GATED.format(gate=str(gate))))
    first.stop()
    gate.unlink()
    second = fresh_account(first.state_dir)
    deployer.account, deployer.sagemaker = second, second.client("sagemaker")
    with pytest.raises(ClientError) as raised:
        deployer.invoke(endpoint, b"[1]", ContentType="application/json")
    answer = raised.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceUnavailable", 503)
    assert "is not up again since the account was started" in answer["Error"]["Message"]
    with pytest.raises(ClientError, match="Endpoint gated-missing of account 123456789012 not found"):
        deployer.invoke("gated-missing")
    gate.touch()
    assert deployer.settled(endpoint)["EndpointStatus"] == "InService"
    assert deployer.invoke(endpoint, b"[1]", ContentType="application/json")["Body"].read() == b"open"
