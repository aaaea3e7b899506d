"""A deployed stage in an account with a clock of its own, for watching a model's life in hours instead of days."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.config import Config

from tests.local.conftest import owners_client
from tests.places import ROOT

PREFIX = "scones-local"
DATA_BUCKET = f"{PREFIX}-data-123456789012-us-east-1"
TRAINING = f"{PREFIX}-training"
PATIENCE_S = 300.0
START = "2026-11-01T00:00Z"
# Enough to tell the classes apart; every execution's defaults, those of a training that drift starts included.
QUICK = {"Recipe": "scratch", "Epochs": 3, "Members": 1, "AccuracyGate": 0.6}


@dataclass
class Life:
    """The command line on a home of its own, and what can be seen of the account."""

    home: Path
    port: int
    archive: Path
    _clients: dict[str, Any] = field(default_factory=dict)

    def scones(self, *arguments: str) -> str:
        answer = subprocess.run(
            [sys.executable, "-c", "from scones.cli import main; main()", *arguments],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def client(self, service: str) -> Any:
        """Made once: making one takes longer than most calls."""
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
            self._clients[service] = owners_client(service, self.home / "account", self.port, config)
        return self._clients[service]

    def begin(self, every: str) -> None:
        """An account, a stage, a model that serves, and a report every so often."""
        self.scones("account", "start", "--clock", START)
        self.scones("deploy", "--yes")
        sagemaker = self.client("sagemaker")
        definition = json.loads(sagemaker.describe_pipeline(PipelineName=TRAINING)["PipelineDefinition"])
        for parameter in definition["Parameters"]:
            parameter["DefaultValue"] = QUICK.get(parameter["Name"], parameter.get("DefaultValue"))
            if parameter["DefaultValue"] is None:
                del parameter["DefaultValue"]
        sagemaker.update_pipeline(PipelineName=TRAINING, PipelineDefinition=json.dumps(definition))
        self.scones("pipeline", "run")
        self.scones("model", "approve")
        self.scones("monitor", "schedule", "--every", every)

    def pass_time(self, length: str, per_hour: int, *options: str) -> dict[str, Any]:
        """Traffic, and the reports that fall due meanwhile."""
        told = self.scones("monitor", "simulate", "--for", length, "--per-hour", str(per_hour), "--json", *options)
        sent: dict[str, Any] = json.loads(told)
        assert sent["failed"] == 0, sent
        return sent

    def reports(self) -> list[dict[str, Any]]:
        """The newest first."""
        s3 = self.client("s3")
        keys = [o["Key"] for o in s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix="reports/index").get("Contents", [])]
        if "reports/index.json" not in keys:
            return []
        listed: list[dict[str, Any]] = json.loads(
            s3.get_object(Bucket=DATA_BUCKET, Key="reports/index.json")["Body"].read()
        )
        return listed

    def alarms(self) -> dict[str, str]:
        """What the alarms about drift say."""
        found = self.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{PREFIX}-drift-")["MetricAlarms"]
        return {a["AlarmName"].removeprefix(f"{PREFIX}-drift-"): a["StateValue"] for a in found}

    def since(self, alarm: str) -> datetime:
        (found,) = self.client("cloudwatch").describe_alarms(AlarmNames=[f"{PREFIX}-drift-{alarm}"])["MetricAlarms"]
        at: datetime = found["StateUpdatedTimestamp"]
        return at

    def trainings(self) -> list[dict[str, Any]]:
        """Those that drift started."""
        found = self.client("sagemaker").list_pipeline_executions(PipelineName=TRAINING)["PipelineExecutionSummaries"]
        return [e for e in found if e["PipelineExecutionDisplayName"].startswith("drift-")]

    def versions(self) -> dict[int, str]:
        """What was decided of each."""
        return {each["version"]: each["approval"] for each in json.loads(self.scones("model", "list", "--json"))}

    def live(self) -> int:
        version: int = json.loads(self.scones("endpoint", "status", "--json"))["version"]
        return version

    def renew(self) -> int:
        """Approve the version that waits; without one go back to another, which is then watched anew, or train one."""
        versions = self.versions()
        waiting = [number for number, approval in versions.items() if approval == "PendingManualApproval"]
        if waiting:
            self.scones("model", "approve", str(max(waiting)))
        elif len(versions) > 1:
            self.scones("endpoint", "rollback")
        else:
            self.scones("pipeline", "run", "-p", "Seed=1")
            self.scones("model", "approve")
        return self.live()

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what}: {self.alarms()} {self.trainings()} {self.reports()[:3]}"
            time.sleep(0.5)

    def end(self) -> None:
        self.scones("account", "stop")
        for client in self._clients.values():
            client.close()

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SCONES_"))}
        return {
            **kept,
            "SCONES_HOME": str(self.home),
            "SCONES_DATA": str(self.archive),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "COLUMNS": "200",
        }
