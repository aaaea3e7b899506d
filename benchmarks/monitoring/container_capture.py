"""The container's own capture: what it costs a request, and whether an instance that is ended loses a record:
``python -m benchmarks.monitoring.container_capture [--records 100000 --ends 20]``.

Runs on a laptop. Starts the stand-in account's model server with our serving code and a trained model twice, without
and with the capture, asks both in turns and compares their CPU time; then starts and ends servers of a model that costs
nothing with SIGTERM, as a scale-in does, while clients ask, and counts what was answered and what lies in the captures.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.monitoring.trained import model_options, trained  # noqa: E402  # the path above comes first
from serving import capture  # noqa: E402  # likewise
from tests.served_model import ModelServer, start_server, write_model  # noqa: E402  # likewise

CLIENTS = 4
TURNS = 20
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the figures."""
    parser = model_options(__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="requests over all ended servers (default: 20,000)")
    parser.add_argument("--ends", type=int, default=20, help="servers that are ended (default: 20)")
    parser.add_argument("--requests", type=int, default=6000, help="to compare the CPU time of (default: 6,000)")
    arguments = parser.parse_args()
    with trained(arguments) as folders:
        print(_costs(folders.model, folders.scratch, arguments.requests))
        light = write_model(folders.scratch / "light")
        answered, found = _ended(light, folders.scratch, arguments.ends, arguments.records // arguments.ends)
        lost, double = answered - set(found), sum(number - 1 for number in found.values())
        print(f"{arguments.ends} servers ended, {len(answered):,} answered: {len(lost)} lost, {double} double")


def _costs(model: Path, scratch: Path, requests: int) -> str:
    """CPU of a request without the capture and with it; the servers take turns, since the machine may be busy."""
    servers = {kind: _server(model, scratch / kind) for kind in ("without", "with")}
    spent: dict[str, list[float]] = {kind: [] for kind in servers}
    try:
        for turn in range(TURNS + 1):
            for kind, server in servers.items():
                before = _cpu_s(server)
                _ask(server, requests // TURNS, f"turn-{turn}", set())
                spent[kind].append((_cpu_s(server) - before) / (requests // TURNS))
    finally:
        for server in servers.values():
            server.stop()
    # The first turn warms both.
    base, more = (statistics.median(spent[kind][1:]) * 1e3 for kind in ("without", "with"))
    return f"CPU of a request: {base:.3f} ms without, {more:.3f} ms with ({more / base - 1:+.1%})"


def _server(model: Path, folder: Path) -> ModelServer:
    folder.mkdir()
    told = {capture.URI: str(folder / "captures")} if folder.name == "with" else {}
    return start_server(model, folder, **told)


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
