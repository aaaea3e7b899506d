"""The page to try photographs: where it stands, and what it sends."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from console.account import ConsoleAccount
from console.pages.photos import views
from console.safety.multipart import MULTIPART, parts_of
from console.web.documents import picture, served
from console.web.form import FormFields
from console.web.notices import Notice, Notices
from console.web.page import ConsolePage, PageAction, Panel
from console.web.panels import words
from scones.errors import SconesError
from scones.review.queue import ReviewQueue
from scones.review.records import safe_name
from scones.runs import executions
from scones.runs.executions import StoredImage
from scones.stage.connection import Connection

MOST_BYTES = 25 * 1024 * 1024
_MOST_RUNS = 24
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True)
class SendView:
    """What may be sent, and to which account."""

    local: bool
    number: str
    most_mib: int


def photos_page(account: ConsoleAccount, notices: Notices) -> ConsolePage:
    """Make the page; what became of a form is kept among the ``notices``."""
    return ConsolePage(
        "photos",
        "Try it",
        "Photographs through the workflow: what it answers, how sure it is, and which version said so.",
        lambda query: _panels(account, query),
        {"review": PageAction(lambda _form: "Put this image into the review queue.", send_to_review)},
        [
            Route("/photos/send", _receiver(account, notices), methods=["POST"]),
            Route("/photos/image/{name}", served(account, _image, picture)),
        ],
        scripts=["photos.js"],
        every_s=0.7,
    )


def _panels(account: ConsoleAccount, query: FormFields) -> Sequence[Panel]:
    names = query.every("run")[:_MOST_RUNS]
    if strange := [name for name in names if not _NAME.fullmatch(name)]:
        raise SconesError(f"there is no execution {strange[0]!r}")
    send = Panel(
        "send",
        "Send photographs",
        lambda c: SendView(account.local, c.names.account_id, MOST_BYTES // 2**20),
        "photos_send",
        wide=True,
    )
    recent = Panel("recent", "The newest photographs", views.read_recent, "photos_recent", wide=True)
    if not names:
        return [send, recent]
    sent = Panel("sent", "Sent", lambda c: views.read_photos(c, names), "photos_sent", live=True, wide=True)
    return [send, sent]


def send_to_review(connection: Connection, form: FormFields) -> str:
    """Put an image that passed into the review queue, as the workflow does with others."""
    name = form.needed("run")
    if not _NAME.fullmatch(name):
        raise SconesError(f"there is no execution {name!r}")
    ReviewQueue(connection).send(views.review_message(connection, name))
    return "The image waits for a review."


def _receiver(account: ConsoleAccount, notices: Notices) -> Callable[[Request], Awaitable[Response]]:
    async def receive(request: Request) -> Response:
        """One photograph as the body, answered by the execution's name; or a form's, answered by their page."""
        kind = request.headers.get("content-type", "")
        if kind.startswith(MULTIPART):
            return await run_in_threadpool(_form_sent, account, notices, kind, await request.body())
        content = await _limited(request)
        name = request.query_params.get("name", "photo")
        try:
            return JSONResponse(await run_in_threadpool(send, account, name, content, request.query_params.get("sure")))
        except Exception as error:
            account.lost(error)
            return JSONResponse({"error": words(error)}, HTTPStatus.CONFLICT)

    return receive


def _form_sent(account: ConsoleAccount, notices: Notices, kind: str, body: bytes) -> Response:
    """Send every photograph of a form, and go to where their executions are followed."""
    parts = list(parts_of(kind, body))
    sure = next((part.content.decode("utf-8", "replace") for part in parts if part.name == "sure"), None)
    photographs = [part for part in parts if part.filename][:_MOST_RUNS]
    runs: list[str] = []
    troubles: list[str] = [] if photographs else ["choose photographs first"]
    for each in photographs:
        try:
            runs.append(send(account, each.filename, each.content, sure)["run"])
        except Exception as error:
            account.lost(error)
            troubles.append(f"{each.filename}: {words(error)}")
    told = [("notice", notices.keep(Notice("; ".join(troubles), good=False)))] if troubles else []
    return RedirectResponse(f"/photos?{urlencode([('run', run) for run in runs] + told)}", HTTPStatus.SEE_OTHER)


def send(account: ConsoleAccount, name: str, content: bytes, sure: str | None) -> dict[str, str]:
    """Upload it below `incoming` and start the workflow. SconesError."""
    connection = account.connection()
    names = connection.names
    if not account.local and sure != names.account_id:
        raise SconesError(f"this sends a photograph to account {names.account_id}: say that you want that first")
    if not content:
        raise SconesError(f"{name} is empty")
    if len(content) > MOST_BYTES:
        raise SconesError(f"{name} has more than the {MOST_BYTES // 2**20} MiB that a photograph may have here")
    key = f"{names.incoming_prefix}/{uuid.uuid4().hex[:12]}-{safe_name(name)[-80:]}"
    connection.client("s3").put_object(Bucket=names.data_bucket, Key=key, Body=content)
    arn = executions.start(connection, StoredImage(names.data_bucket, key))
    return {"run": arn.rpartition(":")[2]}


async def _limited(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            limit = f"a photograph may have {MOST_BYTES // 2**20} MiB here"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
    return bytes(content)


def _image(connection: Connection, request: Request) -> bytes:
    """The image of an execution of the workflow, out of the stage's own bucket."""
    name = str(request.path_params["name"])
    if not _NAME.fullmatch(name):
        raise SconesError(f"there is no execution {name!r}")
    (run,) = views.read_photos(connection, [name]).runs
    bucket = connection.names.data_bucket
    content: bytes = connection.client("s3").get_object(Bucket=bucket, Key=run.key)["Body"].read()
    return content
