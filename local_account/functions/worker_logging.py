"""What a function's log looks like: the lines of its logger and of its errors, as AWS's runtime client writes them.

Runs in a function's worker process, which loads this file by its path and has the standard library alone. The format is
Text, or JSON where the function's LoggingConfig says so (``AWS_LAMBDA_LOG_FORMAT``). Tracebacks name the folders of
Lambda, ``/var/task`` and ``/opt``, wherever the code lies here.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from types import TracebackType

_TIME = "%Y-%m-%dT%H:%M:%S"
_INDENT = "\u00a0"  # the runtime client indents tracebacks with no-break spaces
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"aws_request_id", "message", "asctime", "taskName"}


class Places:
    """Where the folders of Lambda are on this machine."""

    def __init__(self, task_root: str, layers: list[str]) -> None:
        self._shown = [(task_root, "/var/task"), *((_layer_root(path), "/opt") for path in layers)]
        self._shown += [(sys.prefix, "/var/lang"), (sys.base_prefix, "/var/lang")]

    def shown(self, file: str) -> str:
        """A file's path as it would be on Lambda."""
        for here, there in self._shown:
            if here and file.startswith(here + os.sep):
                return there + file[len(here) :]
        return file

    def frames(self, trace: TracebackType | None, own_file: str) -> list[str]:
        """A traceback's frames from the first one on that is not the runtime's, as text."""
        found = [
            frame
            for frame in traceback.extract_tb(trace)
            if frame.filename != own_file and not frame.filename.startswith("<frozen importlib")
        ]
        shown = [(self.shown(frame.filename), frame.lineno, frame.name, frame.line) for frame in found]
        return traceback.format_list([traceback.FrameSummary(*frame[:3], line=frame[3]) for frame in shown])


def _layer_root(path: str) -> str:
    """The folder of a layer's zip, of which ``path`` is the part that Python looks into."""
    return path.partition(f"{os.sep}python")[0] if f"{os.sep}python" in path else path


class TextFormatter(logging.Formatter):
    """Level, time, request id, message; an exception stays one log event."""

    def __init__(self) -> None:
        super().__init__("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", _TIME)
        self.converter = time.gmtime
        self.request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        """One line of the log."""
        record.aws_request_id = self.request_id
        return super().format(record).replace("\n", "\r")


class JsonFormatter(TextFormatter):
    """An object a line, with the members that a record was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of the log."""
        kind, error, trace = record.exc_info or (None, None, None)
        told = record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage()
        line: dict[str, object] = {
            "timestamp": time.strftime(_TIME, time.gmtime(record.created)) + "Z",
            "level": record.levelname,
            "message": told,
            "logger": record.name,
            "stackTrace": traceback.format_tb(trace) if kind else None,
            "errorType": kind.__name__ if kind else None,
            "errorMessage": str(error) if kind else None,
            "requestId": self.request_id or None,
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if kind else None,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN and name not in line}
        kept = {name: value for name, value in line.items() if value is not None}
        return json.dumps(kept, ensure_ascii=False, default=str)


def install() -> TextFormatter:
    """Have the root logger write the function's log; the formatter is to be told each request's id."""
    formatter = JsonFormatter() if _in_json() else TextFormatter()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").replace("TRACE", "DEBUG").replace("FATAL", "CRITICAL")
    if level in logging.getLevelNamesMapping():
        logging.getLogger().setLevel(level)
    return formatter


def _in_json() -> bool:
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def tell_error(payload: Mapping[str, object]) -> None:
    """Write the error of an invocation to the log: its type, its message and its traceback."""
    if _in_json():
        head = {"timestamp": time.strftime(_TIME, time.gmtime()) + "Z", "level": "ERROR"}
        print(json.dumps(head | dict(payload), ensure_ascii=False, default=str), flush=True)
        return
    frames = payload["stackTrace"]
    lines = [f"[ERROR] {payload['errorType']}: {payload['errorMessage']}", "Traceback (most recent call last):"]
    for frame in frames if isinstance(frames, list) else []:
        lines += [_indented(line) for line in str(frame).splitlines()]
    print("\r".join(lines).replace("\n", "\r"), flush=True)


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return _INDENT * (len(line) - len(text)) + text
