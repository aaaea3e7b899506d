"""Members that nothing here acts on: refused by name before moto, which would drop them, answers a success.

Runs in the server process, for the services that moto answers; our own refuse in `protocol.service`. The tables are
those that the rooms register, see `protocol.members`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.base.errors import ErrorAnswer, aws_error, not_implemented
from local_account.protocol.foreign import Home, foreign_error
from local_account.protocol.members import table_of
from local_account.protocol.sent_members import sent_members

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


def refusal(environ: WSGIEnvironment, service: str, home: Home) -> ErrorAnswer | None:
    """The service's error for an operation, or a member, that its table does not name, or for a resource elsewhere."""
    sent = sent_members(service, environ)
    if sent is None:
        return None
    operation, members = sent
    table = table_of(service)
    if table is not None and operation not in table.acts:
        return not_implemented(environ, service, f"{service}'s {operation}")
    if elsewhere := foreign_error(service, operation, members, home):
        return aws_error(environ, service, elsewhere.code, elsewhere.message, elsewhere.status)
    found = next(table.refusals(operation, members), None) if table else None
    if table is None or found is None:
        return None
    status = 501 if table.code == "NotImplemented" else 400
    return aws_error(environ, table.service, table.code, f"The stand-in account {found.why}.", status)
