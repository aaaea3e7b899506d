"""The container's own capture: what it costs a request, and whether an instance that is ended loses a record:
``python -m benchmarks.monitoring.container_capture [--records 100000 --ends 20]``.

Runs on a laptop. Starts the stand-in account's model server with our serving code and a small model, once without and
once with the capture, and compares the CPU time of the server for as many requests; then starts and ends servers with
SIGTERM, as a scale-in does, while clients ask, and counts what was answered and what lies in the capture files.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from serving import capture  # noqa: E402  # the path above comes first
from tests.served_model import ModelServer, start_server, write_model  # noqa: E402  # likewise

CLIENTS = 4
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="requests over all ended servers (default: 20,000)")
    parser.add_argument("--ends", type=int, default=20, help="servers that are ended (default: 20)")
    parser.add_argument("--requests", type=int, default=4000, help="to compare the CPU time of (default: 4,000)")
    parser.add_argument("--model", type=Path, help="folder of a trained model (default: one that costs nothing)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-capture-") as name:
        scratch = Path(name)
        model = arguments.model or write_model(scratch / "model")
        costs = {kind: _cost(model, scratch / kind, arguments.requests) for kind in ("without", "with", "without ")}
        base = min(costs["without"], costs["without "])
        more = costs["with"] / base - 1
        print(f"CPU of a request: {base * 1e3:.3f} ms without, {costs['with'] * 1e3:.3f} ms with ({more:+.1%})")
        answered, found = _ended(model, scratch, arguments.ends, arguments.records // arguments.ends)
        lost, double = answered - set(found), sum(number - 1 for number in found.values())
        print(f"{arguments.ends} servers ended, {len(answered):,} answered: {len(lost)} lost, {double} double")


def _cost(model: Path, folder: Path, requests: int) -> float:
    """CPU seconds of the server for each request."""
    folder.mkdir()
    told = {capture.URI: str(folder / "captures")} if folder.name == "with" else {}
    server = start_server(model, folder, **told)
    try:
        _ask(server, 200, "warm", set())
        before = _cpu_s(server)
        _ask(server, requests, "id", set())
        return (_cpu_s(server) - before) / requests
    finally:
        server.stop()


def _cpu_s(server: ModelServer) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _ended(model: Path, scratch: Path, ends: int, each: int) -> tuple[set[str], Counter[str]]:
    """Inference ids that were answered, and those in the captures."""
    answered: set[str] = set()
    captures = scratch / "captures"
    for number in range(ends):
        folder = scratch / f"end-{number}"
        folder.mkdir()
        server = start_server(model, folder, **{capture.URI: str(captures)})
        clients = [
            threading.Thread(target=_ask, args=(server, each // CLIENTS, f"{number}-{client}", answered))
            for client in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        while clients[0].is_alive() and len(answered) < number * each + each * 3 // 4:
            clients[0].join(0.01)
        server.stop()  # in the midst of it
        for client in clients:
            client.join()
    found: Counter[str] = Counter()
    for path in captures.rglob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            found[line.partition('"inferenceId":"')[2].partition('"')[0]] += 1
    return answered, found


def _ask(server: ModelServer, requests: int, name: str, answered: set[str]) -> None:
    out = io.BytesIO()
    Image.effect_noise((32, 32), 60).convert("RGB").save(out, "PNG")
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    for number in range(requests):
        identity = f"{name}-{number}"
        headers = {"Content-Type": "image/png", "X-Amzn-SageMaker-Inference-Id": identity}
        try:
            connection.request("POST", "/invocations", out.getvalue(), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            return
        if answer.status == 200:
            answered.add(identity)


if __name__ == "__main__":
    main()
