"""What many large requests leave in a server's memory: a part of ``python -m benchmarks.model.serving``.

Runs on a laptop (Linux). Sends photographs of twelve megapixels and more than 5 MB over many connections at once: first
half of each, which then waits and goes away; then all of each. Resident memory is compared with the idle server's.
"""

from __future__ import annotations

import io
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
from PIL import Image

CONNECTIONS = 60
WIDTH, HEIGHT = 4000, 3000
LARGEST_BYTES = 6_000_000
SETTLE_S = 3.0  # until the server has given back what it no longer needs


def photograph() -> bytes:
    """A JPEG of twelve megapixels, as large as InvokeEndpoint takes it: noise on a gradient."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT))
    noise = Image.fromarray(generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    picture = Image.blend(coarse, noise, 0.2)
    for quality in range(95, 5, -5):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= LARGEST_BYTES:
            return buffer.getvalue()
    raise SystemExit(f"no quality brings the photograph below {LARGEST_BYTES:,} bytes")


def memory(process: psutil.Process, port: int) -> dict[str, float]:
    """MiB beyond the idle server's: while half-sent bodies wait, after them, at most while whole ones come, after."""
    body = photograph()
    ask(port, body)  # once before: what the first photograph brings in stays
    time.sleep(SETTLE_S)
    idle = resident_mib(process)
    halves = [begin(port, body, len(body) // 2) for _ in range(CONNECTIONS)]
    time.sleep(SETTLE_S)
    held = resident_mib(process) - idle
    for connection in halves:
        connection.close()
    time.sleep(SETTLE_S)
    left = resident_mib(process) - idle
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        answers = [pool.submit(ask, port, body) for _ in range(CONNECTIONS)]
        most = 0.0
        while not all(answer.done() for answer in answers):
            most = max(most, resident_mib(process) - idle)
            time.sleep(0.01)
        for answer in answers:
            answer.result()
    time.sleep(SETTLE_S)
    after = resident_mib(process) - idle
    return {"body_mb": len(body) / 1e6, "idle_mib": idle, "half_mib": held, "after_half_mib": left, "whole_mib": most,
            "after_whole_mib": after}  # fmt: skip


def begin(port: int, body: bytes, sent: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 300)
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:sent])
    return connection


def ask(port: int, body: bytes) -> None:
    with begin(port, body, len(body)) as connection:
        answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"expected 200, got {answer[:300]!r}")


def resident_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20
