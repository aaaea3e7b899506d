"""Reading requests from clients that may never finish: within a time, with little memory, which is given back.

Used by the account's own server, and by the model server, which runs it from this file: the standard library alone.
"""

from __future__ import annotations

import ctypes
import io
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MEMORY_BYTES = 2**20  # of a body; what is longer comes into a file without a name
_PIECE_BYTES = 2**16
_SETTLE_S = 1.0
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # M_ARENA_MAX and M_MMAP_THRESHOLD of malloc.h
_OWN_PAGES_BYTES = 128 * 1024  # glibc's own default, which it raises to 32 MiB by itself unless it is set


class PatientReader(io.RawIOBase):
    """What comes through a connection; TimeoutError once the time for it is over, however little by little it comes."""

    def __init__(self, connection: socket.socket, idle_s: float, head_s: float, body_s: float, slowest: float) -> None:
        """Seconds: without a request, for a request's head, for its body besides its bytes / ``slowest``."""
        self._connection, self._timeout = connection, connection.gettimeout()
        self._idle_s, self._head_s, self._body_s, self._slowest = idle_s, head_s, body_s, slowest
        self._deadline: float | None = None

    def readable(self) -> bool:
        """Say to ``io`` that this is read from."""
        return True

    def expect_request(self) -> None:
        """From now on a request may come; its first byte starts the time for its head."""
        self._deadline = None

    def expect_body(self, length: int) -> None:
        """From now on a body of so many bytes has to come."""
        self._deadline = time.monotonic() + self._body_s + length / self._slowest

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer with what has come, and count its bytes.

        Raises TimeoutError when the client has taken too long.
        """
        left_s = self._idle_s if self._deadline is None else self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request did not come in time")
        self._connection.settimeout(left_s)
        try:
            count = self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._timeout)
        if self._deadline is None:
            self._deadline = time.monotonic() + self._head_s
        return count


def receive(read: Callable[[int], bytes], length: int) -> tuple[IO[bytes], int]:
    """At most ``length`` bytes as a file at its start, and how many came before the end; the caller closes it."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  # the caller's
    left = length
    try:
        while left and (piece := read(min(left, _PIECE_BYTES))):
            file.write(piece)
            left -= len(piece)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, length - left


class MemoryKeeper:
    """Gives memory back to the system after large requests; make one before there are threads.

    glibc keeps what each thread had in an arena of its own, whose end malloc_trim leaves alone; hence one arena for
    all, which costs little where threads take turns anyway. What is large has pages of its own, given back with it:
    state that is written each second would leave holes between what stays. Other C libraries have no such calls.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._trim = getattr(library, "malloc_trim", None)
        self._wanted = threading.Event()
        if self._trim:
            library.mallopt(_ARENA_MAX, 1)
            library.mallopt(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
            threading.Thread(target=self._run, name="memory", daemon=True).start()

    def had(self, length: int) -> None:
        """A request of so many bytes is over."""
        if length >= MEMORY_BYTES:
            self._wanted.set()

    def _run(self) -> None:
        while self._trim and self._wanted.wait():
            time.sleep(_SETTLE_S)  # one time for many requests
            self._wanted.clear()
            self._trim(0)
