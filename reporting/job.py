"""How a processing job ends when its input is at fault: one line on stderr, the same line as the job's message, exit 1.

Runs in processing containers. SageMaker shows the first 1 KB of ``/opt/ml/output/message`` as DescribeProcessingJob's
ExitMessage (docs.aws.amazon.com/sagemaker/latest/dg/byoc-metadata.html). An unexpected exception keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

MESSAGE_FILE = Path("/opt/ml/output/message")
MESSAGE_LIMIT_BYTES = 1024


class JobError(Exception):
    """The job's input or arguments are at fault; the message says what was expected, what came, what to do."""


def run_job(name: str, work: Callable[[], None], message_file: Path) -> int:
    """Do the work; the exit status. JobError (and only that) becomes a message instead of a traceback."""
    try:
        work()
    except JobError as error:
        line = f"{name}: {' '.join(str(error).split())}"
        print(line, file=sys.stderr)
        _leave_message(line, message_file)
        return 1
    except BaseException as error:
        _leave_message(f"{name}: {type(error).__name__}: {error}", message_file)
        raise
    return 0


def _leave_message(line: str, message_file: Path) -> None:
    if not message_file.parent.parent.is_dir():  # no /opt/ml: the job runs outside a container
        return
    message_file.parent.mkdir(exist_ok=True)
    message_file.write_bytes(line.encode("utf-8")[:MESSAGE_LIMIT_BYTES].decode("utf-8", "ignore").encode("utf-8"))
