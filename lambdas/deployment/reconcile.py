"""Brings the endpoint one step nearer to the desired state, whatever the reason for looking was.

Runs in Lambda. One invocation at a time works on the endpoint (a lease in the table); one that comes meanwhile has the
other look again. Nothing waits here for an update to end: its event, or the schedule, comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

from botocore.exceptions import ClientError

from lambdas.deployment.desired_state import (
    DELETE,
    REJECTED,
    ROLLBACK,
    Order,
    VersionDecision,
    desired_state,
    why_not_deployable,
)
from lambdas.deployment.history import Reason
from lambdas.deployment.in_progress import APPROVAL, REJECTION, REMOVAL, SETTINGS, SHADOW, go_on
from lambdas.deployment.records import LiveDeployment, ModelDeployment
from lambdas.deployment.registry import read_decisions
from lambdas.deployment.sagemaker_endpoint import (
    IN_PROGRESS,
    config_name,
    delete_created,
    model_name,
    served_version,
    version_of,
)
from lambdas.deployment.scaling import start_scaling
from lambdas.deployment.steps import DeploymentContext, ObservedState, ReconcileStep, StepKind

MAX_STEPS = 12
ITSELF = "deploy_approved_model"
DELETION_LOOKS, LOOK_S = 20, 0.5


def reconcile(
    context: DeploymentContext, named: str | None, owner: str, lease_s: int, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """What was done, a line for each step; ``named`` is the package that an event tells of."""
    done: list[str] = []
    while True:
        if named:
            read_decisions(context.sagemaker, context.ledger, context.spec.model_package_group, named)
        now_s = int(context.clock().timestamp())
        if not context.ledger.acquire_lease(owner, now_s, now_s + lease_s):
            return [*done, "another invocation has the lease and looks again"]
        try:
            done += _steps(context, sleep)
        finally:
            finished = context.ledger.release_lease(owner)
        if finished:
            return done


def _steps(context: DeploymentContext, sleep: Callable[[float], None]) -> list[str]:
    done = []
    for _ in range(MAX_STEPS):
        taken = step(context)
        done.append(taken.text)
        goes_on = taken.kind is StepKind.PROGRESSED or (taken.kind is StepKind.DELETING and _gone(context, sleep))
        if not goes_on:
            break
    return done


def _gone(context: DeploymentContext, sleep: Callable[[float], None]) -> bool:
    """No event tells that an endpoint is gone, and that is soon, so it is worth a few seconds."""
    for _ in range(DELETION_LOOKS):
        if context.endpoint() is None:
            return True
        sleep(LOOK_S)
    return False


def step(context: DeploymentContext) -> ReconcileStep:
    """Look at everything, then do one thing."""
    decisions = read_decisions(context.sagemaker, context.ledger, context.spec.model_package_group, None)
    live, order, endpoint = context.ledger.live(), context.ledger.order(), context.endpoint()
    serving = (live.version, live.shadow_version) if live else (served_version(context.spec, endpoint),)
    desired, deployment = desired_state(decisions, order, serving), context.ledger.in_progress()
    observed = ObservedState(desired, decisions, deployment, live, endpoint)
    if observed.deployment:
        return go_on(context, observed, observed.deployment)
    if observed.status in IN_PROGRESS:
        return ReconcileStep.waiting(f"waiting: the endpoint is {observed.status}")
    if observed.endpoint is None and observed.live:
        return _deleted(context, observed.desired.order, observed.live)
    return _as_desired(context, observed, serving)


def _as_desired(context: DeploymentContext, observed: ObservedState, serving: Collection[int]) -> ReconcileStep:
    desired, order = observed.desired, observed.desired.order
    if (
        order
        and order.pending
        and not desired.delete
        and (why := why_not_deployable(observed.decisions, order, serving))
    ):
        return _refuse(context, observed.live, order, why)
    if desired.delete and observed.endpoint:
        return _delete(context, observed.live)
    if desired.delete:
        return _clean_up(context, None, "there is no endpoint, as ordered")
    if desired.chosen is None:
        return _nothing_to_serve(context, observed)
    return _towards(context, observed, desired.chosen)


def _deleted(context: DeploymentContext, order: Order | None, live: LiveDeployment) -> ReconcileStep:
    """The endpoint is gone: as ordered, or by somebody's hand, which is taken for an order."""
    ordered = order is not None and order.action == DELETE
    if order and ordered:
        reason = Reason(DELETE, order.by, order.reason)
    else:
        reason = context.history.deleted_elsewhere(live.since)
    context.history.note(reason, "deleted", "", live, live=None)
    return ReconcileStep.progressed("the endpoint is gone")


def _refuse(context: DeploymentContext, live: LiveDeployment | None, order: Order, why: str) -> ReconcileStep:
    """What serves stays, as if that had been ordered; without any, the order counts for nothing."""
    about = LiveDeployment(order.version, "", "", "")
    stays = replace(order, version=live.version if live else 0, pending=False, refused=why)
    context.history.note(Reason(order.action, order.by, order.reason), "failed", why, about, live=live, order=stays)
    return ReconcileStep.progressed(f"{order.action} refused: {why}")


def _delete(context: DeploymentContext, live: LiveDeployment | None) -> ReconcileStep:
    if live is None:
        context.ledger.put_live(LiveDeployment(0, "", "", context.now()))  # so that its end is recorded
    context.stop_scaling(live)
    context.sagemaker.delete_endpoint(EndpointName=context.spec.endpoint)
    return ReconcileStep.deleting("deleting the endpoint, as ordered")


def _nothing_to_serve(context: DeploymentContext, observed: ObservedState) -> ReconcileStep:
    """No version may serve: what serves goes on, unless it is one that failed and there was none before it."""
    if observed.endpoint is None:
        return _clean_up(context, None, "no version is approved")
    live, served = observed.live, observed.decisions.get(version_of(context.spec, observed.config))
    if live is None and (observed.status == "Failed" or (served and served.failed)):
        context.sagemaker.delete_endpoint(EndpointName=context.spec.endpoint)
        return ReconcileStep.deleting("deleting the endpoint, which serves a version that failed")
    if live and served and served.status == REJECTED and not live.unwanted:
        detail = "it serves on, because no other version is approved; `scones endpoint delete` ends that"
        unwanted = replace(live, unwanted=served.reason or REJECTED)
        context.history.note(Reason(REJECTION, served.by, served.reason), "kept", detail, live, live=unwanted)
    return _clean_up(context, live, "no version is approved")


def _towards(context: DeploymentContext, observed: ObservedState, chosen: VersionDecision) -> ReconcileStep:
    live, serves = observed.live, observed.config_in_service
    # Copied traffic starts once the version beside it serves, so that a failure is the challenger's.
    shadow = observed.desired.shadow if live and live.version == chosen.version and serves else None
    config = config_name(context.spec, chosen.version, chosen.package_arn, shadow.version if shadow else 0)
    if serves and (serves == config or (live and (live.config, live.refused_config) == (serves, config))):
        _order_taken(context, observed.desired.order)
        return _steady(context, chosen, shadow, serves, live)
    for decision in (chosen, shadow):
        if decision:
            context.keep_version(decision.package_arn)
    reason = _reason(context, observed, chosen, shadow)
    now = context.now()
    before = "not tested: nothing served"
    if live and serves == live.config:
        before = context.smoke_test(live.package_arn).text
    deployment = ModelDeployment(
        id=f"{now}#{chosen.version:08d}",
        action=reason.action,
        version=chosen.version,
        package_arn=chosen.package_arn,
        config=config,
        by=reason.by,
        reason=reason.text,
        decided_at=(shadow or chosen).at,
        started=now,
        previous_version=version_of(context.spec, serves),
        previous_config=serves,
        shadow_version=shadow.version if shadow else 0,
        shadow_arn=shadow.package_arn if shadow else "",
        smoke_before=before,
    )
    context.ledger.begin(deployment)
    _order_taken(context, observed.desired.order)
    return ReconcileStep.progressed(f"version {chosen.version} is to serve ({reason.action})")


def _order_taken(context: DeploymentContext, order: Order | None) -> None:
    """An order that is carried out is no longer pending."""
    if order and order.pending:
        context.ledger.update_order(replace(order, pending=False))


def _reason(
    context: DeploymentContext, observed: ObservedState, chosen: VersionDecision, shadow: VersionDecision | None
) -> Reason:
    """What the change is, who wants it, and why."""
    order, served = observed.desired.order, observed.decisions.get(version_of(context.spec, observed.config_in_service))
    if served and served.failed and served.version != chosen.version:
        return Reason(ROLLBACK, ITSELF, f"version {served.version} failed: {served.failed}")
    if served and served.status == REJECTED and served.at > chosen.at:
        return Reason(REJECTION, served.by, served.reason)
    if observed.live and observed.config_in_service and observed.live.version == chosen.version:
        return _reason_of_the_same_version(observed, observed.live.shadow_version, shadow)
    if order and not order.refused:
        return Reason(order.action, order.by, order.reason)
    return Reason(APPROVAL, chosen.by, chosen.reason)


def _reason_of_the_same_version(observed: ObservedState, shadowed: int, shadow: VersionDecision | None) -> Reason:
    """The same version in another configuration."""
    if shadow and shadow.version != shadowed:
        return Reason(SHADOW, shadow.by, shadow.reason)
    if shadowed and not shadow:
        ended = observed.decisions[shadowed]
        return Reason(ROLLBACK, ended.by, f"no more copied traffic for version {shadowed}: {ended.reason}")
    return Reason(SETTINGS, ITSELF, "the settings of the stage have changed")


def _steady(
    context: DeploymentContext,
    chosen: VersionDecision,
    shadow: VersionDecision | None,
    config: str,
    live: LiveDeployment | None,
) -> ReconcileStep:
    """It serves what it should; what is no longer needed goes."""
    if live is None or live.config != config:
        # Deployed before there was this table, or put there by hand.
        live = LiveDeployment(
            chosen.version, chosen.package_arn, config, context.now(), shadow.version if shadow else 0
        )
        context.ledger.put_live(live)
        context.ledger.record_creation("model", model_name(context.spec, chosen.version))
        context.ledger.record_creation("config", config)
    if context.ledger.version(live.version) is None:
        context.keep_version(live.package_arn)  # deployed before versions were kept
    if live.unwanted:  # it was rejected, and then approved again
        live = replace(live, unwanted="")
        context.ledger.put_live(live)
    live = _tell_of_removal(context, chosen, live)
    if context.spec.settings.scales and not live.scaled:
        live = _scale(context, live)
    return _clean_up(context, live, f"version {chosen.version} serves")


def _tell_of_removal(context: DeploymentContext, chosen: VersionDecision, live: LiveDeployment) -> LiveDeployment:
    """Once, that the version that serves is gone from the registry."""
    if not chosen.removed_at or live.removal_told:
        return live
    detail = "it was deleted from the registry and serves on, until another version is approved or ordered"
    told = replace(live, removal_told=True)
    context.history.note(Reason(REMOVAL, "unknown", "deleted from the registry"), "kept", detail, live, live=told)
    return told


def _scale(context: DeploymentContext, live: LiveDeployment) -> LiveDeployment:
    """Scaled, also after a failure, which was told: not every few minutes again."""
    scaled = replace(live, scaled=True)
    try:
        start_scaling(context.clients.application_autoscaling, context.spec)
    except ClientError as error:
        reason = Reason("autoscaling", ITSELF, "the settings of the stage")
        context.history.note(reason, "failed", str(error), live, live=scaled)
    else:
        context.ledger.put_live(scaled)
    return scaled


def _clean_up(context: DeploymentContext, live: LiveDeployment | None, text: str) -> ReconcileStep:
    """Delete the models and configurations that neither serve nor are the way back."""
    configs = {live.config, live.previous_config} if live else set()
    versions = {live.version, live.shadow_version, live.previous_version} if live else set()

    def kept(kind: str, name: str) -> bool:
        # Also a version's model in a network of before: the endpoint may stand there still.
        return name in configs if kind == "config" else version_of(context.spec, name) in versions

    gone = sorted(item for item in context.ledger.creations() if not kept(*item))
    for kind, name in gone:
        delete_created(context.sagemaker, kind, name)
        context.ledger.forget_creation(kind, name)
    return ReconcileStep.settled(f"{text}; deleted {', '.join(name for _, name in gone)}" if gone else text)
