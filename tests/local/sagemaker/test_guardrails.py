"""Deployment guardrails of the stand-in account: traffic shifts, baking, alarms and the way back."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.account import Account
from local_account.autoscaling.tracking import Tracking
from local_account.base.chaos import Duplicates
from local_account.containers.namespaces import isolation_command
from local_account.sagemaker.endpoints.deployment_config import RolloutPlan
from local_account.sagemaker.endpoints.fleet import EndpointTraffic, Fleet
from local_account.sagemaker.endpoints.rollout import RollbackError, Rollout
from local_account.server import control
from tests.local.conftest import start_account
from tests.local.foreign_models import MEAN, ROLE, Deployer, archive
from tests.local.queues import Queue
from tests.local.roles import allow, make_role, trust
from tests.local.roles import document as statements

FOREVER_S = 3600  # minutes at the account's pace: longer than any test, unless what the test does ends it
FAILS = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    raise RuntimeError("every answer is an error")
"""


@pytest.fixture(scope="module")
def deployer(account: Any) -> Guarded:
    return Guarded(account, "gr")


class Guarded(Deployer):
    """Deploys models that answer a number."""

    def numbered(self, name: str, number: str, count: int = 2, script: str | None = None, **variant: Any) -> str:
        """A configuration with one variant of ``count`` instances whose model answers ``number``."""
        content = archive(script, weights=number) if script else archive(weights=number)
        name, model = f"{self.prefix}-{name}", self.model(name, content)
        sized = {} if "ServerlessConfig" in variant else {"InstanceType": "ml.m5.large", "InitialInstanceCount": count}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": model, **sized, **variant}],
        )
        return name

    def update(self, endpoint: str, config: str, deployment: dict[str, Any] | None = None, **more: Any) -> None:
        more |= {"DeploymentConfig": deployment} if deployment else {}
        self.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, **more)

    def settled(self, name: str, timeout_s: float = 600) -> dict[str, Any]:
        return super().settled(name, timeout_s)

    def answer(self, endpoint: str) -> int:
        return int(json.loads(self.invoke(endpoint)["Body"].read())["model"])

    def alarm(self, name: str, **changes: Any) -> str:
        """An alarm on a metric that only a test writes."""
        name = f"{self.prefix}-{name}"
        settings: dict[str, Any] = {
            "AlarmName": name,
            "Namespace": "Tests",
            "MetricName": name,
            "Statistic": "Maximum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        }
        self.account.client("cloudwatch").put_metric_alarm(
            **{key: value for key, value in {**settings, **changes}.items() if value is not None}
        )
        return name

    def trip(self, alarm: str) -> None:
        data = [{"MetricName": alarm, "Value": 1.0}]
        self.account.client("cloudwatch").put_metric_data(Namespace="Tests", MetricData=data)

    def described(self, endpoint: str) -> dict[str, Any]:
        return dict(self.sagemaker.describe_endpoint(EndpointName=endpoint))

    def events(self, endpoint: str) -> Queue:
        """A queue that gets the endpoint's events from now on."""
        name = f"{endpoint}-events"
        queue, client = Queue(self.account, name), self.account.client("events")
        pattern = {"source": ["aws.sagemaker"], "detail": {"EndpointName": [endpoint]}}
        client.put_rule(Name=name, EventPattern=json.dumps(pattern))
        client.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": queue.arn}])
        return queue

    def processes(self, endpoint: str) -> int:
        """How many model servers the endpoint's variant has."""
        return len(list((self.account.state_dir / "endpoints" / endpoint).glob("AllTraffic-*")))

    def baking(self, endpoint: str, share: str) -> dict[str, Any]:
        """The description once the new fleet bakes on ``share`` (canary or full capacity)."""

        def found() -> dict[str, Any] | None:
            description = self.described(endpoint)
            for variant in description.get("PendingDeploymentSummary", {}).get("ProductionVariants", []):
                for status in variant.get("VariantStatus", []):
                    if status["Status"] == "Baking" and share in status["StatusMessage"]:
                        return description
            return None

        return dict(until(found))

    @contextmanager
    def traffic(self, endpoint: str, threads: int = 3) -> Iterator[list[int]]:
        """Requests from several threads throughout the block; raises what one of them raised."""
        seen: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                seen.append(self.answer(endpoint))
                stop.wait(0.005)

        with ThreadPoolExecutor(threads) as pool:
            asking = [pool.submit(ask) for _ in range(threads)]
            try:
                until(lambda: seen or any(future.done() for future in asking))
                yield seen
            finally:
                stop.set()
            for future in asking:
                future.result()


def until(condition: Callable[[], Any], timeout_s: float = 600) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)
    return found


def policy(kind: str = "CANARY", *, wait_s: int = 20, end_s: int = 0, alarms: tuple[str, ...] = ()) -> dict[str, Any]:
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": wait_s}
    if kind == "CANARY":
        routing["CanarySize"] = {"Type": "CAPACITY_PERCENT", "Value": 10}
    if kind == "LINEAR":
        routing["LinearStepSize"] = {"Type": "CAPACITY_PERCENT", "Value": 50}
    document: dict[str, Any] = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": end_s}
    }
    if alarms:
        document["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return document


def rolling(size: int = 50, *, wait_s: int = 20, alarms: tuple[str, ...] = ()) -> dict[str, Any]:
    document: dict[str, Any] = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": size},
            "WaitIntervalInSeconds": wait_s,
        }
    }
    if alarms:
        document["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return document


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is missing, a request of the serverless endpoint that says wait is not answered."""
    return tmp_path_factory.mktemp("serverless") / "open"


@pytest.fixture(scope="module")
def serverless(deployer: Guarded, gate: Path) -> str:
    shut = f'bytes(data[:4]) == b"wait" and not os.path.exists({str(gate)!r})'
    waits = f"while {shut}:\n        time.sleep(0.01)\n    if data"
    config = deployer.numbered(
        "serverless",
        "8",
        script=MEAN.replace("if data", waits, 1),
        ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 1},
    )
    name = deployer.endpoint("serverless", config)
    (variant,) = deployer.settled(name)["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    assert deployer.processes(name) == 0
    assert deployer.answer(name) == 8
    return name


def test_a_serverless_variant_answers_as_many_at_once_as_it_may(deployer: Guarded, serverless: str, gate: Path) -> None:
    def throttled(body: bytes) -> bool:
        try:
            deployer.invoke(serverless, body)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ThrottlingException"
            return True
        return False

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: until(lambda: not throttled(b"wait")))
        until(lambda: throttled(b"short"))
        gate.touch()
        waiting.result()
    assert "4194304" in refused(lambda: deployer.invoke(serverless, b"x" * 4_194_305))
    assert "applies to real-time variants" in refused(lambda: deployer.update(serverless, "gr-serverless", policy()))


@pytest.fixture(scope="module")
def endpoint(deployer: Guarded) -> str:
    """One endpoint that the tests update in turn; ``one`` is the configuration that answers 1."""
    name = deployer.endpoint("main", deployer.numbered("one", "1"))
    assert deployer.settled(name)["EndpointStatus"] == "InService"
    return name


@pytest.fixture(scope="module")
def two(deployer: Guarded) -> str:
    return deployer.numbered("two", "2")


def test_a_canary_takes_its_share_until_an_alarm_calls_it_back(deployer: Guarded, endpoint: str, two: str) -> None:
    alarm = deployer.alarm("canary")
    events = deployer.events(endpoint)
    with deployer.traffic(endpoint) as seen:
        deployer.update(endpoint, two, policy(wait_s=FOREVER_S, alarms=(alarm,)))
        description = deployer.baking(endpoint, "canary capacity of 1 instance(s)")
        assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("Updating", "gr-one")
        assert description["PendingDeploymentSummary"]["EndpointConfigName"] == two
        before = len(seen)
        until(lambda: len(seen) > before + 120)
        # Of any hundred requests exactly ten; those at both ends of the span may have been chosen before it.
        counted = Counter(seen[before : before + 100])
        assert 4 <= counted[2] <= 16
        deployer.trip(alarm)
        description = deployer.settled(endpoint)
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "gr-one")
    assert alarm in description["FailureReason"]
    assert "PendingDeploymentSummary" not in description
    routing = description["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "CANARY"
    assert {deployer.answer(endpoint) for _ in range(20)} == {1}
    told = [json.loads(message["Body"]) for message in events.take(7)]
    states = {e["detail"]["EndpointStatus"] for e in told if e["detail-type"] == "SageMaker Endpoint State Change"}
    assert states == {"UPDATING", "ROLLING_BACK", "IN_SERVICE"}
    steps = {
        event["detail"]["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["Status"]
        for event in told
        if event["detail-type"] == "SageMaker Endpoint Deployment State Change"
    }
    assert steps == {"Creating", "ActivatingTraffic", "Baking", "Deleting"}


def test_an_alarm_that_was_in_alarm_before_stops_the_update(deployer: Guarded, endpoint: str, two: str) -> None:
    alarm = deployer.alarm("before", TreatMissingData="breaching")
    cloudwatch = deployer.account.client("cloudwatch")
    until(lambda: cloudwatch.describe_alarms(AlarmNames=[alarm], StateValue="ALARM")["MetricAlarms"])
    deployer.update(endpoint, two, policy(alarms=(alarm,)))
    description = deployer.settled(endpoint)
    assert description["EndpointConfigName"] == "gr-one"
    assert alarm in description["FailureReason"]


def test_a_role_that_may_not_read_the_alarms_stops_the_update(deployer: Guarded, endpoint: str, two: str) -> None:
    alarm = deployer.alarm("unread")
    reading = allow("s3:GetObject", f"arn:aws:s3:::{deployer.bucket}/*")
    watching = allow("cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{alarm}")
    role = make_role(deployer.account, "gr-blind", reading, trusted=trust("sagemaker"))
    (container,) = [deployer.sagemaker.describe_model(ModelName="gr-two")["PrimaryContainer"]]
    deployer.sagemaker.create_model(ModelName="gr-blind", PrimaryContainer=container, ExecutionRoleArn=role)
    variant = {"VariantName": "AllTraffic", "ModelName": "gr-blind"}
    sized = {**variant, "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
    deployer.sagemaker.create_endpoint_config(EndpointConfigName="gr-blind", ProductionVariants=[sized])
    deployment = policy(wait_s=FOREVER_S, alarms=(alarm,))
    refusal = "role/gr-blind/.* is not authorized to perform: cloudwatch:DescribeAlarms"
    assert re.search(refusal, refused(lambda: deployer.update(endpoint, "gr-blind", deployment)))
    put = {"RoleName": "gr-blind", "PolicyName": "own"}
    iam = deployer.account.client("iam")
    iam.put_role_policy(**put, PolicyDocument=statements(reading, watching))
    deployer.update(endpoint, "gr-blind", deployment)
    deployer.baking(endpoint, "canary")
    iam.put_role_policy(**put, PolicyDocument=statements(reading))
    description = deployer.settled(endpoint)
    assert description["EndpointConfigName"] == "gr-one"
    assert re.search(refusal, description["FailureReason"])


def test_errors_of_the_new_fleet_alone_call_it_back(deployer: Guarded, endpoint: str) -> None:
    broken = deployer.numbered("broken", "3", script=FAILS)
    dimensions = {"EndpointName": endpoint, "VariantName": "AllTraffic", "EndpointConfigName": broken}
    alarm = deployer.alarm(
        "errors",
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Statistic="Sum",
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
    )
    deployer.update(endpoint, broken, policy(wait_s=FOREVER_S, alarms=(alarm,)))
    deployer.baking(endpoint, "canary")
    answers: Counter[str] = Counter()

    def rolled_back() -> bool:
        try:
            answers[str(deployer.answer(endpoint))] += 1
        except ClientError as error:
            answers[error.response["Error"]["Code"]] += 1
        return bool(deployer.described(endpoint)["EndpointStatus"] == "InService")

    until(rolled_back)
    assert answers["1"] > answers["ModelError"] > 0
    assert answers.keys() == {"1", "ModelError"}
    assert alarm in deployer.described(endpoint)["FailureReason"]


def test_a_fleet_that_does_not_answer_its_ping_never_gets_traffic(deployer: Guarded, endpoint: str) -> None:
    dead = deployer.numbered("dead", "4", script="raise OSError('the weights are gone')")
    with deployer.traffic(endpoint) as seen:
        deployer.update(endpoint, dead, policy())
        description = deployer.settled(endpoint)
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", "gr-one")
    assert "did not pass the ping health check" in description["FailureReason"]
    assert set(seen) == {1}


@pytest.mark.parametrize("document", [policy("ALL_AT_ONCE"), policy("LINEAR"), policy(), rolling()])
def test_no_request_fails_while_traffic_shifts(
    deployer: Guarded, endpoint: str, two: str, document: dict[str, Any]
) -> None:
    target = two if deployer.answer(endpoint) == 1 else "gr-one"
    with deployer.traffic(endpoint) as seen:
        deployer.update(endpoint, target, document)
        description = deployer.settled(endpoint)
        before = len(seen)
        until(lambda: len(seen) > before + 10)
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", target)
    assert "FailureReason" not in description
    assert set(seen) == {1, 2}
    assert description["ProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_a_rolling_update_goes_back_to_the_whole_old_fleet(deployer: Guarded, endpoint: str, tmp_path: Path) -> None:
    """The second batch fails when the old fleet has already given up an instance for the first one."""
    old = deployer.answer(endpoint)
    once = f"import os\nos.mkdir({str(tmp_path / 'started')!r})\n{MEAN}"
    with deployer.traffic(endpoint) as seen:
        deployer.update(endpoint, deployer.numbered("once", "6", script=once), rolling(wait_s=0))
        description = deployer.settled(endpoint)
    assert "FileExistsError" in description["FailureReason"]
    assert description["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert set(seen) <= {old, 6}
    assert {deployer.answer(endpoint) for _ in range(10)} == {old}


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Message"])


def test_what_aws_refuses_is_refused(deployer: Guarded, endpoint: str, two: str) -> None:
    def update(document: dict[str, Any], config: str = two, **more: Any) -> str:
        return refused(lambda: deployer.update(endpoint, config, document, **more))

    def canary(kind: str, value: int) -> dict[str, Any]:
        document = policy()
        routing = document["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
        routing["CanarySize"] = {"Type": kind, "Value": value}
        return document

    assert "between 1 and 50 percent" in update(canary("CAPACITY_PERCENT", 51))
    assert "less than or equal to 50%" in update(canary("INSTANCE_COUNT", 2))
    linear = policy("LINEAR")
    linear["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["LinearStepSize"]["Value"] = 9
    assert "between 10 and 50 percent" in update(linear)
    missing = policy()
    del missing["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["CanarySize"]
    assert "needs CanarySize" in update(missing)
    assert "Only one of" in update({**policy(), **rolling()})
    assert "Could not find the CloudWatch alarms" in update(policy(alarms=("gr-no-such-alarm",)))
    assert "less than or equal to 10" in update(policy(alarms=tuple(f"a{i}" for i in range(11))))
    assert "3601" in update(policy(wait_s=3601))
    short = policy(wait_s=600)
    short["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 600
    assert "must be larger than the total waiting time" in update(short)
    single = deployer.numbered("single", "5", count=1)
    assert "total instance count" in update(policy(), single)
    assert "Only one of" in update(policy(), RetainDeploymentConfig=True)
    other = deployer.config("other", {"Other": "gr-two"})
    assert "same variant names" in update(policy(), other)
    assert deployer.described(endpoint)["EndpointStatus"] == "InService"


def test_a_shadow_gets_a_copy_and_nobody_its_answer(deployer: Guarded) -> None:
    production = deployer.model("lead", archive(weights="1"))
    challenger = deployer.model("challenger", archive(weights="2"))
    instances = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{deployer.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    shadow = {"VariantName": "Challenger", "ModelName": challenger, "InitialVariantWeight": 0.5, **instances}
    deployer.sagemaker.create_endpoint_config(
        EndpointConfigName="gr-shadow",
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": production, **instances}],
        ShadowProductionVariants=[shadow],
        DataCaptureConfig=capture,
    )
    endpoint = deployer.endpoint("shadow", "gr-shadow")
    (described,) = deployer.settled(endpoint)["ShadowProductionVariants"]
    assert (described["VariantName"], described["CurrentInstanceCount"]) == ("Challenger", 1)
    assert {deployer.answer(endpoint) for _ in range(10)} == {1}

    def captured() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"AllTraffic": [], "Challenger": []}
        s3 = deployer.account.client("s3")
        for entry in s3.list_objects_v2(Bucket=deployer.bucket, Prefix="captured/").get("Contents", []):
            body = s3.get_object(Bucket=deployer.bucket, Key=entry["Key"])["Body"].read().decode()
            for line in body.splitlines():
                output = json.loads(line)["captureData"]["endpointOutput"]["data"]
                found[entry["Key"].split("/")[2]].append(json.loads(output)["model"])
        return found

    until(lambda: sum(len(lines) for lines in captured().values()) == 15)
    assert captured() == {"AllTraffic": [1.0] * 10, "Challenger": [2.0] * 5}
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)
    refusal = refused(
        lambda: deployer.sagemaker.create_endpoint_config(
            EndpointConfigName="gr-shadows",
            ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": production, **instances}],
            ShadowProductionVariants=[shadow, {**shadow, "VariantName": "Other"}],
        )
    )
    assert "only one variant" in refusal


def test_a_target_is_scaled_with_its_traffic(deployer: Guarded) -> None:
    endpoint = deployer.endpoint("scaled", deployer.numbered("scaled", "9", count=1))
    deployer.settled(endpoint)
    scaling = deployer.account.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    (found,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])[
        "ScalableTargets"
    ]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 2)
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    policy_of = {"TargetValue": 4.0, "PredefinedMetricSpecification": metric, "ScaleOutCooldown": 0}
    scaling.put_scaling_policy(
        **target,
        PolicyName="gr-scaled",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=policy_of,
    )
    assert deployer.processes(endpoint) == 1
    events = deployer.events(endpoint)
    for _ in range(20):
        deployer.answer(endpoint)
    until(lambda: deployer.processes(endpoint) == 2 and deployer.described(endpoint)["EndpointStatus"] == "InService")
    (variant,) = deployer.described(endpoint)["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
    (activity,) = scaling.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=target["ResourceId"])[
        "ScalingActivities"
    ]
    assert activity["Description"] == "Setting desired instance count to 2."
    told = [json.loads(message["Body"]) for message in events.take(3)]
    (scaling_out,) = [e["detail"] for e in told if e["detail-type"] == "SageMaker Endpoint Deployment State Change"]
    status = scaling_out["ProductionVariants"][0]["VariantStatus"][0]
    assert (status["Status"], status["StatusMessage"]) == ("Updating", "Scaling out desired instance count to 2.")
    assert "VariantStatus" not in variant
    assert "scales by policies of type" in refused(
        lambda: scaling.put_scaling_policy(**target, PolicyName="steps", PolicyType="StepScaling")
    )
    deployer.update(endpoint, deployer.numbered("scaled-2", "9", count=1), RetainAllVariantProperties=True)
    description = deployer.settled(endpoint)
    assert description["EndpointConfigName"] == "gr-scaled-2"
    assert description["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    scaling.deregister_scalable_target(**target)
    assert not scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    wish = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 1}]
    deployer.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=wish)
    assert deployer.settled(endpoint)["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert deployer.processes(endpoint) == 1
    deployer.sagemaker.delete_endpoint(EndpointName=endpoint)


def test_an_update_that_takes_too_long_is_rolled_back(tmp_path: Path) -> None:
    account = Account(tmp_path, 0)
    old, new = (Fleet(account, "late", name, {"variants": []}, empty=True) for name in ("old", "new"))
    reports: list[str] = []
    rollout = Rollout(
        account,
        RolloutPlan(timeout_s=-1),
        old=old,
        new=new,
        traffic=EndpointTraffic(old),
        lock=threading.Lock(),
        report=lambda status, _: reports.append(status),
        settle=lambda: None,
    )
    with pytest.raises(RollbackError, match="MaximumExecutionTimeoutInSeconds"):
        rollout.forward()
    rollout.back()
    assert rollout.traffic.choose() is old
    assert reports == ["Deleting"]


def test_target_tracking_waits_before_it_scales_in() -> None:
    time_s = 0.0
    tracking = Tracking(time_scale=1, clock=lambda: time_s)
    config = {"TargetValue": 100.0}
    assert tracking.wanted(config, (2, 4), current=1, per_minute=0) == 2
    assert tracking.wanted(config, (1, 4), current=2, per_minute=350) == 2  # within the cooldown
    time_s = 300
    assert tracking.wanted(config, (1, 4), current=2, per_minute=350) == 4
    assert tracking.wanted(config, (1, 3), current=2, per_minute=5000) == 2
    time_s = 700
    assert tracking.wanted(config, (1, 4), current=4, per_minute=90) == 4
    time_s = 1599
    assert tracking.wanted(config, (1, 4), current=4, per_minute=90) == 4
    time_s = 1600
    assert tracking.wanted({**config, "DisableScaleIn": True}, (1, 4), current=4, per_minute=90) == 4
    assert tracking.wanted(config, (1, 4), current=4, per_minute=90) == 1


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """An account with chaos that was stopped in the middle of a canary, and started again."""
    state = tmp_path_factory.mktemp("restarted") / "state"
    options = ("--time-scale", "20", "--chaos", "duplicates")
    first = Guarded(start_account(state, None, *options), "re")
    endpoint = first.endpoint("main", first.numbered("one", "1"))
    first.settled(endpoint)
    first.update(endpoint, first.numbered("two", "2"), policy(wait_s=FOREVER_S, alarms=(first.alarm("restarted"),)))
    first.baking(endpoint, "canary")
    first.account.stop()
    second = Guarded(start_account(state, None, *options), "re", bucket=False)
    yield second
    second.account.stop()


def test_an_update_under_way_begins_again_after_a_restart(restarted: Guarded) -> None:
    description = restarted.baking("re-main", "canary")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("Updating", "re-one")
    until(lambda: restarted.answer("re-main") == 2)  # a tenth of the requests
    until(lambda: restarted.answer("re-main") == 1)
    restarted.trip("re-restarted")
    description = restarted.settled("re-main")
    assert description["EndpointConfigName"] == "re-one"
    assert "re-restarted" in description["FailureReason"]


def test_chaos_delivers_events_twice_and_late(restarted: Guarded) -> None:
    account = restarted.account
    queue = Queue(account, "chaos")
    events = account.client("events")
    events.put_rule(Name="chaos", EventPattern='{"source": ["tests"]}')
    events.put_targets(Rule="chaos", Targets=[{"Id": "1", "Arn": queue.arn}])
    for number in range(20):
        detail = json.dumps({"number": number})
        events.put_events(Entries=[{"Source": "tests", "DetailType": "counted", "Detail": detail}])
    running = control.status(account.state_dir)
    assert running
    assert running.chaos == "duplicates"
    draws = Duplicates()
    expected = [len(draws.delays_s()) for _ in range(20)]
    numbers = Counter(json.loads(m["Body"])["detail"]["number"] for m in queue.take(sum(expected)))
    assert [numbers[number] for number in range(20)] == expected
    assert set(expected) == {1, 2}


def test_what_serverless_excludes_is_refused(deployer: Guarded, endpoint: str) -> None:
    size = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    assert "multiple of 1024" in refused(
        lambda: deployer.numbered("odd", "1", ServerlessConfig={**size, "MemorySizeInMB": 1500})
    )
    variant = {"VariantName": "AllTraffic", "ModelName": deployer.model("open", archive()), "ServerlessConfig": size}

    def config_of(**more: Any) -> None:
        deployer.sagemaker.create_endpoint_config(
            EndpointConfigName="gr-odd", **{"ProductionVariants": [variant], **more}
        )

    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{deployer.bucket}/captures",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    assert "Data capture is not supported" in refused(lambda: config_of(DataCaptureConfig=capture))
    container = deployer.sagemaker.describe_model(ModelName="gr-open")["PrimaryContainer"]
    vpc = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    model = {"ModelName": "gr-inside", "PrimaryContainer": container, "ExecutionRoleArn": ROLE}
    assert "do not exist" in refused(lambda: deployer.sagemaker.create_model(**model, VpcConfig=vpc))
    if isolation_command():
        deployer.sagemaker.create_model(**model, EnableNetworkIsolation=True)
        inside = {**variant, "ModelName": "gr-inside"}
        assert "network isolation" in refused(lambda: config_of(ProductionVariants=[inside]))
    config = deployer.numbered("small", "1", ServerlessConfig=size)
    assert "cannot be updated to a serverless one" in refused(lambda: deployer.update(endpoint, config))


def test_a_serverless_variant_ends_when_idle_and_starts_with_a_request(deployer: Guarded, serverless: str) -> None:
    until(lambda: deployer.processes(serverless) == 0)
    assert deployer.answer(serverless) == 8
    deployer.sagemaker.delete_endpoint(EndpointName=serverless)
