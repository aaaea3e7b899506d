"""In place of the aws CLI (version 1): calls each of its services once, in one process, and tells who was called.

Run as ``aws [global options] every-service``. Prints as JSON the hosts that were connected to or looked up, by service.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

from awscli.clidriver import ServiceCommand, create_clidriver

_called: dict[str, set[str]] = defaultdict(set)
_service = "before any"


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto"}:
        _called[_service].add(str(arguments[1][0]))
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        _called[_service].add(str(arguments[0]))


def command_line(command: Any) -> list[str] | None:
    """An operation that needs nothing, or else strings only: the one that looks most like reading."""
    found = []
    model, offered = command.service_model, command._get_command_table()
    for name in model.operation_names:
        operation = model.operation_model(name)
        required = (
            {each: operation.input_shape.members[each] for each in operation.input_shape.required_members}
            if operation.input_shape
            else {}
        )
        simple = all(member.type_name == "string" for member in required.values())
        if simple and dashed(name) in offered and not operation.has_streaming_output:
            found.append((len(required), not re.match("List|Describe|Get", name), name, required))
    if not found:
        return None
    _, _, name, required = min(found, key=lambda each: each[:3])
    values = {each: (member.enum or ["of-some-kind"])[0] for each, member in required.items()}
    return [dashed(name), *(part for each, value in values.items() for part in (f"--{dashed(each)}", value))]


def dashed(name: str) -> str:
    from awscli.botocore import xform_name

    return str(xform_name(name, "-"))


def address_of(driver: Any, service: str, options: list[str]) -> str:
    endpoint_url = options[options.index("--endpoint-url") + 1] if "--endpoint-url" in options else None
    client = driver.session.create_client(service, endpoint_url=endpoint_url)
    return str(urlsplit(client.meta.endpoint_url).hostname)


def main() -> None:
    global _service  # noqa: PLW0603  # an audit hook has no other way to know
    options = sys.argv[1:-1]
    driver = create_clidriver()
    sys.addaudithook(audit)
    for service, command in sorted(driver._get_command_table().items()):
        if not isinstance(command, ServiceCommand):
            continue
        _service = service
        arguments = command_line(command)
        if arguments:
            silent = io.StringIO()
            with (
                contextlib.redirect_stderr(silent),
                contextlib.redirect_stdout(silent),
                contextlib.suppress(SystemExit),
            ):
                driver.main([*options, service, *arguments])
        if not _called[service]:
            _called[service].add(address_of(driver, service, options))
    print(json.dumps({name: sorted(hosts) for name, hosts in _called.items()}))


main()
