"""Something that answers as an AWS account in trouble does: expired credentials, refusals."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>me</UserId><Account>123456789012</Account>
</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


class ScriptedAccount:
    """Answers everything but GetCallerIdentity with the error of ``trouble``; counts what it was asked by service."""

    def __init__(self) -> None:
        self.trouble = "AccessDeniedException"
        self.asked: Counter[str] = Counter()
        account = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                service = re.findall(r"/([a-z-]+)/aws4_request", self.headers.get("authorization", "")) or ["none"]
                account.asked[service[0]] += 1
                if service[0] == "sts" and b"GetCallerIdentity" in body:
                    self.answer(200, "text/xml", IDENTITY)
                else:
                    self.refuse(account.trouble)

            do_GET = do_HEAD = do_PUT = do_POST  # noqa: N815 - the names of http.server

            def refuse(self, code: str) -> None:
                xml = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
                told = json.dumps({"__type": code, "message": "no <b>way</b>"})
                kind = self.headers.get("content-type", "")
                self.answer(400, kind or "application/xml", told if "json" in kind else xml)

            def answer(self, status: int, kind: str, text: str) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def scripted_account() -> Iterator[ScriptedAccount]:
    """One that listens."""
    account = ScriptedAccount()
    thread = threading.Thread(target=account.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield account
    finally:
        account.server.shutdown()
        account.server.server_close()
        thread.join()
