"""What the SageMaker SDK reads beside AWS's variables, so that it stays with the account.

Written below ``<state>/client`` for a user's shell: the SDK's configuration file (SageMaker Python SDK documentation,
"Configuring and using defaults with the SageMaker Python SDK") and what `hook` says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from local_account.base.sdk import hook

EXECUTION_ROLE = "AmazonSageMaker-ExecutionRole"
"""The role that SageMaker works with here when nobody has made another one; IAM has it once it is named."""
EXECUTION_ROLE_PATH = "/service-role/"
_CONFIG = "sagemaker-config.yaml"


def execution_role_arn(account_id: str) -> str:
    """The ARN of that role."""
    return f"arn:aws:iam::{account_id}:role{EXECUTION_ROLE_PATH}{EXECUTION_ROLE}"


def sdk_files(account_id: str, region: str) -> dict[str, str]:
    """The files by their place in the client folder."""
    role = execution_role_arn(account_id)
    with_role = ("FeatureGroup", "Pipeline", "ProcessingJob", "TrainingJob")
    config = {
        "SchemaVersion": "1.0",
        "SageMaker": {
            "PythonSDK": {
                "Modules": {
                    "Session": {"DefaultS3Bucket": f"sagemaker-{region}-{account_id}"},
                    "TelemetryOptOut": True,
                }
            },
            **{kind: {"RoleArn": role} for kind in with_role},
            "Model": {"ExecutionRoleArn": role},
        },
    }
    return {
        _CONFIG: json.dumps(config, indent=1) + "\n",  # which is YAML, too
        "python/sitecustomize.py": Path(hook.__file__).read_text(encoding="utf-8"),
        "python/resource-metadata.json": json.dumps({"ResourceName": "stand-in-account", "ExecutionRoleArn": role}),
    }


def sdk_variables(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a shell that reads them; ``folder`` is the client folder."""
    hook = str(folder / "python")
    others = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part and not _is_hook(part)]
    return {
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(folder / _CONFIG),
        "PYTHONPATH": os.pathsep.join([hook, *others]),
    }


def _is_hook(folder: str) -> bool:
    """Whether a folder is the one of this account or of another one."""
    return (Path(folder) / "resource-metadata.json").is_file()
