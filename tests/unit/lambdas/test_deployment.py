"""Deployments: what is wanted follows from decisions and orders, and every step may be the last one before a crash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambdas.deployment.ledger import Ledger
from lambdas.deployment.sagemaker_endpoint import config_settings, update_options
from lambdas.deployment.smoke import difference
from lambdas.deployment.target import Network
from lambdas.deployment.wishes import DELETE, DEPLOY, ROLLBACK, Decision, Order, wish
from tests.unit.deployment_account import SETTINGS, Account, Crash, account, quick_account


@pytest.fixture
def shop() -> Account:
    return quick_account()


@pytest.fixture
def whole_shop() -> Iterator[Account]:
    """The same with moto's DynamoDB, SNS, CloudWatch and Application Auto Scaling."""
    with account() as made:
        yield made


def decision(version: int, at: str, status: str = "Approved", **more: Any) -> Decision:
    return Decision(version, f"arn/{version}", status, at, "ann", "good", **more)


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
def test_the_newest_word_decides(decisions: list[Decision], given: Order | None, version: int) -> None:
    wanted = wish({d.version: d for d in decisions}, given)
    assert (wanted.chosen.version if wanted.chosen else 0) == version
    assert wanted.delete == (given is not None and given.action == DELETE and version == 0)


def test_copied_traffic_is_for_what_was_approved_last() -> None:
    known = {1: decision(1, "1"), 2: decision(2, "2", shadow=True)}
    shadow = wish(known, None).shadow
    assert shadow is not None and shadow.version == 2
    assert wish({**known, 3: decision(3, "3")}, None).shadow is None
    assert wish({2: known[2]}, None).shadow is None  # beside nothing


# What SageMaker is asked for.


def test_a_canary_goes_before_the_rest_and_alarms_undo_it(shop: Account) -> None:
    where = shop.workplace().where
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
    deployment = update_options(shop.workplace().where, [], back=False, keep_scale=False)["DeploymentConfig"]
    assert deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    shop.settings = dataclasses.replace(SETTINGS, variant="serverless")
    where = shop.workplace().where
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
    assert shop.ledger.made() == {("config", n) for n in names} | {("model", f"shop-v{v}") for v in versions}


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
    shop.ledger.give(Order(DELETE, 0, 0, shop.workplace().now(), "bob", "expensive"))
    shop.run()
    assert shop.sagemaker.endpoint is None
    nothing_left_over(shop)
    shop.ledger.give(Order(DEPLOY, 1, 0, shop.workplace().now(), "bob", "needed"))
    shop.run()
    assert shop.sagemaker.live == 1
    assert [r[1:] for r in shop.records()] == [("approval", "deployed"), ("delete", "deleted"), ("deploy", "deployed")]


def test_a_rollback_order_moves_the_endpoint_back_at_once(shop: Account) -> None:
    approve(shop)
    shop.run()
    approve(shop)
    shop.run()
    shop.ledger.give(Order(ROLLBACK, 1, 2, shop.workplace().now(), "bob", "slow"))
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
    capture = config_settings(shop.workplace().where, 1)["DataCaptureConfig"]
    assert capture["KmsKeyId"] == shop.workplace().where.data_key_arn


def test_the_model_stands_in_the_stages_network_and_moves_with_it(shop: Account) -> None:
    approve(shop)
    shop.run()
    assert shop.sagemaker.networks == {"shop-v1": None}
    shop.network = Network(("subnet-1", "subnet-2"), ("sg-1",))
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


# Two at once, and crashes.


def test_who_comes_second_has_the_first_look_again(whole_shop: Account) -> None:
    ledger = whole_shop.ledger
    assert ledger.take("first", 100, 200)
    assert ledger.take("first", 100, 200)  # the same invocation, tried again
    assert not ledger.take("second", 101, 201)
    assert not ledger.release("first")
    assert ledger.release("first")
    assert ledger.take("second", 102, 202)
    assert ledger.take("third", 300, 400)  # the second one's time is over
    assert ledger.release("second")  # which is none of its business any more
    assert not ledger.take("fourth", 301, 401)


def test_an_older_decision_or_order_never_replaces_a_newer_one(whole_shop: Account) -> None:
    ledger: Ledger = whole_shop.ledger
    assert ledger.decide(decision(1, "2", "Rejected"))
    assert not ledger.decide(decision(1, "1"))
    assert ledger.decisions()[1].status == "Rejected"
    assert ledger.give(order(DELETE, 0, "2"))
    assert not ledger.give(order(DEPLOY, 1, "1"))


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


CASES: list[tuple[Callable[[Account], None], int, list[str]]] = [
    (deploy_the_first, 1, ["deployed"]),
    (deploy_the_second, 2, ["deployed", "deployed"]),
    (deploy_a_broken_one, 1, ["deployed", "rolled back", "deployed"]),
    (reject_the_second, 1, ["deployed", "deployed", "deployed"]),
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
    assert number > 15
