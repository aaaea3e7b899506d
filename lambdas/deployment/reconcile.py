"""Brings the endpoint one step nearer to what is wanted, whatever the reason for looking was.

Runs in Lambda. One invocation at a time works on the endpoint (a lease in the table); one that comes meanwhile has the
other look again. Nothing waits here for an update to end: its event, or the schedule, comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

from botocore.exceptions import ClientError

from lambdas.deployment.ledger import Deployment, Live
from lambdas.deployment.registry import read_decisions
from lambdas.deployment.sagemaker_endpoint import (
    IN_PROGRESS,
    config_name,
    delete_made,
    model_name,
    served_version,
    version_of,
)
from lambdas.deployment.surroundings import start_scaling
from lambdas.deployment.under_way import APPROVAL, REJECTION, REMOVAL, SETTINGS, SHADOW, go_on
from lambdas.deployment.wishes import DELETE, REJECTED, ROLLBACK, Decision, Order, obstacle, wish
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
    live, order, endpoint = at.ledger.live(), at.ledger.order(), at.endpoint()
    serving = (live.version, live.shadow_version) if live else (served_version(at.where, endpoint),)
    seen = Situation(wish(decisions, order, serving), decisions, at.ledger.current(), live, endpoint)
    if seen.current:
        return go_on(at, seen, seen.current)
    if seen.status in IN_PROGRESS:
        return Step(f"waiting: the endpoint is {seen.status}")
    if seen.endpoint is None and seen.live:
        return _deleted(at, seen.wanted.order, seen.live)
    return _as_wanted(at, seen, serving)


def _as_wanted(at: Workplace, seen: Situation, serving: Collection[int]) -> Step:
    wanted, order = seen.wanted, seen.wanted.order
    if order and order.pending and not wanted.delete and (why := obstacle(seen.decisions, order, serving)):
        return _refuse(at, seen.live, order, why)
    if wanted.delete:
        return _delete(at, seen.live) if seen.endpoint else _clean(at, None, "there is no endpoint, as ordered")
    if wanted.chosen is None:
        return _nothing_to_serve(at, seen)
    return _towards(at, seen, wanted.chosen)


def _deleted(at: Workplace, order: Order | None, live: Live) -> Step:
    """The endpoint is gone: as ordered, or by somebody's hand, which is taken for an order."""
    ordered = order is not None and order.action == DELETE
    word = Word(DELETE, order.by, order.reason) if order and ordered else at.deleted_elsewhere(live.since)
    at.note(at.record(word, "deleted", "", live), None)
    return Step("the endpoint is gone", more=True)


def _refuse(at: Workplace, live: Live | None, order: Order, why: str) -> Step:
    """What serves stays, as if that had been ordered; without any, the order counts for nothing."""
    about = Live(order.version, "", "", "")
    stays = replace(order, version=live.version if live else 0, pending=False, refused=why)
    at.note(at.record(Word(order.action, order.by, order.reason), "failed", why, about), live, stays)
    return Step(f"{order.action} refused: {why}", more=True)


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
        record = at.record(Word(REJECTION, served.by, served.reason), "kept", detail, live)
        at.note(record, replace(live, unwanted=served.reason or REJECTED))
    return _clean(at, live, "no version is approved")


def _towards(at: Workplace, seen: Situation, chosen: Decision) -> Step:
    live, serves = seen.live, seen.serves
    # Copied traffic starts once the version beside it serves, so that a failure is the challenger's.
    shadow = seen.wanted.shadow if live and live.version == chosen.version and serves else None
    config = config_name(at.where, chosen.version, chosen.package_arn, shadow.version if shadow else 0)
    if serves and (serves == config or (live and (live.config, live.refused_config) == (serves, config))):
        _under_way(at, seen.wanted.order)
        return _steady(at, chosen, shadow, serves, live)
    for decision in (chosen, shadow):
        if decision:
            at.keep_version(decision.package_arn)
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
    _under_way(at, seen.wanted.order)
    return Step(f"version {chosen.version} is to serve ({word.action})", more=True)


def _under_way(at: Workplace, order: Order | None) -> None:
    if order and order.pending:
        at.ledger.change_order(replace(order, pending=False))


def _why(at: Workplace, seen: Situation, chosen: Decision, shadow: Decision | None) -> Word:
    """What the change is, on whose word, and why."""
    order, served = seen.wanted.order, seen.decisions.get(version_of(at.where, seen.serves))
    if served and served.failed and served.version != chosen.version:
        return Word(ROLLBACK, ITSELF, f"version {served.version} failed: {served.failed}")
    if served and served.status == REJECTED and served.at > chosen.at:
        return Word(REJECTION, served.by, served.reason)
    if seen.live and seen.serves and seen.live.version == chosen.version:
        return _why_the_same(seen, seen.live.shadow_version, shadow)
    if order and not order.refused:
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
    if at.ledger.version(live.version) is None:
        at.keep_version(live.package_arn)  # deployed before versions were kept
    live = _tell_of_removal(at, chosen, live)
    if at.where.settings.scales and not live.scaled:
        live = _scale(at, live)
    return _clean(at, live, f"version {chosen.version} serves")


def _tell_of_removal(at: Workplace, chosen: Decision, live: Live) -> Live:
    """Once, that the version that serves is gone from the registry."""
    if not chosen.removed_at or live.removal_told:
        return live
    detail = "it was deleted from the registry and serves on, until another version is approved or ordered"
    told = replace(live, removal_told=True)
    at.note(at.record(Word(REMOVAL, "unknown", "deleted from the registry"), "kept", detail, live), told)
    return told


def _scale(at: Workplace, live: Live) -> Live:
    """Scaled, also after a failure, which was told: not every few minutes again."""
    scaled = replace(live, scaled=True)
    try:
        start_scaling(at.clients("application-autoscaling"), at.where)
    except ClientError as error:
        word = Word("autoscaling", ITSELF, "the settings of the stage")
        at.note(at.record(word, "failed", str(error), live), scaled)
    else:
        at.ledger.set_live(scaled)
    return scaled


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
