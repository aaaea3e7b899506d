"""A lean HTTP client that keeps a server busy: ``python benchmarks/load.py --port 8080 IMAGE...``.

Runs on a laptop, in a process of its own, because it shares the cores with the server it measures: one thread, one
selector, keep-alive sockets, requests made beforehand, no HTTP library. Prints a JSON document with the rate, the
latencies and its own CPU. Every answer must be 200, and all answers to one image must be equal.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

WARM_UP_S = 0.5


@dataclass
class Client:
    """One connection: it sends an image, waits for the answer, sends the next."""

    connection: socket.socket
    position: int
    sent_at: float = 0.0
    received: bytes = b""


@dataclass
class Load:
    """Requests to send, and what came of them."""

    requests: list[bytes]
    answers: list[bytes | None] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)

    def send(self, client: Client) -> None:
        client.sent_at = time.perf_counter()
        client.connection.sendall(self.requests[client.position])

    def receive(self, client: Client) -> bool:
        """Read what is there; True when the answer is complete."""
        part = client.connection.recv(65536)
        if not part:
            raise SystemExit(f"the server closed the connection after {client.received[:300]!r}")
        client.received += part
        head, separator, body = client.received.partition(b"\r\n\r\n")
        if not separator or len(body) < length_of(head):
            return False
        self.latencies_s.append(time.perf_counter() - client.sent_at)
        if head.split(b" ", 2)[1] != b"200" or body != (self.answers[client.position] or body):
            raise SystemExit(f"expected 200 and {self.answers[client.position]!r}, got {client.received[:300]!r}")
        self.answers[client.position] = body
        client.received = b""
        return True


def length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise SystemExit(f"an answer without a length: {head!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/invocations")
    parser.add_argument("--header", action="append", default=[], help="a further header, 'Name: value'")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("images", type=Path, nargs="+")
    arguments = parser.parse_args()
    lines = [f"POST {arguments.path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: image/png", *arguments.header]
    head = "".join(f"{line}\r\n" for line in lines)
    bodies = [path.read_bytes() for path in arguments.images]
    load = Load([f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies], [None] * len(bodies))
    print(json.dumps(run(load, arguments.port, arguments.clients, arguments.seconds)))


def run(load: Load, port: int, clients: int, seconds: float) -> dict[str, float]:
    """Keep the server busy; what counts is measured after a warm-up."""
    selector = selectors.DefaultSelector()
    for number in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(connection, number % len(load.requests))
        selector.register(connection, selectors.EVENT_READ, client)
        load.send(client)
    drive(load, selector, WARM_UP_S)
    warm_up = len(load.latencies_s)
    load.latencies_s.clear()
    began, cpu = time.perf_counter(), time.process_time()
    drive(load, selector, seconds)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = len(load.latencies_s)
    ordered = sorted(load.latencies_s)
    return {
        "requests": count,
        "warm_up_requests": warm_up,
        "requests_per_second": count / took,
        "p50_ms": ordered[count // 2] * 1000,
        "p99_ms": ordered[count * 99 // 100] * 1000,
        "max_ms": ordered[-1] * 1000,
        "client_cpu_ms": cpu / count * 1000,
    }


def drive(load: Load, selector: selectors.BaseSelector, seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(timeout=60):
            client: Client = key.data
            if load.receive(client):
                client.position = (client.position + 1) % len(load.requests)
                load.send(client)


if __name__ == "__main__":
    main()
