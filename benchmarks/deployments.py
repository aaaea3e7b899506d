"""Continuous traffic while versions come and go: how many requests fail (none may), and how long a change takes.

    python benchmarks/deployments.py [--changes 20] [--clients 4] [--canary]

Runs on a laptop. Deploys the local stage into a stand-in account of its own, below a temporary folder, and takes turns
of approvals and rollbacks of small models while clients ask the endpoint without a pause. Prints one JSON document;
exits with 1 when a request failed or an answer came from no version that was approved.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.local.conftest import start_account
from tests.local.deployment_stage import Stage
from tests.local.workflow_stage import deploy, photographs
from tests.realdata import cifar_archive

ENOUGH_INSTANCES = 2  # for a canary


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=20, help="updates and rollbacks (20)")
    parser.add_argument("--clients", type=int, default=4, help="clients that ask at the same time (4)")
    parser.add_argument("--canary", action="store_true", help="two instances, of which one is the canary")
    arguments = parser.parse_args(argv)
    images = photographs(cifar_archive()).passing[:2]
    with tempfile.TemporaryDirectory() as folder:
        account = start_account(Path(folder) / "home" / "account")
        try:
            deploy(account)
            found = measure(Stage(account, images), arguments.changes, arguments.clients, canary=arguments.canary)
        finally:
            account.stop()
    print(json.dumps(found, indent=2))
    return 1 if found["failed_requests"] or found["answers_of_no_version"] else 0


def measure(stage: Stage, changes: int, clients: int, *, canary: bool) -> dict[str, Any]:
    """Two changes out of three are approvals; each third takes the version that serves back by rejecting it."""
    if canary:
        stage.set_endpoint(initial_instance_count=ENOUGH_INSTANCES)
    approved = [stage.register("0.001")]
    stage.approve(approved[0])
    stage.until_outcome(approved[0], "deployed")
    weights, seconds = {0.001}, []
    with stage.traffic(clients) as answers:
        for number in range(1, changes + 1):
            began = time.perf_counter()
            if number % 3 == 0:
                stage.reject(approved.pop())
                stage.until_serves(approved[-1])
            else:
                weights.add(number / 100)
                approved.append(stage.register(str(number / 100)))
                stage.approve(approved[-1])
                stage.until_outcome(approved[-1], "deployed")
            seconds.append(time.perf_counter() - began)
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    counted = Counter(answer for answer in answers if not isinstance(answer, Exception))
    return {
        "changes": changes,
        "rollbacks": changes // 3,
        "clients": clients,
        "canary": canary,
        "requests": len(answers),
        "failed_requests": len(failed),
        "first_failures": [str(error) for error in failed[:3]],
        "answers_of_no_version": sum(count for answer, count in counted.items() if answer not in weights),
        "versions_that_answered": len(counted),
        "records": Counter(record["outcome"] for record in stage.records()),
        "left_over": [sorted(names) for names in stage.left_over()],
        "seconds_per_change": {"median": sorted(seconds)[len(seconds) // 2], "longest": max(seconds)},
    }


if __name__ == "__main__":
    sys.exit(main())
