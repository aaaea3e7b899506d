"""Deployments: what is wanted follows from decisions and orders, and every step may be the last one before a crash."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lambdas.deployment.desired_state import DELETE, DEPLOY, ROLLBACK, Order, VersionDecision, desired_state
from lambdas.deployment.endpoint_spec import ContainerNetwork
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.sagemaker_endpoint import config_settings, update_options
from lambdas.deployment.smoke import difference
from scones.stage.settings import PROJECT_ROOT
from tests.unit.deployment_account import ARN, GROUP, SETTINGS, Account, Crash, account, quick_account


@pytest.fixture
def shop() -> Account:
    return quick_account()


@pytest.fixture
def whole_shop() -> Iterator[Account]:
    """The same with moto's DynamoDB, SNS, CloudWatch and Application Auto Scaling."""
    with account() as made:
        yield made


def decision(version: int, at: str, status: str = "Approved", **more: Any) -> VersionDecision:
    return VersionDecision(version, f"arn/{version}", status, at, "ann", "good", **more)


def order(action: str, version: int, at: str, left: int = 0) -> Order:
    return Order(action, version, left, at, "bob", "because")


# What is wanted.


@pytest.mark.parametrize(
    ("decisions", "given", "version"),
    [
        ([], None, 0),
        ([decision(1, "1"), decision(2, "2")], None, 2),
        ([decision(1, "3"), decision(2, "2")], None, 1),  # the newest approval, not the newest version
        ([decision(1, "1"), decision(2, "2", "Rejected")], None, 1),
        ([decision(1, "1"), decision(2, "2", failed="smoke", failed_at="3")], None, 1),
        ([decision(1, "1"), decision(2, "2", shadow=True)], None, 1),
        ([decision(1, "1"), decision(2, "2")], order(ROLLBACK, 1, "3", left=2), 1),
        ([decision(1, "1"), decision(2, "2")], order(ROLLBACK, 1, "1", left=2), 2),  # an older order
        ([decision(1, "1"), decision(2, "2"), decision(3, "4")], order(ROLLBACK, 1, "3", left=2), 3),
        # The version to which somebody went back is rejected: not to the one that was left.
        ([decision(0, "0"), decision(1, "4", "Rejected"), decision(2, "2")], order(ROLLBACK, 1, "3", left=2), 0),
        ([decision(1, "1"), decision(2, "2")], order(DELETE, 0, "3"), 0),
        ([decision(1, "1"), decision(2, "4")], order(DELETE, 0, "3"), 2),
        ([decision(1, "1", failed="ping", failed_at="2")], order(DEPLOY, 1, "3"), 1),
        ([decision(1, "1", failed="ping", failed_at="4")], order(DEPLOY, 1, "3"), 0),
    ],
)
def test_the_newest_word_decides(decisions: list[VersionDecision], given: Order | None, version: int) -> None:
    wanted = desired_state({d.version: d for d in decisions}, given)
    assert (wanted.chosen.version if wanted.chosen else 0) == version
    assert wanted.delete == (given is not None and given.action == DELETE and version == 0)


def test_copied_traffic_is_for_what_was_approved_last() -> None:
    known = {1: decision(1, "1"), 2: decision(2, "2", shadow=True)}
    shadow = desired_state(known, None).shadow
    assert shadow is not None and shadow.version == 2
    assert desired_state({**known, 3: decision(3, "3")}, None).shadow is None
    assert desired_state({2: known[2]}, None).shadow is None  # beside nothing


# What SageMaker is asked for.


def test_a_canary_goes_before_the_rest_and_alarms_undo_it(shop: Account) -> None:
    where = shop.context().spec
    deployment = update_options(where, ["a", "b"], back=False, keep_scale=False)["DeploymentConfig"]
    policy = deployment["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 60,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
    }
    assert policy["TerminationWaitInSeconds"] == 120
    assert policy["MaximumExecutionTimeoutInSeconds"] > 180
    assert deployment["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "a"}, {"AlarmName": "b"}]}
    back = update_options(where, ["a"], back=True, keep_scale=True)
    assert back["RetainAllVariantProperties"]
    assert "AutoRollbackConfiguration" not in back["DeploymentConfig"]
    routing = back["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"


def test_one_instance_has_no_canary_and_serverless_no_instances(shop: Account) -> None:
    shop.settings = dataclasses.replace(SETTINGS, initial_instance_count=1)
    deployment = update_options(shop.context().spec, [], back=False, keep_scale=False)["DeploymentConfig"]
    assert deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    shop.settings = dataclasses.replace(SETTINGS, variant="serverless")
    where = shop.context().spec
    assert update_options(where, ["a"], back=False, keep_scale=False) == {}
    settings = config_settings(where, 1)
    assert set(settings) == {"ProductionVariants"}, "SageMaker captures no traffic of serverless variants"
    variant = settings["ProductionVariants"][0]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert "InstanceType" not in variant


@pytest.mark.parametrize(
    ("body", "attributes", "fault"),
    [
        (b"[0.99, 0.01]", "", ""),
        (b"[0.99, 0.01]", "model_package_arn=arn/1", ""),
        (b"[0.99, 0.01]", "model_package_arn=arn/2", "arn/2 answered"),
        (b"[0.9, 0.1]", "", "as in the evaluation"),
        (b"[1.0]", "", "expected 2 probabilities"),
        (b"[NaN, 1.0]", "", "expected 2 probabilities"),
        (b"<html>", "", "no JSON"),
    ],
)
def test_a_smoke_test_compares_with_the_evaluation(body: bytes, attributes: str, fault: str) -> None:
    image = {"name": "a.png", "probabilities": [1.0, 0.0]}
    found = difference(image, body, attributes, "arn/1")
    assert (fault in found) if fault else found == ""


# Step by step.


def approve(shop: Account, **breaks: str) -> str:
    package = shop.sagemaker.register()
    if "how" in breaks:
        shop.sagemaker.breaks[int(package.rpartition("/")[2])] = breaks["how"]
    shop.sagemaker.decide(package)
    return package


def nothing_left_over(shop: Account) -> None:
    live = shop.ledger.live()
    names = {live.config, live.previous_config} - {""} if live else set()
    versions = {live.version, live.previous_version, live.shadow_version} - {0} if live else set()
    assert set(shop.sagemaker.configs) == names
    assert set(shop.sagemaker.models) == {f"shop-v{version}" for version in versions}
    assert shop.ledger.creations() == {("config", n) for n in names} | {("model", f"shop-v{v}") for v in versions}


def test_repeated_looks_change_nothing(shop: Account) -> None:
    approve(shop)
    shop.run()
    before = shop.table.scan()["Items"]
    assert set(shop.run()) == {"version 1 serves"}
    assert shop.table.scan()["Items"] == before
    assert shop.records() == [(1, "approval", "deployed")]
    assert shop.told() == ["endpoint shop: version 1 (approval) deployed"]


def test_only_the_serving_version_and_the_way_back_are_kept(whole_shop: Account) -> None:
    for _ in range(3):
        approve(whole_shop)
        whole_shop.run()
        nothing_left_over(whole_shop)
    assert whole_shop.sagemaker.live == 3
    assert len(whole_shop.sagemaker.models) == 2


@pytest.mark.parametrize(("how", "outcome"), [("ping", "rolled back"), ("smoke", "rolled back"), ("archive", "failed")])
def test_a_broken_version_leaves_the_old_one_serving(shop: Account, how: str, outcome: str) -> None:
    approve(shop)
    shop.run()
    approve(shop, how=how)
    shop.run()
    assert shop.sagemaker.live == 1
    assert (2, "approval", outcome) in shop.records()
    assert any(outcome in line for line in shop.told())
    nothing_left_over(shop)
    shop.run()
    assert len([r for r in shop.records() if r[0] == 2]) == 1  # not tried again and again


@pytest.mark.parametrize("how", ["ping", "smoke", "archive"])
def test_a_broken_first_version_leaves_nothing(shop: Account, how: str) -> None:
    approve(shop, how=how)
    shop.run()
    assert shop.sagemaker.endpoint is None
    assert len(shop.records()) == 1
    nothing_left_over(shop)


def test_a_rejected_version_goes_and_the_last_one_stays(shop: Account) -> None:
    first, second = approve(shop), approve(shop)
    shop.run()
    shop.sagemaker.decide(second, "Rejected", "drifts [by bob]")
    shop.run()
    assert shop.sagemaker.live == 1
    assert shop.records()[-1] == (1, "rejection", "deployed")
    shop.sagemaker.decide(first, "Rejected", "worse [by bob]")
    shop.run()
    assert shop.sagemaker.live == 1
    assert shop.records()[-1] == (1, "rejection", "kept")
    shop.run()
    assert len(shop.records()) == 3  # told once
    nothing_left_over(shop)
    shop.sagemaker.decide(first, reason="it will do [by bob]")
    shop.run()
    shop.sagemaker.decide(first, "Rejected", "it will not [by bob]")
    shop.run()
    assert [r[1:] for r in shop.records()[2:]] == [("rejection", "kept")] * 2, "a new rejection is told of anew"


def test_an_approval_during_an_update_comes_next(shop: Account) -> None:
    approve(shop)
    shop.look()
    approve(shop)
    assert shop.look()[-1] == "waiting: the endpoint is Creating"
    shop.run()
    assert shop.sagemaker.live == 2
    assert [r[0] for r in shop.records()] == [1, 2]


def test_an_endpoint_deleted_by_hand_stays_away_until_the_next_word(shop: Account) -> None:
    approve(shop)
    shop.run()
    shop.sagemaker.endpoint = None
    shop.run()
    assert shop.sagemaker.endpoint is None
    assert shop.records()[-1] == (1, "delete", "deleted")
    nothing_left_over(shop)
    approve(shop)
    shop.run()
    assert shop.sagemaker.live == 2


def test_an_approval_after_a_deletion_by_hand_counts_though_nobody_saw_the_deletion(shop: Account) -> None:
    approve(shop)
    shop.run()
    shop.sagemaker.endpoint = None
    approve(shop)
    shop.run()
    assert shop.sagemaker.live == 2
    assert [r[2] for r in shop.records()] == ["deployed", "deleted", "deployed"]


def test_an_order_to_delete_and_one_to_come_back(shop: Account) -> None:
    approve(shop)
    shop.run()
    shop.ledger.put_order(Order(DELETE, 0, 0, shop.context().now(), "bob", "expensive"))
    shop.run()
    assert shop.sagemaker.endpoint is None
    nothing_left_over(shop)
    shop.ledger.put_order(Order(DEPLOY, 1, 0, shop.context().now(), "bob", "needed"))
    shop.run()
    assert shop.sagemaker.live == 1
    assert [r[1:] for r in shop.records()] == [("approval", "deployed"), ("delete", "deleted"), ("deploy", "deployed")]


def test_a_rollback_order_moves_the_endpoint_back_at_once(shop: Account) -> None:
    approve(shop)
    shop.run()
    approve(shop)
    shop.run()
    shop.ledger.put_order(Order(ROLLBACK, 1, 2, shop.context().now(), "bob", "slow"))
    shop.run()
    assert shop.sagemaker.live == 1
    routing = shop.sagemaker.updates[-1]["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"
    nothing_left_over(shop)


def test_other_settings_come_to_the_same_version_and_blame_it_for_nothing(shop: Account) -> None:
    approve(shop)
    shop.run()
    shop.settings = dataclasses.replace(SETTINGS, initial_instance_count=3)
    shop.run()
    assert shop.records()[-1] == (1, "settings", "deployed")
    shop.settings = dataclasses.replace(SETTINGS, initial_instance_count=4)
    shop.sagemaker.breaks[1] = "ping"
    shop.run()
    assert shop.sagemaker.live == 1
    assert shop.records()[-1] == (1, "settings", "rolled back")
    assert len(shop.records()) == 3
    nothing_left_over(shop)


def test_captured_traffic_is_encrypted_with_the_stages_key(shop: Account) -> None:
    capture = config_settings(shop.context().spec, 1)["DataCaptureConfig"]
    assert capture["KmsKeyId"] == shop.context().spec.data_key_arn


def test_a_container_that_captures_itself_is_told_where_and_is_another_model(shop: Account) -> None:
    approve(shop)
    shop.run()
    shop.settings = dataclasses.replace(SETTINGS, capture="container", capture_percent=20)
    spec = shop.context().spec
    assert set(config_settings(spec, 1)) == {"ProductionVariants"}, "or each answer would be captured twice"
    shop.run()
    (name,) = set(shop.sagemaker.models) - {"shop-v1"}
    told = shop.sagemaker.models[name]["Environment"]
    assert {key: value for key, value in told.items() if key.startswith("SCONES_CAPTURE")} == {
        "SCONES_CAPTURE_URI": spec.capture_uri,
        "SCONES_CAPTURE_ENDPOINT": "shop",
        "SCONES_CAPTURE_VARIANT": "AllTraffic",
        "SCONES_CAPTURE_PERCENT": "20",
        "SCONES_CAPTURE_KMS_KEY": spec.data_key_arn,
    }


def test_the_model_stands_in_the_stages_network_and_moves_with_it(shop: Account) -> None:
    approve(shop)
    shop.run()
    assert shop.sagemaker.networks == {"shop-v1": None}
    shop.network = ContainerNetwork(("subnet-1", "subnet-2"), ("sg-1",))
    shop.run()
    assert shop.records()[-1] == (1, "settings", "deployed")
    assert shop.sagemaker.endpoint is not None
    (variant,) = shop.sagemaker.configs[shop.sagemaker.endpoint["EndpointConfigName"]]["ProductionVariants"]
    vpc = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert shop.sagemaker.networks[variant["ModelName"]] == vpc
    for version in (2, 3):
        approve(shop)
        shop.run()
        assert shop.sagemaker.live == version
    assert len(shop.sagemaker.models) == 2, "those of version 1 are gone, in whichever network they stood"


def test_a_challenger_takes_copied_traffic_and_is_promoted(shop: Account) -> None:
    approve(shop)
    shop.run()
    challenger = shop.sagemaker.register()
    shop.sagemaker.decide(challenger, deployment_mode="shadow")
    shop.run()
    assert shop.sagemaker.endpoint is not None
    config = shop.sagemaker.configs[shop.sagemaker.endpoint["EndpointConfigName"]]
    assert [v["ModelName"] for v in config["ShadowProductionVariants"]] == ["shop-v2"]
    assert shop.sagemaker.live == 1
    assert shop.records()[-1] == (1, "shadow", "shadowing")
    shop.sagemaker.decide(challenger, reason="promoted [by ann]")
    shop.run()
    assert shop.sagemaker.live == 2
    nothing_left_over(shop)


def test_autoscaling_follows_the_deployment_and_stands_aside_for_updates(whole_shop: Account) -> None:
    whole_shop.settings = dataclasses.replace(SETTINGS, autoscaling_max_instances=4)
    approve(whole_shop)
    whole_shop.run()
    scaling = whole_shop.others["application-autoscaling"]
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert [(t["MinCapacity"], t["MaxCapacity"]) for t in found] == [(2, 4)]
    approve(whole_shop)
    whole_shop.look()
    assert not scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    whole_shop.sagemaker.settle()
    whole_shop.run()
    assert len(scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]) == 1
    assert whole_shop.sagemaker.updates[-1]["RetainAllVariantProperties"]


def test_an_alarm_that_is_on_already_does_not_undo_the_cure(whole_shop: Account) -> None:
    cloudwatch = whole_shop.others["cloudwatch"]
    for name in ("quiet", "loud"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="n",
            MetricName="m",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
    cloudwatch.set_alarm_state(AlarmName="loud", StateValue="ALARM", StateReason="test")
    cloudwatch.set_alarm_state(AlarmName="quiet", StateValue="OK", StateReason="test")
    whole_shop.alarms = ("quiet", "loud", "absent")
    approve(whole_shop)
    whole_shop.run()
    approve(whole_shop)
    whole_shop.run()
    assert whole_shop.sagemaker.updates[-1]["DeploymentConfig"]["AutoRollbackConfiguration"] == {
        "Alarms": [{"AlarmName": "quiet"}]
    }


# The registry loses a version.


def test_a_deleted_version_serves_on_and_is_told_of_once(shop: Account) -> None:
    approve(shop)
    second = approve(shop)
    shop.run()
    shop.sagemaker.remove(second)
    shop.told()
    shop.run()
    assert shop.sagemaker.live == 2
    assert shop.records()[1:] == [(2, "removal", "kept")]
    (told,) = shop.told()
    assert told.startswith("endpoint shop: version 2 (removal) kept: it was deleted from the registry and serves on")
    approve(shop)
    shop.run()
    assert shop.sagemaker.live == 3


def test_a_broken_update_goes_back_to_a_version_that_the_registry_lost(shop: Account) -> None:
    first = approve(shop)
    shop.run()
    shop.sagemaker.remove(first)
    approve(shop, how="smoke")
    shop.run()
    assert shop.sagemaker.live == 1
    assert [r[2] for r in shop.records()] == ["deployed", "rolled back", "deployed", "kept"]
    assert all("not tested" not in record["smoke_after"] for record in records(shop)[:-1])


def records(shop: Account) -> list[dict[str, Any]]:
    items = [item for item in shop.table.scan()["Items"] if item["kind"] == "record"]
    return sorted(items, key=lambda item: str(item["key"]))


def test_a_version_deleted_during_its_own_update_serves(shop: Account) -> None:
    approve(shop)
    shop.run()
    second = approve(shop)
    shop.look()
    shop.sagemaker.remove(second)
    shop.run()
    assert shop.sagemaker.live == 2
    assert [r[1:] for r in shop.records()[-2:]] == [("approval", "deployed"), ("removal", "kept")]
    assert shop.ledger.in_progress() is None


def as_the_version_before_left_it(shop: Account) -> None:
    """Nothing is kept of versions, and models name their packages."""
    for item in shop.table.scan()["Items"]:
        if item["kind"] == "version":
            shop.table.delete_item(Key={"kind": "version", "key": item["key"]})
    for container in shop.sagemaker.models.values():
        package = container["Environment"]["SCONES_MODEL_PACKAGE_ARN"]
        container.clear()
        container["ModelPackageName"] = package


def test_what_was_deployed_before_versions_were_kept_is_kept_at_the_next_look(shop: Account) -> None:
    approve(shop)
    shop.run()
    as_the_version_before_left_it(shop)
    shop.run()
    assert shop.records() == [(1, "approval", "deployed")]
    kept = shop.ledger.version(1)
    assert kept is not None
    assert (kept.classes, kept.smoke_uri) == ("bicycle,motorcycle", "s3://data/1/smoke.json")


@pytest.mark.parametrize("during", [True, False])
def test_what_neither_table_nor_registry_knows_goes_on_untested(shop: Account, during: bool) -> None:
    """A version before left a deployment, and then the registry lost it."""
    approve(shop)
    shop.run()
    second = approve(shop)
    shop.look()
    if not during:
        shop.run()
    as_the_version_before_left_it(shop)
    shop.sagemaker.remove(second)
    shop.run()
    assert shop.sagemaker.live == 2
    approve(shop)
    shop.run()
    assert shop.sagemaker.live == 3
    last = records(shop)[-1]
    assert last["smoke_before"].startswith("not tested: arn:")
    assert "was deleted from the registry, and deployed before" in last["smoke_before"]


def left_by_the_version_before() -> Account:
    """Its table, with an update to version 4 in progress, and what SageMaker had by then."""
    sample = json.loads((PROJECT_ROOT / "tests/samples/deployments_table.json").read_text())
    shop = quick_account()
    for item in sample["items"]:
        shop.table.put_item(Item=item)
    for _ in range(4):
        shop.sagemaker.register()
    decided = {item["package_arn"]: item["at"] for item in sample["items"] if item["kind"] == "decision"}
    for arn, at in decided.items():
        shop.sagemaker.decide(arn)
        shop.sagemaker.packages[arn]["LastModifiedTime"] = datetime.fromisoformat(at)
    shop.sagemaker.time = datetime(2026, 11, 21, 9, tzinfo=UTC)
    shop.sagemaker.models = {name: {"ModelPackageName": arn} for name, arn in sample["models"].items()}
    shop.sagemaker.configs, shop.sagemaker.endpoint = sample["configs"], sample["endpoint"]
    return shop


@pytest.mark.parametrize("lost", [(), (4,), (1, 4)])
def test_an_update_that_the_version_before_began_is_ended(lost: tuple[int, ...]) -> None:
    shop = left_by_the_version_before()
    for version in lost:
        shop.sagemaker.remove(f"{ARN}:model-package/{GROUP}/{version}")
    shop.sagemaker.settle()
    shop.run()
    assert shop.sagemaker.live == 4
    assert not shop.sagemaker.updates, "the same settings make the same configuration"
    assert (4, "approval", "deployed") in shop.records()
    assert (shop.records()[-1] == (4, "removal", "kept")) == (4 in lost)
    nothing_left_over(shop)


@pytest.mark.parametrize("why", ["was deleted from the registry", "is Rejected", "was never approved"])
def test_an_order_that_cannot_be_carried_out_is_refused_and_changes_nothing(shop: Account, why: str) -> None:
    for _ in range(3):
        last = approve(shop)
        shop.run()
    first = last.replace("/3", "/1")
    if why == "is Rejected":
        shop.sagemaker.decide(first, "Rejected")
    elif why == "was deleted from the registry":
        shop.sagemaker.remove(first)
    version = 4 if why == "was never approved" else 1
    shop.ledger.put_order(Order(ROLLBACK, version, 3, shop.context().now(), "bob", "slow", pending=True))
    shop.run()
    assert shop.sagemaker.live == 3
    assert shop.records()[-1] == (version, "rollback", "failed")
    assert why in records(shop)[-1]["detail"]
    assert len(shop.records()) == 4  # told once
    approve(shop)
    shop.run()
    assert shop.sagemaker.live == 4


# Two at once, and crashes.


def test_who_comes_second_has_the_first_look_again(whole_shop: Account) -> None:
    ledger = whole_shop.ledger
    assert ledger.acquire_lease("first", 100, 200)
    assert ledger.acquire_lease("first", 100, 200)  # the same invocation, tried again
    assert not ledger.acquire_lease("second", 101, 201)
    assert not ledger.release_lease("first")
    assert ledger.release_lease("first")
    assert ledger.acquire_lease("second", 102, 202)
    assert ledger.acquire_lease("third", 300, 400)  # the second one's time is over
    assert ledger.release_lease("second")  # which is none of its business any more
    assert not ledger.acquire_lease("fourth", 301, 401)


def test_an_older_decision_or_order_never_replaces_a_newer_one(whole_shop: Account) -> None:
    ledger: Ledger = whole_shop.ledger
    assert ledger.put_decision(decision(1, "2", "Rejected"))
    assert not ledger.put_decision(decision(1, "1"))
    assert ledger.decisions()[1].status == "Rejected"
    assert ledger.put_order(order(DELETE, 0, "2"))
    assert not ledger.put_order(order(DEPLOY, 1, "1"))


def deploy_the_first(shop: Account) -> None:
    approve(shop)


def deploy_the_second(shop: Account) -> None:
    approve(shop)
    shop.run()
    approve(shop)


def deploy_a_broken_one(shop: Account) -> None:
    approve(shop)
    shop.run()
    approve(shop, how="smoke")


def reject_the_second(shop: Account) -> None:
    approve(shop)
    shop.run()
    second = approve(shop)
    shop.run()
    shop.sagemaker.decide(second, "Rejected")


def lose_the_second_during_its_update(shop: Account) -> None:
    approve(shop)
    shop.run()
    second = approve(shop)
    shop.look()
    shop.sagemaker.remove(second)


def order_what_is_gone(shop: Account) -> None:
    approve(shop)
    shop.run()
    gone = approve(shop)
    shop.run()
    shop.sagemaker.decide(gone, "Rejected")
    shop.run()
    shop.ledger.put_order(Order(ROLLBACK, 2, 1, shop.context().now(), "bob", "slow", pending=True))


CASES: list[tuple[Callable[[Account], None], int, list[str]]] = [
    (deploy_the_first, 1, ["deployed"]),
    (deploy_the_second, 2, ["deployed", "deployed"]),
    (deploy_a_broken_one, 1, ["deployed", "rolled back", "deployed"]),
    (reject_the_second, 1, ["deployed", "deployed", "deployed"]),
    (lose_the_second_during_its_update, 2, ["deployed", "deployed", "kept"]),
    (order_what_is_gone, 1, ["deployed", "deployed", "deployed", "failed"]),
]


@pytest.mark.parametrize(("case", "live", "outcomes"), CASES)
def test_a_crash_after_any_change_is_made_good(case: Callable[[Account], None], live: int, outcomes: list[str]) -> None:
    number = 0
    while True:
        number += 1
        shop = quick_account()
        case(shop)
        shop.calls, shop.crash_after = 0, number
        try:
            shop.run(4)
        except Crash:
            shop.sagemaker.settle()
        else:
            break  # it never came so far: every call was the last one once
        shop.crash_after = 0
        shop.run()
        assert shop.sagemaker.live == live, number
        assert [r[2] for r in shop.records()] == outcomes, number
        nothing_left_over(shop)
    assert number > 10
