"""The server: one port on 127.0.0.1 where every service of the account answers.

Runs as ``python -m local_account --port P --state DIR``. Requests go to our own SageMaker, to moto for the services on
the list below, and to an AWS-shaped error for everything else.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from local_account.account import Account

MOTO_SERVICES = {
    "cloudformation",
    "events",
    "iam",
    "kms",
    "lambda",
    "logs",
    "monitoring",
    "s3",
    "scheduler",
    "sns",
    "sqs",
    "ssm",
    "states",
    "sts",
}
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")


class AccountApplication:
    """The WSGI application: routes a request by the service that signed it."""

    def __init__(self, account: Account) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from local_account.sagemaker import install as install_sagemaker

        self.account = account
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.sagemaker, self.sagemaker_runtime = install_sagemaker(account)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        match = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        service = match.group(1) if match else ""
        if service == "sagemaker":
            target = self.sagemaker_runtime if environ["PATH_INFO"].startswith("/endpoints/") else self.sagemaker
            answer: Iterable[bytes] = target(environ, start_response)
            return answer
        answer = self.moto(environ, start_response)
        return answer


def serve(account: Account) -> None:
    """Serve until the process is told to stop."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    os.environ["MOTO_PORT"] = str(account.port)
    application = AccountApplication(account)
    threading.Thread(target=account.snapshots.run, args=(account.stopping,), daemon=True).start()
    server = make_server("127.0.0.1", account.port, application, threaded=True, request_handler=MotoRequestHandler)
    server.serve_forever()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local_account", description=__doc__)
    parser.add_argument("--port", type=int, default=5055)
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps the account's state")
    arguments = parser.parse_args(argv)
    serve(Account(arguments.state, arguments.port))
