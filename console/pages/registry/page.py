"""The registry's page: where it stands, and what it changes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import Route

from console.account import ConsoleAccount
from console.pages.registry import views
from console.web.documents import document, served
from console.web.form import FormFields
from console.web.page import ConsolePage, PageAction, Panel
from scones.errors import SconesError
from scones.serving_versions import deployments, registry
from scones.stage.connection import Connection, split_uri


def registry_page(account: ConsoleAccount) -> ConsolePage:
    """Make the page."""
    return ConsolePage(
        "registry",
        "Registry",
        "Every version of the model, what its evaluation says, and what serves.",
        lambda query: _panels(account, query),
        {
            "approve": PageAction(
                lambda form: f"Approve version {form.text('version')}: it will be deployed.", approve
            ),
            "reject": PageAction(lambda form: f"Reject version {form.text('version')}.", reject),
            "rollback": PageAction(lambda form: f"Go back to version {form.text('version')}, at once.", roll_back),
        },
        [Route("/registry/evaluation/{version:int}", served(account, _evaluation, document))],
    )


def _panels(account: ConsoleAccount, query: FormFields) -> Sequence[Panel]:
    chosen = query.whole("version") if query.text("version") else 0
    return [
        Panel(
            "versions", "Versions", lambda c: views.read_versions(c, chosen), "registry_versions", live=True, wide=True
        ),
        Panel("version", "The chosen version", lambda c: views.read_version(c, account, chosen), "registry_version"),
        Panel("deployment", "Deployments", views.read_deployment, "registry_deployment", live=True),
        Panel(
            "evaluation",
            "Its evaluation",
            lambda c: registry.find(c, chosen or None),
            "registry_evaluation",
            wide=True,
        ),
    ]


def approve(connection: Connection, form: FormFields) -> str:
    """Approve a version, as `scones model approve` does, and do not wait."""
    version = registry.find(connection, form.whole("version"))
    registry.set_approval(connection, version, "Approved", _reason(form))
    return f"Version {version.version} is approved; its deployment is shown below."


def reject(connection: Connection, form: FormFields) -> str:
    """Reject a version, as `scones model reject` does, and do not wait."""
    version = registry.find(connection, form.whole("version"))
    registry.set_approval(connection, version, "Rejected", _reason(form))
    return f"Version {version.version} is rejected."


def roll_back(connection: Connection, form: FormFields) -> str:
    """Order another approved version, as `scones endpoint rollback` does, and do not wait."""
    version = registry.find(connection, form.whole("version"))
    known = deployments.state(connection)
    serves = int(known.live["version"]) if known.live else 0
    if version.approval != "Approved":
        raise SconesError(f"version {version.version} is {version.approval}: approve it first")
    if version.version == serves and not known.quiet:
        raise SconesError(f"another version takes the place of version {serves} just now: go back when that has ended")
    if version.version == serves:
        raise SconesError(f"version {serves} serves already")
    action = deployments.ROLLBACK if serves else deployments.DEPLOY
    deployments.order(connection, action, version.version, serves, _reason(form))
    return f"Version {version.version} is ordered; its deployment is shown below."


def _reason(form: FormFields) -> str:
    """Kept with the version; a form without one is refused."""
    return form.needed("reason")


def _evaluation(connection: Connection, request: Request) -> bytes:
    version = registry.find(connection, int(request.path_params["version"]))
    uri = registry.evaluation_page(connection, version)
    if uri is None:
        raise SconesError(f"version {version.version} has no evaluation page")
    bucket, key = split_uri(uri)
    content: bytes = connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content
