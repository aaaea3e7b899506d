"""What a stage costs: sums that were worked out by hand, and nothing in the template that nobody has priced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference_workflow.definitions import BATCH, IMAGE, definitions
from inference_workflow.faults import LOW_CONFIDENCE
from infrastructure.template import stage_template
from local_account.cloudformation.template import parse
from scones.commands.stages.cost import cost
from scones.cost.assumptions import Assumptions
from scones.cost.estimate import Case, CostItem, endpoint_hours, estimate, instance_count
from scones.cost.facts import Facts, Transitions, calls_per_month, facts, transitions
from scones.cost.prices import CostError, Prices
from scones.cost.scale import Plan, StepCost, clock_hours, scale
from scones.stage.monitoring_settings import template_schedule
from scones.stage.sections import PipelineSettings
from scones.stage.settings import STAGES_DIR, EndpointSettings, Settings
from tests.places import SAMPLES

PRICES = Prices.load()
STAGES = sorted(path.stem for path in STAGES_DIR.glob("*.toml"))


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return parse(stage_template())


def case(endpoint: EndpointSettings | None = None, images: int = 10_000, runs: int = 2, **assumed: float) -> Case:
    """A small stage with round numbers."""
    settings = Settings("test", endpoint=endpoint or EndpointSettings(canary_wait_s=0, bake_s=0))
    found = Facts(
        types={"AWS::CloudWatch::Alarm": 3, "AWS::CloudWatch::Dashboard": 1, "AWS::KMS::Key": 2, "AWS::IAM::Role": 5},
        alarm_metrics=4,
        custom_metrics=2,
        memory_mb=dict.fromkeys(
            ("serialize_image", "classify_image", "filter_inferences", "classify_batch", "summarize_batch", "watch"),
            1024,
        ),
        scheduled={"watch": 1000.0},
        scheduled_pipelines=0.0,
    )
    steps = Transitions(confident=4, uncertain=8, batch=6)
    return Case(settings, found, steps, PRICES, replace(Assumptions(), **assumed), images, runs)


def items(of: Case) -> dict[str, CostItem]:
    return {item.name: item for item in estimate(of).items}


def test_the_endpoint_costs_its_instances_for_every_hour() -> None:
    endpoint = items(case(EndpointSettings(initial_instance_count=2, canary_wait_s=120, bake_s=180)))["endpoint"]
    assert endpoint.month == pytest.approx(0.115 * 2 * 730)  # 167.90
    # Ten minutes, two of the canary and three of bake: a quarter of an hour of two instances more.
    assert endpoint.run == pytest.approx(0.115 * 2 * 0.25)
    assert endpoint.standard == pytest.approx(1000 * 101 / 1024**2 * 0.016)


def test_a_serverless_endpoint_costs_nothing_but_its_answers() -> None:
    settings = EndpointSettings(variant="serverless", serverless_memory_mb=2048)
    endpoint = items(case(settings, model_ms=100, image_kb=0, answer_kb=0))["endpoint"]
    assert (endpoint.month, endpoint.run) == (0, 0)
    assert endpoint.standard == pytest.approx(1000 * 0.1 * 2 * 0.00002)  # 0.004


def test_an_endpoint_that_is_deleted_when_idle_costs_the_hours_it_is_asked() -> None:
    idle = EndpointSettings(idle_hours=4)
    assert endpoint_hours(case(idle, runs=3)) == 3 * (2 + 4)
    assert endpoint_hours(case(idle, runs=1000)) == 730
    assert endpoint_hours(case()) == 730
    assert items(case(idle, runs=0))["endpoint"].month == 0


def test_instances_follow_the_traffic_up_to_the_limit() -> None:
    scaling = EndpointSettings(autoscaling_max_instances=4, autoscaling_invocations_per_instance=100)
    assert [instance_count(scaling, images, 10) for images in (0, 60_000, 60_001, 10**9)] == [1, 1, 2, 4]
    assert instance_count(EndpointSettings(), 10**9, 10) == 1


def test_a_pipeline_run_costs_its_four_jobs() -> None:
    found = items(case(volume_gb=0, processing_minutes=6, training_minutes=30, spot_saving=0.5))
    assert found["processing jobs"].run == pytest.approx(3 * 0.115 / 10)
    assert found["training job"].run == pytest.approx(0.204 / 2 / 2)  # ml.c5.xlarge, half an hour, half off
    on_demand = case(volume_gb=0, training_minutes=30)
    on_demand = replace(
        on_demand, settings=replace(on_demand.settings, pipeline=PipelineSettings(managed_spot_training=False))
    )
    assert items(on_demand)["training job"].run == pytest.approx(0.204 / 2)


def test_the_pipeline_has_as_many_jobs_as_are_priced() -> None:
    document = json.loads((SAMPLES / "training_pipeline.json").read_text(encoding="utf-8"))
    kinds = [step["Type"] for step in document["Steps"]]
    assert (kinds.count("Processing"), kinds.count("Training")) == (3, 1)


def test_a_thousand_images_cost_their_transitions_or_a_fraction_of_it() -> None:
    workflow = items(case(low_confidence_share=0.25, batch_size=100, batch_images=1000))["workflow"]
    assert workflow.standard == pytest.approx(0.125)  # 3/4 of 4 and 1/4 of 8 are 5 transitions, 0.025 for 1,000
    assert workflow.express == pytest.approx(0.001 + 1000 * 0.5 * 64 / 1024 * 0.00001667)
    # 6 transitions and 10 children; each child runs for 8 s.
    assert workflow.batch == pytest.approx(16 * 0.000025 + 0.00001 + 10 * 8 * 64 / 1024 * 0.00001667)


def test_functions_cost_their_calls_and_memory_for_a_time() -> None:
    functions = items(case(serialize_ms=100, classify_ms=100, filter_ms=50, batch_image_ms=10, summary_ms=1000))[
        "functions"
    ]
    assert functions.standard == pytest.approx(3000 * 0.2e-6 + 1000 * 0.25 * 0.0000166667)
    assert functions.batch == pytest.approx(21 * 0.2e-6 + (20 * 0.5 + 1) * 0.0000166667)


def test_the_sum_is_the_sum_of_its_lines() -> None:
    found = estimate(case())
    fixed = {"alarms": 0.4, "dashboards": 3.0, "custom metrics": 0.6, "keys": 2.0}
    assert {name: items(case())[name].month for name in fixed} == pytest.approx(fixed)
    # A month: 83.95 of the endpoint, 6.00 of the above, 0.115 of 5 GB, and 1,000 calls of half a second.
    calls = 1000 * (0.2e-6 + 0.5 * 0.0000166667 + 1e-6)
    assert found.sums().month == pytest.approx(83.95 + 6.0 + 0.115 + calls)
    assert found.total() == pytest.approx(found.sums().month + 2 * found.sums().run + 10 * found.sums().standard)
    assert found.dominant().name == "endpoint"


def test_a_schedule_calls_so_often() -> None:
    assert calls_per_month("rate(5 minutes)") == 8760
    assert calls_per_month("rate(1 day)") == pytest.approx(730 / 24)
    assert calls_per_month("cron(0 * * * ? *)") == pytest.approx(730)
    assert calls_per_month("cron(30 6 ? * MON-FRI *)") == pytest.approx(730 / 24 * 5 / 7)
    assert calls_per_month("cron(0/15 8,20 * * ? *)") == pytest.approx(8 * 730 / 24)
    with pytest.raises(CostError, match="neither a rate nor a cron"):
        calls_per_month("at(2026-01-01T00:00:00)")


@pytest.mark.parametrize("language", ["JSONPath", "JSONata"])
def test_transitions_are_counted_in_the_definitions(language: str) -> None:
    machines = definitions(language)
    found = transitions(json.loads(machines[IMAGE]), json.loads(machines[BATCH]), LOW_CONFIDENCE)
    assert found.confident == 1 + 3  # the start, and SerializeImage, ClassifyImage, FilterInferences
    reading = 2 if language == "JSONPath" else 0  # the states that read the error's JSON text
    assert found.uncertain == 1 + 3 + reading + 3  # SendToReview, OnLowConfidence, and the end
    assert found.batch == 1 + 5  # Defaults, Settings, ChooseSource, the map, SummarizeBatch


def test_every_type_in_the_template_is_priced_or_known_to_be_free(template: dict[str, Any]) -> None:
    types = {resource["Type"] for resource in template["Resources"].values()}
    PRICES.check(types)
    assert not PRICES.priced.keys() & PRICES.free.keys()
    with pytest.raises(CostError, match="AWS::EC2::NatGateway: add it to"):
        PRICES.check({*types, "AWS::EC2::NatGateway"})


def test_what_is_priced_does_not_depend_on_a_condition(template: dict[str, Any]) -> None:
    conditional = {r["Type"] for r in template["Resources"].values() if "Condition" in r}
    assert conditional <= PRICES.free.keys()


def test_every_price_says_where_it_is_from() -> None:
    assert all(p.usd > 0 and p.unit and p.note for p in PRICES.prices.values())
    assert all(p.source.startswith("https://aws.amazon.com/") for p in PRICES.prices.values())
    assert {name for names in PRICES.priced.values() for name in names} <= PRICES.prices.keys()


def test_the_facts_are_those_of_the_template(template: dict[str, Any]) -> None:
    found = facts(template, template_schedule("1h"))
    assert set(found.memory_mb) >= {"serialize_image", "classify_image", "filter_inferences", "classify_batch"}
    assert all(memory >= 128 for memory in found.memory_mb.values())
    assert found.alarm_metrics >= found.types["AWS::CloudWatch::Alarm"]
    assert found.custom_metrics >= 2
    assert found.scheduled["delete_idle_endpoint"] == 2920  # every quarter of an hour
    assert found.scheduled["start_monitoring"] == found.scheduled_pipelines == 730
    assert facts(template, template_schedule("6h")).scheduled_pipelines == pytest.approx(730 / 6)
    assert facts(template, template_schedule("off")).scheduled_pipelines == 0


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_an_estimate(stage: str, template: dict[str, Any]) -> None:
    settings = Settings.load(stage)
    for instance_type in (
        settings.pipeline.endpoint_instance_type,
        settings.pipeline.processing_instance_type,
        settings.pipeline.training_instance_type,
        settings.built_in.training_instance_type,
        settings.built_in.transform_instance_type,
    ):
        assert PRICES.hour(instance_type) > 0
    found = estimate(
        replace(case(), settings=settings, facts=facts(template, template_schedule(settings.monitoring.every)))
    )
    assert found.total() > 0


def test_an_unknown_instance_type_is_one_line() -> None:
    of = case()
    unknown = replace(of.settings, pipeline=PipelineSettings(endpoint_instance_type="ml.x9.huge"))
    with pytest.raises(
        CostError, match=r"no price is known for the instance type 'ml.x9.huge': add it to .*prices.toml"
    ):
        estimate(replace(of, settings=unknown))


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("images=3", "there is no assumption 'images'"),
        ("image_kb=big", "must be a number"),
        ("image_kb=-1", "0 or above"),
    ],
)
def test_an_assumption_that_is_none_is_one_line(pair: str, says: str) -> None:
    with pytest.raises(CostError, match=says):
        Assumptions().changed([pair])


def test_the_command_says_what_it_assumed_and_what_dominates() -> None:
    """In a process of its own, without credentials and without an account."""
    command = [str(Path(sys.executable).with_name("scones")), "cost", "--stage", "production", "--json"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    answer = subprocess.run(
        [*command, "--images-per-month", "0", "--runs-per-month", "0", "--assume", "data_gb=0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=kept,
    )
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["dominant"] == "endpoint"
    assert document["assumptions"]["data_gb"] == 0
    # Nothing but what is fixed.
    assert document["total"]["this_month"] == pytest.approx(sum(item["month"] for item in document["items"]))
    assert document["resources"]["AWS::KMS::Key"] == next(i for i in document["items"] if i["name"] == "keys")["month"]


def scaled(photographs: int, **plan: int) -> dict[str, StepCost]:
    settings = Settings.load("production")
    return {step.name: step for step in scale(Plan(photographs, **plan), settings, PRICES, Assumptions())}


def test_a_dataset_costs_what_its_photographs_cost() -> None:
    one, four = scaled(1_000_000), scaled(1_000_000, filter_instances=4)
    start = Assumptions().job_start_minutes / 60
    alone = 1_000_000 * Assumptions().photo_merge_ms / 3_600_000
    computing = [of["FilterClasses"].hours - start - alone for of in (one, four)]
    assert computing[0] == pytest.approx(4 * computing[1])
    assert computing[0] == pytest.approx(1_000_000 * Assumptions().photo_filter_ms / 3_600_000 / 2)
    assert one["FilterClasses"].usd >= PRICES.hour("ml.m5.large") * one["FilterClasses"].hours
    assert scaled(2_000_000)["storage, a month"].usd == pytest.approx(2 * one["storage, a month"].usd)


def test_reading_takes_as_long_as_the_network_where_computing_is_quick() -> None:
    assumed = replace(Assumptions(), photo_filter_ms=0, photo_merge_ms=0, instance_gbit=1, job_start_minutes=0)
    steps = {s.name: s for s in scale(Plan(10_000_000), Settings.load("production"), PRICES, assumed)}
    read_and_written_gb = 10_000_000 * (assumed.image_kb + assumed.photo_stored_kb) / 1024**2
    assert steps["FilterClasses"].hours == pytest.approx(read_and_written_gb * 8 / 3600)


def test_the_whole_run_takes_its_steps_one_after_another_but_the_last_two() -> None:
    steps = scaled(100_000)
    hours = [steps[name].hours for name in ("FilterClasses", "TrainModel", "EvaluateModel", "BuildBaseline")]
    assert clock_hours(list(steps.values())) == pytest.approx(hours[0] + hours[1] + max(hours[2:]))


def test_the_command_says_what_a_dataset_takes(capsys: pytest.CaptureFixture[str]) -> None:
    cost(photographs=1_000_000, filter_instances=8, training_instances=2, stage="production", as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [step["instances"] for step in document["steps"]] == [8, 2, 1, 1, 0]
    assert document["usd"] == pytest.approx(sum(step["usd"] for step in document["steps"]))
