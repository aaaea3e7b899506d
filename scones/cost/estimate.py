"""What a stage costs on AWS, before it is deployed: a month, a run of the pipeline, and a thousand images.

Runs on a laptop or in CodeBuild and makes no AWS call. Takes the stage's settings, what its template and state machines
hold (`cost_facts`), the prices (`cost_prices`), and assumptions, which are listed with the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scones.cost.assumptions import Assumptions
from scones.cost.facts import Facts, Transitions
from scones.cost.prices import Prices
from scones.stage.settings import EndpointSettings, Settings

_KIB_PER_GB = 1024**2
_WAYS = ("standard", "express", "batch")


@dataclass(frozen=True)
class CostItem:
    """One line of the estimate, in US dollars; a thousand images in each of three ways."""

    name: str
    basis: str
    month: float = 0.0
    run: float = 0.0
    standard: float = 0.0
    express: float = 0.0
    batch: float = 0.0

    def total(self, images: int, runs: int) -> float:
        """Of a month in which the images come one by one, through the standard workflow."""
        return self.month + self.run * runs + self.standard * images / 1000


@dataclass(frozen=True)
class Estimate:
    """What a stage costs, line by line, for a number of images and of pipeline runs a month."""

    items: tuple[CostItem, ...]
    images: int
    runs: int
    notes: tuple[str, ...]

    def sums(self) -> CostItem:
        """All lines in one."""
        columns = ("month", "run", *_WAYS)
        return CostItem("total", "", **{column: sum(getattr(i, column) for i in self.items) for column in columns})

    def total(self) -> float:
        """Add all lines up, in US dollars a month."""
        return self.sums().total(self.images, self.runs)

    def dominant(self) -> CostItem:
        """Return the dearest line."""
        return max(self.items, key=lambda item: item.total(self.images, self.runs))


@dataclass(frozen=True)
class Case:
    """Everything that an estimate is made from."""

    settings: Settings
    facts: Facts
    transitions: Transitions
    prices: Prices
    assumptions: Assumptions
    images: int
    runs: int

    def thousand(self, name: str, amount: float) -> float:
        """What a thousand images cost that use ``amount`` units each."""
        return self.prices.of(name, 1000 * amount)

    def of_functions(self, calls: dict[str, tuple[float, float]]) -> float:
        """Handler -> calls, and milliseconds for each: what that costs."""
        gb_seconds = (count * ms / 1000 * self.facts.memory_mb[name] / 1024 for name, (count, ms) in calls.items())
        requests = (count for count, _ in calls.values())
        return self.prices.of("lambda_request", sum(requests)) + self.prices.of("lambda_gb_second", sum(gb_seconds))


def estimate(case: Case) -> Estimate:
    """Raises CostError for what has no price."""
    case.prices.check(set(case.facts.types))
    endpoint, notes = _endpoint(case)
    items = [
        endpoint,
        *_watching(case),
        *_storage(case),
        *_schedules(case),
        *_pipeline(case),
        *_images(case),
    ]
    return Estimate(tuple(items), case.images, case.runs, notes)


def endpoint_hours(case: Case) -> float:
    """Hours of a month in which the endpoint exists."""
    a, idle = case.assumptions, case.settings.endpoint.idle_hours
    return min(a.month_hours, case.runs * (a.used_hours_per_run + idle)) if idle else a.month_hours


def instance_count(endpoint: EndpointSettings, images: int, hours: float) -> int:
    """Of instances, for images that come evenly over the hours."""
    most = max(endpoint.initial_instance_count, endpoint.autoscaling_max_instances)
    needed = images / (hours * 60) / endpoint.autoscaling_invocations_per_instance if hours else 0
    return min(most, max(endpoint.initial_instance_count, math.ceil(needed)))


def _endpoint(case: Case) -> tuple[CostItem, tuple[str, ...]]:
    a, settings, endpoint = case.assumptions, case.settings, case.settings.endpoint
    data = case.thousand("endpoint_data", (a.image_kb + a.answer_kb) / _KIB_PER_GB)
    if endpoint.variant == "serverless":
        memory_gb = endpoint.serverless_memory_mb / 1024
        each = case.thousand("serverless_gb_second", a.model_ms / 1000 * memory_gb) + data
        basis = f"serverless, {endpoint.serverless_memory_mb} MB"
        return CostItem("endpoint", basis, standard=each, express=each, batch=each), ()
    hours, instance_type = endpoint_hours(case), settings.pipeline.endpoint_instance_type
    count, hour = instance_count(endpoint, case.images, hours), case.prices.hour(instance_type)
    waits = endpoint.bake_s + (endpoint.canary_wait_s if endpoint.canary_percent else 0)
    overlap = hour * endpoint.initial_instance_count * (a.update_minutes + waits / 60) / 60
    notes = []
    if endpoint.idle_hours:
        always = hour * endpoint.initial_instance_count * a.month_hours
        notes.append(
            f"The endpoint is deleted after {endpoint.idle_hours:g} idle hours; if it were always asked, it would cost"
            f" {always:.2f} a month."
        )
    if endpoint.autoscaling_max_instances > endpoint.initial_instance_count:
        most = hour * endpoint.autoscaling_max_instances * a.month_hours
        notes.append(f"Autoscaling stops at {endpoint.autoscaling_max_instances} instances: {most:.2f} a month.")
    item = CostItem(
        "endpoint",
        f"{count} x {instance_type}, {hours:g} h a month",
        month=hour * count * hours,
        run=overlap,
        **dict.fromkeys(_WAYS, data),
    )
    return item, tuple(notes)


def _watching(case: Case) -> list[CostItem]:
    facts, of = case.facts, case.prices.of
    keys, dashboards = facts.types.get("AWS::KMS::Key", 0), facts.types.get("AWS::CloudWatch::Dashboard", 0)
    alarms = facts.types.get("AWS::CloudWatch::Alarm", 0)
    return [
        CostItem(
            "alarms",
            f"{alarms} on {facts.alarm_metrics} metrics",
            month=of("alarm_metric", facts.alarm_metrics),
        ),
        CostItem("dashboards", f"{dashboards}", month=of("dashboard", dashboards)),
        CostItem(
            "custom metrics",
            f"{facts.custom_metrics} that functions and jobs publish",
            month=of("custom_metric", facts.custom_metrics),
        ),
        CostItem(
            "keys",
            f"{keys}, and the use; each of two yearly rotations adds as much",
            month=of("kms_key", keys),
            **dict.fromkeys(_WAYS, case.thousand("kms_request", case.assumptions.kms_requests_per_image)),
        ),
    ]


def _storage(case: Case) -> list[CostItem]:
    a = case.assumptions
    captured_gb = (a.image_kb * 4 / 3 + a.answer_kb) / _KIB_PER_GB
    kept = case.thousand("s3_gb_month", captured_gb * a.capture_months)
    one = kept + case.thousand("s3_put", 1) + case.thousand("s3_get", 1)
    return [
        CostItem(
            "storage",
            f"{a.data_gb:g} GB, and captures for {a.capture_months:g} months",
            month=case.prices.of("s3_gb_month", a.data_gb),
            standard=one,
            express=one,
            # The map's listings and results are a request or two for each of its children.
            batch=one + case.thousand("s3_put", 2 / a.batch_size),
        )
    ]


def _schedules(case: Case) -> list[CostItem]:
    a, facts, of = case.assumptions, case.facts, case.prices.of
    calls = sum(facts.scheduled.values())
    functions = case.of_functions({name: (count, a.scheduled_ms) for name, count in facts.scheduled.items()})
    tables = facts.types.get("AWS::DynamoDB::Table", 0) * calls * a.table_requests_per_step / 2
    items = [
        CostItem(
            "schedules",
            f"{calls:g} calls a month, with their functions and the table",
            month=functions + of("schedule", calls) + of("table_read", tables) + of("table_write", tables),
        )
    ]
    if facts.scheduled_pipelines:
        instance_type = case.settings.pipeline.processing_instance_type
        job = _job(case, instance_type, a.monitoring_minutes)
        items.append(
            CostItem(
                "monitoring",
                f"{facts.scheduled_pipelines:g} jobs a month on {instance_type}",
                month=facts.scheduled_pipelines * job,
            )
        )
    return items


def _pipeline(case: Case) -> list[CostItem]:
    a, pipeline = case.assumptions, case.settings.pipeline
    training = _job(case, pipeline.training_instance_type, a.training_minutes)
    spot = pipeline.managed_spot_training
    # The evaluation and the baseline, those that filter, and the merge of what several filtered.
    jobs = 2 + pipeline.filter_instances + (pipeline.filter_instances > 1)
    return [
        CostItem(
            "processing jobs",
            f"{jobs} on {pipeline.processing_instance_type}",
            run=jobs * _job(case, pipeline.processing_instance_type, a.processing_minutes),
        ),
        CostItem(
            "training job",
            f"{pipeline.training_instance_type}, {'spot' if spot else 'on demand'}",
            run=pipeline.training_instances * training * (1 - a.spot_saving if spot else 1),
        ),
    ]


def _job(case: Case, instance_type: str, minutes: float) -> float:
    hours = minutes / 60
    volume = case.prices.of("instance_volume", case.assumptions.volume_gb * hours / case.assumptions.month_hours)
    return case.prices.hour(instance_type) * hours + volume


def _images(case: Case) -> list[CostItem]:
    """What the workflows and their functions cost, for a thousand images."""
    a, of, steps = case.assumptions, case.prices.of, case.transitions
    each = (1 - a.low_confidence_share) * steps.confident + a.low_confidence_share * steps.uncertain
    children, batches = 1000 / a.batch_size, 1000 / a.batch_images
    child_seconds = math.ceil(a.batch_size * a.batch_image_ms / 100) / 10
    memory_gb = math.ceil(a.express_memory_mb / 64) * 64 / 1024
    one_by_one = case.of_functions(
        {
            "serialize_image": (1000, a.serialize_ms),
            "classify_image": (1000, a.classify_ms),
            "filter_inferences": (1000, a.filter_ms),
        }
    )
    together = case.of_functions(
        {
            "classify_batch": (children, a.batch_size * a.batch_image_ms),
            "summarize_batch": (batches, a.summary_ms),
        }
    )
    express = of("express_request", 1000) + of(
        "express_gb_second", 1000 * math.ceil(a.express_ms / 100) / 10 * memory_gb
    )
    batch = of("state_transition", batches * steps.batch + children) + of("express_request", children)
    logs, batch_logs = 1000 * a.log_kb / _KIB_PER_GB, 1000 * a.batch_log_kb / _KIB_PER_GB
    # A message is sent, received, and deleted.
    review = of("sqs_request", 3000 * a.low_confidence_share)
    return [
        CostItem(
            "workflow",
            f"{each:.1f} transitions an image; batch: {batches * steps.batch + children:g} for 1,000",
            standard=of("state_transition", 1000 * each),
            express=express,
            batch=batch + of("express_gb_second", children * child_seconds * memory_gb),
        ),
        CostItem("functions", "requests and memory x time", standard=one_by_one, express=one_by_one, batch=together),
        CostItem(
            "logs",
            f"{a.log_kb:g} KB an image, {a.batch_log_kb:g} KB in batches",
            standard=of("log_gb", logs),
            express=of("log_gb", logs),
            batch=of("log_gb", batch_logs),
        ),
        CostItem(
            "traces",
            "each execution, as if never two came in a second",
            standard=of("trace", 1000),
            express=of("trace", 1000),
            batch=of("trace", batches + children),
        ),
        CostItem("review queue", f"{a.low_confidence_share:.0%} of the images", **dict.fromkeys(_WAYS, review)),
    ]
