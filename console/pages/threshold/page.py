"""The threshold's page: where it stands, and what it changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import Route

from console.account import ConsoleAccount
from console.pages.threshold import views
from console.web.documents import picture, served
from console.web.form import FormFields
from console.web.page import ConsolePage, PageAction, Panel
from scones.errors import SconesError
from scones.review import threshold
from scones.review.threshold import StageThresholds
from scones.stage.connection import Connection, split_uri

_TEST_IMAGE = re.compile(r"test/[A-Za-z0-9._/-]+")


def threshold_page(account: ConsoleAccount) -> ConsolePage:
    """Make the page."""
    return ConsolePage(
        "threshold",
        "Threshold",
        "The least confidence with which an answer passes; it counts without a deployment.",
        _panels,
        {
            "set": PageAction(
                lambda form: f"Set the threshold to {form.text('threshold')} for the whole stage.", set_threshold
            ),
            "back": PageAction(lambda form: f"Go back to change {form.text('change')} of the threshold.", go_back),
        },
        [Route("/threshold/image/{path:path}", served(account, _image, picture))],
        scripts=["threshold.js"],
    )


def _panels(query: FormFields) -> Sequence[Panel]:
    return [
        Panel("effect", "Try another", lambda c: views.read_effect(c, query), "threshold_effect", wide=True),
        Panel("traffic", "The last 24 hours", lambda c: views.read_traffic(c, query), "threshold_traffic"),
        Panel("history", "Changes", views.read_history, "threshold_history"),
    ]


def set_threshold(connection: Connection, form: FormFields) -> str:
    """Write what was chosen, as `scones threshold set` does."""
    before = views.current(connection)
    known = views.live_model(connection).version.classes
    own = [f"{name}={form.text(f'of.{name}', threshold.BACK_TO_DEFAULT)}" for name in known]
    wanted = threshold.changed(before, form.needed("threshold"), own, known)
    after = threshold.write(connection, wanted, form.needed("reason"))
    seconds = connection.settings.workflow.threshold_cache_s
    return f"The threshold is {after} (it was {before}); the functions follow within {seconds:g} s."


def go_back(connection: Connection, form: FormFields) -> str:
    """Write once more what an earlier change had set."""
    number = form.whole("change")
    found = next((c for c in threshold.history(connection) if c.version == number), None)
    if found is None:
        raise SconesError(f"Parameter Store keeps no change {number} of the threshold")
    threshold.share(found.thresholds.default, "for all classes")
    reason = form.text("reason", f"back to change {number}")
    wanted = StageThresholds(found.thresholds.default, found.thresholds.classes)
    after = threshold.write(connection, wanted, reason)
    return f"The threshold is {after}, as change {number} had set it."


def _image(connection: Connection, request: Request) -> bytes:
    """One of the test images of the version that serves."""
    path = str(request.path_params["path"])
    if not _TEST_IMAGE.fullmatch(path) or ".." in path:
        raise SconesError(f"there is no test image {path!r}")
    bucket, prefix = split_uri(views.live_model(connection).version.metadata["dataset_s3_uri"])
    content: bytes = connection.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/{path}")["Body"].read()
    return content
