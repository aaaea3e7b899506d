"""``scones cost``: what a stage costs on AWS, estimated before anything of it exists."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, cast

import typer

from infrastructure.template import stage_template
from local_account.cloudformation.template import parse
from scones import screen
from scones.commands import Json, Stage
from scones.cost.assumptions import Assumptions
from scones.cost.estimate import Case, CostItem, Estimate, estimate
from scones.cost.facts import ChargedTemplate, facts, transitions
from scones.cost.prices import Prices
from scones.cost.scale import Plan, StepCost, clock_hours, scale
from scones.stage.monitoring_settings import template_schedule
from scones.stage.settings import Settings

_COLUMNS = ("month", "run", "standard", "express", "batch")
_DIGITS = (2, 3, 4, 4, 4)


def cost(  # noqa: PLR0917 - typer reads options from the signature
    images: Annotated[
        int, typer.Option("--images-per-month", min=0, help="Images that are classified in a month.")
    ] = 10_000,
    runs: Annotated[
        int, typer.Option("--runs-per-month", min=0, help="Runs of the training pipeline, each with a deployment.")
    ] = 4,
    photographs: Annotated[
        int,
        typer.Option("--images", min=0, help="Photographs of a dataset: what one run of the pipeline takes for them."),
    ] = 0,
    filter_instances: Annotated[
        int, typer.Option(min=0, help="With --images: instances that filter; 0: the stage's setting.")
    ] = 0,
    training_instances: Annotated[
        int, typer.Option(min=0, help="With --images: instances that train; 0: the stage's setting.")
    ] = 0,
    assume: Annotated[
        list[str] | None,
        typer.Option("--assume", help="NAME=VALUE for one of the assumptions that are listed; can be repeated."),
    ] = None,
    stage: Stage = "local",
    as_json: Json = False,
) -> None:
    """Estimate what the stage costs a month, a pipeline run and 1,000 images, before it is deployed.

    Needs neither an account nor credentials. Free tiers and discounts are left out: a bill is lower rather than higher.
    """
    if photographs:
        settings = Settings.load(stage)
        pipeline = settings.pipeline
        plan = Plan(
            photographs,
            filter_instances or pipeline.filter_instances,
            training_instances or pipeline.training_instances,
            pipeline.pretrained_mode,
        )
        _show_scale(plan, scale(plan, settings, Prices.load(), Assumptions().changed(assume or [])), as_json=as_json)
        return
    case, found = estimated(Settings.load(stage), Assumptions().changed(assume or []), images, runs)
    if as_json:
        screen.print_json(_document(case, found))
    else:
        _show(case, found)


def estimated(settings: Settings, assumptions: Assumptions, images: int, runs: int) -> tuple[Case, Estimate]:
    """Of the template and the state machines that would be deployed."""
    # Here, because they import two SDKs, which takes seconds.
    from inference_workflow.definitions import BATCH, IMAGE, definitions
    from inference_workflow.faults import LOW_CONFIDENCE

    machines = definitions(settings.workflow.query_language, settings.workflow.on_low_confidence)
    steps = transitions(json.loads(machines[IMAGE]), json.loads(machines[BATCH]), LOW_CONFIDENCE)
    given = template_schedule(settings.monitoring.every)
    template = cast("ChargedTemplate", parse(stage_template()))
    case = Case(settings, facts(template, given), steps, Prices.load(), assumptions, images, runs)
    return case, estimate(case)


def _show(case: Case, found: Estimate) -> None:
    out, sums = screen.out, found.sums()
    headings = ("USD", "fixed, a month", "a run", "1,000 images", "express", "in batches", "this month", "for")
    lines = (*found.items, sums)
    numbers = [
        _column(name, [getattr(line, column) for line in lines], digits)
        for name, column, digits in zip(headings[1:], _COLUMNS, _DIGITS, strict=False)
    ]
    numbers.append(_column(headings[-2], [line.total(found.images, found.runs) for line in lines], 2))
    shown = [column[0] for column in numbers]
    rows = [(line.name, *[column[index + 1] for column in numbers], line.basis) for index, line in enumerate(lines)]
    out.print(screen.table(headings[0], *shown, headings[-1], rows=rows), width=None if out.is_terminal else 400)
    biggest = found.dominant()
    share = biggest.total(found.images, found.runs) / found.total() if found.total() else 0.0
    remarks = [
        "",
        f"{found.total():.2f} USD a month with {found.images:,} images, one by one, and {found.runs} pipeline runs.",
        f"{biggest.name} dominates: {share:.0%} ({biggest.basis}).",
        *found.notes,
        "",
        f"Assumed, change with --assume: {_assumed(case.assumptions)}.",
        "Not in it: free tiers, discounts, taxes, retries, traffic out of the region, a network of your own"
        " (NAT gateway, VPC endpoints), and the delivery pipeline (docs/delivery.md).",
        f"Free: {_free(case)}; why: --json.",
        f"Prices of {case.prices.region}, {case.prices.date}, in scones/cost/prices.toml with the source of each.",
    ]
    if case.settings.region != case.prices.region:
        remarks.append(f"The stage is in {case.settings.region}, where prices differ.")
    if case.settings.endpoint_url:
        remarks.append(
            f"The stage {case.settings.stage} runs on this machine and costs nothing; on AWS, it would cost this."
        )
    for remark in remarks:
        out.print(remark, markup=False)


def _show_scale(plan: Plan, steps: list[StepCost], *, as_json: bool) -> None:
    hours, usd = clock_hours(steps), sum(step.usd for step in steps)
    if as_json:
        rows = [dataclasses.asdict(step) for step in steps]
        screen.print_json({"plan": dataclasses.asdict(plan), "steps": rows, "hours": hours, "usd": usd})
        return
    cells = [
        (
            s.name,
            f"{s.instances} x {s.instance_type}" if s.instances else "",
            f"{s.hours:.2f}",
            f"{s.usd:,.2f}",
            s.basis,
        )
        for s in steps
    ]
    out = screen.out
    out.print(
        screen.table("step", "instances", "hours", "USD", "for", rows=cells), width=None if out.is_terminal else 400
    )
    out.print(f"{plan.photographs:,} photographs: {hours:,.1f} hours and {usd:,.2f} USD, a month of storage included.")
    out.print(
        "Costs of a photograph were measured on one core of another machine; --assume photo_...=VALUE changes them."
    )


def _column(heading: str, amounts: list[float], digits: int) -> list[str]:
    """The heading and the amounts, all to the right."""
    texts = [heading, *("-" if amount == 0 else f"{amount:.{digits}f}" for amount in amounts)]
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts]


def _assumed(assumptions: Assumptions) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in dataclasses.asdict(assumptions).items())


def _free(case: Case) -> str:
    return ", ".join(kind.removeprefix("AWS::") for kind in sorted(case.facts.types) if kind in case.prices.free)


def _document(case: Case, found: Estimate) -> dict[str, object]:
    def line(item: CostItem) -> dict[str, object]:
        return {**dataclasses.asdict(item), "this_month": item.total(found.images, found.runs)}

    return {
        "stage": case.settings.stage,
        "currency": "USD",
        "images_per_month": found.images,
        "runs_per_month": found.runs,
        "items": [line(item) for item in found.items],
        "total": line(found.sums()),
        "dominant": found.dominant().name,
        "notes": found.notes,
        "transitions": dataclasses.asdict(case.transitions),
        "resources": dict(case.facts.types),
        "free": {kind: why for kind, why in case.prices.free.items() if kind in case.facts.types},
        "assumptions": dataclasses.asdict(case.assumptions),
        "prices": {
            "date": case.prices.date,
            "region": case.prices.region,
            "usd_per_instance_hour": dict(case.prices.instances),
            "others": {name: dataclasses.asdict(price) for name, price in case.prices.prices.items()},
        },
    }
