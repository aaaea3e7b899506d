"""Brings the endpoint one step nearer to what is wanted, whatever the reason for looking was.

Runs in Lambda. One invocation at a time works on the endpoint (a lease in the table); one that comes meanwhile has the
other look again. Nothing waits here for an update to end: its event, or the schedule, comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from botocore.exceptions import ClientError

from lambdas.deployment.ledger import Deployment, Live
from lambdas.deployment.registry import read_decisions
from lambdas.deployment.sagemaker_endpoint import IN_PROGRESS, config_name, delete_made, model_name, version_of
from lambdas.deployment.surroundings import start_scaling
from lambdas.deployment.under_way import APPROVAL, REJECTION, SETTINGS, SHADOW, go_on
from lambdas.deployment.wishes import DELETE, REJECTED, ROLLBACK, Decision, Order, wish
from lambdas.deployment.workplace import Situation, Step, Word, Workplace

MAX_STEPS = 12
ITSELF = "deploy_approved_model"
DELETION_LOOKS, LOOK_S = 20, 0.5


def reconcile(
    at: Workplace, named: str | None, owner: str, lease_s: int, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """What was done, a line for each step; ``named`` is the package that an event tells of."""
    done: list[str] = []
    while True:
        if named:
            read_decisions(at.sagemaker, at.ledger, at.where.model_package_group, named)
        now_s = int(at.clock().timestamp())
        if not at.ledger.take(owner, now_s, now_s + lease_s):
            return [*done, "somebody else is at it and looks again"]
        try:
            done += _steps(at, sleep)
        finally:
            finished = at.ledger.release(owner)
        if finished:
            return done


def _steps(at: Workplace, sleep: Callable[[float], None]) -> list[str]:
    done = []
    for _ in range(MAX_STEPS):
        taken = step(at)
        done.append(taken.text)
        if "deleting" in taken.text and _gone(at, sleep):
            continue
        if not taken.more:
            break
    return done


def _gone(at: Workplace, sleep: Callable[[float], None]) -> bool:
    """No event tells that an endpoint is gone, and that is soon, so it is worth a few seconds."""
    for _ in range(DELETION_LOOKS):
        if at.endpoint() is None:
            return True
        sleep(LOOK_S)
    return False


def step(at: Workplace) -> Step:
    """Look at everything, then do one thing."""
    decisions = read_decisions(at.sagemaker, at.ledger, at.where.model_package_group, None)
    wanted = wish(decisions, at.ledger.order())
    seen = Situation(wanted, decisions, at.ledger.current(), at.ledger.live(), at.endpoint())
    if seen.current:
        return go_on(at, seen, seen.current)
    if seen.status in IN_PROGRESS:
        return Step(f"waiting: the endpoint is {seen.status}")
    if seen.endpoint is None and seen.live:
        return _deleted(at, wanted.order, seen.live)
    if wanted.delete:
        return _delete(at, seen.live) if seen.endpoint else _clean(at, None, "there is no endpoint, as ordered")
    if wanted.chosen is None:
        return _nothing_to_serve(at, seen)
    return _towards(at, seen, wanted.chosen)


def _deleted(at: Workplace, order: Order | None, live: Live) -> Step:
    """The endpoint is gone: as ordered, or by somebody's hand, which is taken for an order."""
    ordered = order is not None and order.action == DELETE
    word = Word(DELETE, order.by, order.reason) if order and ordered else at.deleted_elsewhere(live.since)
    at.note(at.record(word, "deleted", "", live))
    at.ledger.forget_live()
    return Step("the endpoint is gone", more=True)


def _delete(at: Workplace, live: Live | None) -> Step:
    if live is None:
        at.ledger.set_live(Live(0, "", "", at.now()))  # so that its end is recorded
    at.without_scaling(live)
    at.sagemaker.delete_endpoint(EndpointName=at.where.endpoint)
    return Step("deleting the endpoint, as ordered")


def _nothing_to_serve(at: Workplace, seen: Situation) -> Step:
    """No version may serve: what serves goes on, unless it is one that failed and there was none before it."""
    if seen.endpoint is None:
        return _clean(at, None, "no version is approved")
    live, served = seen.live, seen.decisions.get(version_of(at.where, seen.config))
    if live is None and (seen.status == "Failed" or (served and served.failed)):
        at.sagemaker.delete_endpoint(EndpointName=at.where.endpoint)
        return Step("deleting the endpoint, which serves a version that failed")
    if live and served and served.status == REJECTED and not live.unwanted:
        detail = "it serves on, because no other version is approved; `scones endpoint delete` ends that"
        at.note(at.record(Word(REJECTION, served.by, served.reason), "kept", detail, live))
        at.ledger.set_live(replace(live, unwanted=served.reason or REJECTED))
    return _clean(at, live, "no version is approved")


def _towards(at: Workplace, seen: Situation, chosen: Decision) -> Step:
    live, serves = seen.live, seen.serves
    # Copied traffic starts once the version beside it serves, so that a failure is the challenger's.
    shadow = seen.wanted.shadow if live and live.version == chosen.version and serves else None
    config = config_name(at.where, chosen.version, chosen.package_arn, shadow.version if shadow else 0)
    if serves and (serves == config or (live and (live.config, live.refused_config) == (serves, config))):
        return _steady(at, chosen, shadow, serves, live)
    word = _why(at, seen, chosen, shadow)
    now = at.now()
    before = at.smoke(live.package_arn).text if live and serves == live.config else "not tested: nothing served"
    deployment = Deployment(
        id=f"{now}#{chosen.version:08d}",
        action=word.action,
        version=chosen.version,
        package_arn=chosen.package_arn,
        config=config,
        by=word.by,
        reason=word.reason,
        decided_at=(shadow or chosen).at,
        started=now,
        previous_version=version_of(at.where, serves),
        previous_config=serves,
        shadow_version=shadow.version if shadow else 0,
        shadow_arn=shadow.package_arn if shadow else "",
        smoke_before=before,
    )
    at.ledger.begin(deployment)
    return Step(f"version {chosen.version} is to serve ({word.action})", more=True)


def _why(at: Workplace, seen: Situation, chosen: Decision, shadow: Decision | None) -> Word:
    """What the change is, on whose word, and why."""
    order, served = seen.wanted.order, seen.decisions.get(version_of(at.where, seen.serves))
    if served and served.failed and served.version != chosen.version:
        return Word(ROLLBACK, ITSELF, f"version {served.version} failed: {served.failed}")
    if served and served.status == REJECTED and served.at > chosen.at:
        return Word(REJECTION, served.by, served.reason)
    if seen.live and seen.serves and seen.live.version == chosen.version:
        return _why_the_same(seen, seen.live.shadow_version, shadow)
    if order:
        return Word(order.action, order.by, order.reason)
    return Word(APPROVAL, chosen.by, chosen.reason)


def _why_the_same(seen: Situation, shadowed: int, shadow: Decision | None) -> Word:
    """The same version in another configuration."""
    if shadow and shadow.version != shadowed:
        return Word(SHADOW, shadow.by, shadow.reason)
    if shadowed and not shadow:
        ended = seen.decisions[shadowed]
        return Word(ROLLBACK, ended.by, f"no more copied traffic for version {shadowed}: {ended.reason}")
    return Word(SETTINGS, ITSELF, "the settings of the stage have changed")


def _steady(at: Workplace, chosen: Decision, shadow: Decision | None, config: str, live: Live | None) -> Step:
    """It serves what it should; what is no longer needed goes."""
    if live is None or live.config != config:
        # Deployed before there was this table, or put there by hand.
        live = Live(chosen.version, chosen.package_arn, config, at.now(), shadow.version if shadow else 0)
        at.ledger.set_live(live)
        at.ledger.will_make("model", model_name(at.where, chosen.version))
        at.ledger.will_make("config", config)
    if at.where.settings.scales and not live.scaled:
        try:
            start_scaling(at.clients("application-autoscaling"), at.where)
        except ClientError as error:
            at.note(at.record(Word("autoscaling", ITSELF, "the settings of the stage"), "failed", str(error), live))
        live = replace(live, scaled=True)  # also after a failure, which was told: not every few minutes again
        at.ledger.set_live(live)
    return _clean(at, live, f"version {chosen.version} serves")


def _clean(at: Workplace, live: Live | None, text: str) -> Step:
    """Delete the models and configurations that neither serve nor are the way back."""
    configs = {live.config, live.previous_config} if live else set()
    versions = {live.version, live.shadow_version, live.previous_version} if live else set()

    def kept(kind: str, name: str) -> bool:
        # Also a version's model in a network of before: the endpoint may stand there still.
        return name in configs if kind == "config" else version_of(at.where, name) in versions

    gone = sorted(made for made in at.ledger.made() if not kept(*made))
    for kind, name in gone:
        delete_made(at.sagemaker, kind, name)
        at.ledger.forget(kind, name)
    return Step(f"{text}; deleted {', '.join(name for _, name in gone)}" if gone else text)
