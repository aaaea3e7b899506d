"""What a build finds in its environment: CodeBuild's variables, a Python, the aws CLI, the service role's credentials.

Runs in the server process. Of the user's environment a build gets what pip and TLS need to reach a package index, and
the machine's pip cache, as containers do. Its image is the account's own Python, whatever the project's image says.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.authority.identity import session_environment
from local_account.base.arns import last_part
from local_account.codebuild.buildspec import BuildspecError
from local_account.containers.python import make_environment
from local_account.containers.run import machine_environment

if TYPE_CHECKING:
    from local_account.codebuild.records import BuildRecord

_AWS = '#!/bin/sh\nexec "$(dirname "$0")/python3" -m awscli "$@"\n'
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def instead_of(wanted: str) -> str:
    """What the log says where a buildspec asks for another Python 3 than there is; "" for that one.

    Raises BuildspecError for what is no Python 3.
    """
    if wanted in ("", _PYTHON, f"{sys.version_info.major}.x", "latest"):
        return ""
    if not re.fullmatch(r"3\.\d{1,2}", wanted):
        raise BuildspecError(f"unknown runtime version {wanted!r} of python: expected one such as {_PYTHON}")
    return f"Python {wanted} is asked for; builds in the stand-in account run with its own, {_PYTHON}"


def make_home(folder: Path) -> None:
    """The build's folders, with a Python and the aws CLI in ``python/bin``."""
    for name in ("home", "tmp", "src", "cache", "sources"):
        (folder / name).mkdir(parents=True)
    make_environment(folder / "python")
    aws = folder / "python" / "bin" / "aws"
    aws.write_text(_AWS)
    aws.chmod(0o755)


def environment(account: Account, folder: Path, build: BuildRecord) -> dict[str, str]:
    """Everything but the variables of the project, the call and the buildspec."""
    build_id = build["id"]
    return {
        **machine_environment(account.client_folder, folder / "python", folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        "TMPDIR": str(folder / "tmp"),
        **account.environment(),
        **session_environment(build["serviceRole"], f"AWSCodeBuild-{last_part(build_id)}"),
        "CODEBUILD_BUILD_ARN": build["arn"],
        "CODEBUILD_BUILD_ID": build_id,
        "CODEBUILD_BUILD_IMAGE": build["environment"]["image"],
        "CODEBUILD_BUILD_NUMBER": str(build["buildNumber"]),
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        "CODEBUILD_CI": "true",
        "CI": "true",
        "CODEBUILD_INITIATOR": build["initiator"],
        "CODEBUILD_KMS_KEY_ID": build.get("encryptionKey", ""),
        "CODEBUILD_LOG_PATH": build["logs"]["streamName"],
        "CODEBUILD_RESOLVED_SOURCE_VERSION": build.get("resolvedSourceVersion", ""),
        "CODEBUILD_SOURCE_REPO_URL": build["source"].get("location", ""),
        "CODEBUILD_SOURCE_VERSION": build.get("sourceVersion", ""),
        "CODEBUILD_SRC_DIR": str(folder / "src"),
        "CODEBUILD_START_TIME": str(int(build["startTime"] * 1000)),
    }
