"""The SageMaker SDK in a shell that evaluated `scones account env`: bucket, role and telemetry are the account's."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_account.server import control
from tests.local.conftest import RunningAccount

ROLE = "arn:aws:iam::123456789012:role/service-role/AmazonSageMaker-ExecutionRole"
SDK = """
import json
try:
    from sagemaker.session import Session, get_execution_role
except ImportError:
    from sagemaker.core.helper.session_helper import Session, get_execution_role
session = Session()
bucket = session.default_bucket()
session.boto_session.client("s3").head_bucket(Bucket=bucket)
found = session.sagemaker_config["SageMaker"]["PythonSDK"]["Modules"]["TelemetryOptOut"]
print(json.dumps({"bucket": bucket, "role": get_execution_role(session), "silent": found}))
"""


def run_python(account: RunningAccount, code: str, **variables: str) -> str:
    """What a program prints in a shell that evaluated the account's environment."""
    exported = control.environment(account.state_dir, account.port)
    kept = {name: value for name, value in os.environ.items() if name not in control.left_out(exported)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | exported | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(importlib.util.find_spec("sagemaker") is None, reason="the SageMaker SDK is not installed")
def test_the_sdk_finds_bucket_and_role_here_and_tells_nobody(account: RunningAccount) -> None:
    found = json.loads(run_python(account, SDK))
    assert found == {"bucket": "sagemaker-us-east-1-123456789012", "role": ROLE, "silent": True}


def test_the_execution_role_is_there_once_it_is_named(account: RunningAccount) -> None:
    iam = account.client("iam")
    role = iam.get_role(RoleName=ROLE.rpartition("/")[2])["Role"]
    assert role["Arn"] == ROLE
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert {one["PolicyName"] for one in attached} == {"AmazonSageMakerFullAccess", "AmazonS3FullAccess"}


MODULES = {
    "sagemaker/__init__.py": "",
    "sagemaker/utils.py": "def sts_regional_endpoint(region):\n    return 'https://sts.amazonaws.com'\n",
    "sagemaker/session.py": (
        "from sagemaker.utils import sts_regional_endpoint\nNOTEBOOK_METADATA_FILE = '/opt/ml/metadata/none.json'\n"
    ),
    "sitecustomize.py": "import builtins\nbuiltins.of_the_user = True\n",
}
LOOK = """
import json, sagemaker.session as session
role = json.load(open(session.NOTEBOOK_METADATA_FILE))["ExecutionRoleArn"]
print(json.dumps([session.sts_regional_endpoint("us-east-1"), role, of_the_user]))
"""


def test_modules_of_the_sdk_are_told_and_the_users_own_hook_runs(account: RunningAccount, tmp_path: Path) -> None:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    exported = control.environment(account.state_dir, account.port)["PYTHONPATH"]
    found = json.loads(run_python(account, LOOK, PYTHONPATH=os.pathsep.join([exported, str(tmp_path)])))
    assert found == [account.endpoint_url, ROLE, True]
