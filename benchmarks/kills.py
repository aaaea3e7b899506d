"""What kills cost the stand-in account: ``python benchmarks/kills.py --kills 50``.

Runs on a laptop, on an account of its own in a temporary folder, for about ten seconds a kill. First the server is
killed (SIGKILL) under load at random moments of a seed and started again; then workers of functions, model servers and
jobs are, while executions, invocations and jobs go on. Prints the resets that were needed, the objects that were
damaged, what was lost and how old it was when the server died, and how what was hit ended. Exit code 1 when a reset was
needed, an object was damaged, something older than the stated bound was lost, or an end was not said.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from local_account.base.errors import AccountError
from local_account.server import control

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.killing.load import (  # the path above comes first
    AcknowledgedWrite,
    KillTally,
    WriteLoad,
    check,
    prepare,
)
from benchmarks.killing.targets import CHILDREN, Targets, children  # the path above comes first
from benchmarks.loop import free_port  # the path above comes first

LOAD_S = (1.0, 6.0)  # between the start and the kill
SAMPLE = 500  # of what earlier rounds wrote, looked at after each kill; the last looks at everything


def kill_the_account(state: Path, kills: int, seed: int, tally: KillTally, *, durable: bool) -> None:
    """Kill the server under load, start it again, and look at what it has acknowledged."""
    moments, port = random.Random(seed), free_port()  # noqa: S311  # as above
    kept: list[AcknowledgedWrite] = []
    running = start(state, port, durable=durable)
    prepare(running.endpoint_url)
    for number in range(kills):
        load = WriteLoad(running.endpoint_url, moments.randrange(2**32))
        load.begin(number)
        time.sleep(moments.uniform(*LOAD_S))
        seen = control.status(state)
        tally.stated.append(seen.loss_s if seen else 0.0)
        killed_at = time.time()
        os.kill(running.pid, signal.SIGKILL)
        load.end()
        tally.kills += 1
        # What was answered while the signal was on its way counts as answered at the kill.
        tally.acknowledged += len(load.written)
        try:
            running = start(state, port, durable=durable)
        except AccountError as error:
            print(f"a reset is needed: {error}", file=sys.stderr)
            tally.resets += 1
            control.reset(state)
            running, kept = start(state, port, durable=durable), []
            prepare(running.endpoint_url)
            continue
        lost = len(tally.lost)
        if number + 1 < kills:
            known = moments.sample(kept, min(SAMPLE, len(kept)))
            kept += check(running.endpoint_url, load.written, killed_at, tally)
            check(running.endpoint_url, known, killed_at, tally)
        else:
            check(running.endpoint_url, kept + load.written, killed_at, tally)
        tally.late += sum(age > tally.stated[-1] for age in tally.lost[lost:])
        print(f"kill {number + 1}: {len(load.written)} acknowledged, {len(tally.lost) - lost} lost", file=sys.stderr)
    control.stop(state)


def start(state: Path, port: int, *, durable: bool = False) -> control.Status:
    running = control.start(state, port, durable=durable)
    os.environ.update(control.environment(state, port))
    return running


def kill_the_children(state: Path, kills: int, seed: int, tally: KillTally) -> None:
    """Kill workers, model servers and jobs in turn, at random moments, while their work goes on."""
    moments = random.Random(seed)  # noqa: S311  # as above
    running = start(state, free_port())
    targets = Targets(running.endpoint_url, tally)
    server = psutil.Process(running.pid)
    with targets.going_on():
        while sum(tally.hit.values()) < kills:
            kind = list(CHILDREN)[sum(tally.hit.values()) % len(CHILDREN)]
            time.sleep(moments.uniform(0.2, 1.5))
            for victim in children(server, CHILDREN[kind])[:1]:
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
                    tally.hit[kind] += 1
    control.stop(state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of the account, and as many of its processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durable", action="store_true", help="with `scones account start --durable`")
    arguments = parser.parse_args()
    tally = KillTally()
    with tempfile.TemporaryDirectory(prefix="scones-kills-") as folder:
        state = Path(folder) / "account"
        kill_the_account(state, arguments.kills, arguments.seed, tally, durable=arguments.durable)
        kill_the_children(state, arguments.kills, arguments.seed, tally)
    print(tally.report())
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
