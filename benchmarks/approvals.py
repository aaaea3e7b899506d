"""Many people at once: approvals, rejections and deletions of versions, all at the same time and in random order.

    python benchmarks/approvals.py [--rounds 100] [--seed 1] [--words 40] [--spread 4] [--clients 2]

Runs on a laptop. Deploys the local stage into a stand-in account of its own, below a temporary folder. In each round
forty words about some twenty versions, the one that serves among them, are said by as many threads within a few
seconds, so that they meet before, during and after deployments, while clients ask the endpoint without a pause. Once
all is quiet, the endpoint has to serve what the rules say. Prints a line for each round, then one JSON document (also
when it is interrupted); exits with 1 when a request failed, an answer came from no version of ours, or a round ended
otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import TypedDict

from botocore.exceptions import ClientError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.local.conftest import start_account
from tests.local.deployment_stage import ENDPOINT, FUNCTION, Stage
from tests.local.workflow_stage import deploy, photographs
from tests.realdata import cifar_archive

NEW_VERSIONS, OLD_VERSIONS = 12, 8
PATIENCE_S = 300.0
APPROVE, REJECT, DELETE = "approve", "reject", "delete"
SHARES = {APPROVE: 5, REJECT: 3, DELETE: 2}


class Round(TypedDict):
    """What became of one round."""

    number: int
    said: dict[str, int]
    deployments: int
    serves: int
    why: str
    seconds: float
    requests: int
    failed_requests: int


@dataclass
class Crowd:
    """Everybody who has a say, from one seed. ``versions`` are those that the registry may still have."""

    stage: Stage
    chance: random.Random
    words: int
    spread_s: float
    versions: list[str] = field(default_factory=list)
    weights: set[float] = field(default_factory=set)

    def register(self) -> str:
        weight = len(self.weights) + 1
        self.weights.add(weight / 10_000)
        self.versions.append(self.stage.register(f"{weight / 10_000:.4f}"))
        return self.versions[-1]

    def speak(self, number: int) -> Counter[str]:
        """All words of a round, each at a moment of its own; how many of each were taken."""
        for _ in range(NEW_VERSIONS):
            self.register()
        chosen = self.chance.choices(list(SHARES), list(SHARES.values()), k=self.words)
        # Each with a reason of its own, or a second approval of a version would be no new word.
        said = [
            (word, self.chance.choice(self.versions), f"word {n} of round {number} [by tester]")
            for n, word in enumerate(chosen)
        ]
        moments = [self.chance.uniform(0, self.spread_s) for _ in said]
        barrier = Barrier(len(said))

        def say(moment: float, words: tuple[str, str, str]) -> str:
            barrier.wait()
            time.sleep(moment)
            return self.say(*words)

        with ThreadPoolExecutor(len(said)) as pool:
            taken = Counter(pool.map(say, moments, said))
        self.versions = sorted(self._registered())
        return taken

    def tidy(self) -> None:
        """Forget the versions that no longer matter, so that no round is slower than the one before."""
        kept = {*self.wanted()[-OLD_VERSIONS:], self.stage.serves()}
        for package in self.versions:
            if package not in kept:
                self.stage.remove(package)
        self.versions = [package for package in self.versions if package in kept]

    def say(self, word: str, package: str, reason: str) -> str:
        """The word, once it is taken."""
        verbs: dict[str, Callable[[], None]] = {
            APPROVE: lambda: self.stage.approve(package, reason),
            REJECT: lambda: self.stage.reject(package, reason),
            DELETE: lambda: self.stage.remove(package),
        }
        try:
            verbs[word]()
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return "too late"  # somebody deleted it
        return word

    def _registered(self) -> set[str]:
        pages = self.stage.sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=ENDPOINT)
        return {str(package["ModelPackageArn"]) for page in pages for package in page["ModelPackageSummaryList"]}

    def wanted(self) -> list[str]:
        """The approved versions that the registry has, the newest approval last."""
        described = [self.stage.sagemaker.describe_model_package(ModelPackageName=arn) for arn in self.versions]
        approved = [found for found in described if found["ModelApprovalStatus"] == "Approved"]
        approved.sort(key=lambda found: (found["LastModifiedTime"], found["ModelPackageVersion"]))
        return [str(found["ModelPackageArn"]) for found in approved]

    def verdict(self) -> str:
        """By which rule serves what serves; empty when by none."""
        serves, wanted = self.stage.serves(), self.wanted()
        if wanted and serves == wanted[-1]:
            return "newest approval"
        kept = self.stage.records()[-1]
        if not serves or (kept["package_arn"], kept["outcome"]) != (serves, "kept"):
            return ""
        decided = {item["package_arn"]: item for item in self.stage.items("decision")}
        if not wanted:
            return "nothing else is approved"
        later = decided[serves].get("removed_at") and decided[serves]["at"] > decided[wanted[-1]]["at"]
        return "approved later than all others, then deleted" if later else ""

    def round(self, number: int, answers: list[object]) -> Round:
        before, began = len(self.stage.records()), time.perf_counter()
        said = self.speak(number)
        # As the schedule does, because nothing tells of a deletion.
        self.stage.account.client("lambda").invoke(FunctionName=FUNCTION, InvocationType="Event", Payload=b"{}")
        self.stage.until(lambda: self.stage.settled() and self.verdict(), f"round {number}", patience_s=PATIENCE_S)
        serves, why = int(self.stage.serves().rpartition("/")[2]), self.verdict()
        self.tidy()
        return Round(
            number=number,
            said=dict(sorted(said.items())),
            deployments=len(self.stage.records()) - before,
            serves=serves,
            why=why,
            seconds=round(time.perf_counter() - began, 1),
            requests=len(answers),
            failed_requests=sum(isinstance(answer, Exception) for answer in answers),
        )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="rounds (100)")
    parser.add_argument("--seed", type=int, default=1, help="of the words and their order (1)")
    parser.add_argument("--words", type=int, default=40, help="words at the same time (40)")
    parser.add_argument("--spread", type=float, default=4.0, help="seconds in which the words of a round are said (4)")
    parser.add_argument("--clients", type=int, default=2, help="clients that ask meanwhile (2)")
    arguments = parser.parse_args(argv)
    images = photographs(cifar_archive()).passing[:2]
    with tempfile.TemporaryDirectory() as folder:
        account = start_account(Path(folder) / "home" / "account")
        try:
            deploy(account)
            chance = random.Random(arguments.seed)  # noqa: S311  # not a secret
            crowd = Crowd(Stage(account, images), chance, arguments.words, arguments.spread)
            failed = measure(crowd, arguments.rounds, arguments.clients)
        finally:
            account.stop()
    return 1 if failed else 0


def measure(crowd: Crowd, rounds: int, clients: int) -> bool:
    """Print each round and what came of all; whether anything failed."""
    first = crowd.register()
    crowd.stage.approve(first)
    crowd.stage.until_outcome(first, "deployed")
    ended: list[Round] = []
    with crowd.stage.traffic(clients) as answers, suppress(KeyboardInterrupt):
        for number in range(1, rounds + 1):
            ended.append(crowd.round(number, answers))
            print(json.dumps(ended[-1]), flush=True)
    failures = [str(answer) for answer in answers if isinstance(answer, Exception)]
    strange = {answer for answer in answers if not isinstance(answer, Exception)} - crowd.weights
    seconds = sorted(found["seconds"] for found in ended)
    document = {
        "rounds": len(ended),
        "words_per_round": crowd.words,
        "words_taken": sum((Counter(found["said"]) for found in ended), Counter[str]()),
        "deployments": sum(found["deployments"] for found in ended),
        "ended_by": Counter(found["why"] for found in ended),
        "outcomes": Counter(str(record["outcome"]) for record in crowd.stage.records()),
        "requests": len(answers),
        "failed_requests": len(failures),
        "first_failures": failures[:3],
        "answers_of_no_version": sorted(strange),
        "left_over": [sorted(names) for names in crowd.stage.left_over()],
        "seconds_per_round": {"median": seconds[len(seconds) // 2], "longest": seconds[-1]},
    }
    print(json.dumps(document, indent=2))
    return bool(failures or strange)


if __name__ == "__main__":
    sys.exit(main())
