"""Deploys the delivery pipeline: a stack of its own, because it spans the stages that it deploys.

Runs on a laptop. Reads `templates/delivery*.yaml` and `buildspec-deploy.yml`; changes the stack in the connection's
account, which is AWS or the stand-in account.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from infrastructure.cloudformation import Agree, Progress, StageStack, Wanted
from infrastructure.removal import remove_stack
from infrastructure.stack import ensure_artifact_bucket, template_source
from scones.stage.connection import Connection
from scones.stage.settings import PROJECT_ROOT

TEMPLATE = Path(__file__).parent / "templates" / "delivery.yaml"
STAGE_PART = TEMPLATE.with_name("delivery_stage.yaml")
BUILDSPEC = PROJECT_ROOT / "buildspec-deploy.yml"


def delivery_template() -> str:
    """One template: ``delivery.yaml``, with the resources of ``delivery_stage.yaml`` for each of the two stages."""
    part = STAGE_PART.read_text(encoding="utf-8").partition("Resources:\n")[2]
    stages = "\n".join(part.replace("Which", stage) for stage in ("Staging", "Production"))
    head, section, rest = TEMPLATE.read_text(encoding="utf-8").partition("\nOutputs:\n")
    return f"{head}\n{stages}{section}{rest}"


def template_parameters(connection: Connection) -> dict[str, str]:
    """A value for each parameter of the template that depends on the stage."""
    settings = connection.settings
    delivery = settings.delivery
    staging, production = delivery.stages
    return {
        "Project": connection.names.project,
        "StagingStage": staging,
        "ProductionStage": production,
        "Source": delivery.source,
        "Repository": delivery.repository,
        "Branch": delivery.branch,
        "ConnectionArn": delivery.connection_arn,
        "NotificationEmail": settings.notifications.email,
        "ImagesPath": os.environ.get("SCONES_DATA", ""),
        "DeployBuildspec": BUILDSPEC.read_text(encoding="utf-8"),
        "LockedTools": "1" if delivery.locked_tools else "",
    }


def deploy(connection: Connection, progress: Progress, agree: Agree = lambda _: True) -> dict[str, str] | None:
    """Bring the stack to the template; its outputs, or None when ``agree`` says no. Raises StackError."""
    names = connection.names
    stack = StageStack(names.delivery, connection.client("cloudformation"))
    # The tag `deployment` keeps a stage's role, which may take what has none, from taking delivery's key.
    tags = {"project": names.project, "deployment": names.delivery}
    s3, region = connection.client("s3"), connection.settings.region
    ensure_artifact_bucket(s3, names.artifact_bucket, region, names.tags, progress)
    template = template_source(s3, names.artifact_bucket, region, delivery_template())
    wanted = Wanted(template, template_parameters(connection), tags)
    return stack.outputs() if stack.apply(wanted, progress, agree) else None


def outputs(connection: Connection) -> dict[str, str]:
    """What the deployed stack says of itself. Raises StackError when there is none."""
    return StageStack(connection.names.delivery, connection.client("cloudformation")).outputs()


def destroy(connection: Connection, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """Remove the stack with its bucket; the stages it deployed stay. Returns what was removed, a line each."""
    removed: list[str] = []

    def say(what: str) -> None:
        removed.append(what)
        progress(f"removed {what}")

    names = connection.names
    stack = StageStack(names.delivery, connection.client("cloudformation"), sleep)
    remove_stack(stack, connection.client("s3"), names.delivery_bucket, say, progress)
    return removed
