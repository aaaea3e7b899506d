"""Every command of the README and of docs/, in orders in which each has something to work on.

One command a line, as documented but without ``--stage``: the stages on AWS take the same ones and are not here. Behind
`->` stands what a command says that is expected to refuse, since the page names the verb alone or another situation.
"""

from __future__ import annotations

# What is not run here, and why.
ELSEWHERE = {
    "scones demo": "the whole loop, on a stand-in account of its own: test_loop.py",
    "scones demo --sample": "the same with drawn vehicles",
    "scones account start --images FOLDER": "unpacked container images of one's own: tests/local/sagemaker",
    "scones monitor transform JOB": "a batch transform job of one's own: test_monitoring_stage.py",
    "scones mlflow": "a server of an extra's: test_experiments.py",
    "scones mlflow --open": "the same",
    "scones pipeline run -p TrackingUri=http://127.0.0.1:5000": "reports to such a server: test_experiments.py",
    "scones delivery start": "builds and tests a checkout for minutes: test_delivery.py, with a small project",
    "scones delivery start --tests tests/unit": "the same",
    "scones delivery start --wait-for-training": "the same",
}
# Options that a person would not give: without them a training takes a minute, a simulated day many, and removal asks.
_QUICK = "--recipe scratch -p Epochs=3 -p AccuracyGate=0.01"
ADDED = {
    "scones pipeline run": _QUICK,
    "scones pipeline run --algorithm built-in": "-p Epochs=1 -p AccuracyGate=0.01 -p ChampionSignificance=0",
    "scones pipeline run -p Classes=bicycle,tank": f"--data ~/vehicles {_QUICK}",
    "scones pipeline run --data ~/flowers": _QUICK,
    "scones pipeline run --data s3://BUCKET/PREFIX": _QUICK,
    "scones cost --images N --filter-instances F --training-instances T": (
        "--images 100000 --filter-instances 2 --training-instances 2"
    ),
    "scones account reset": "--yes",
    "scones destroy": "--yes",
    "scones delivery destroy": "--yes",
    "scones delivery deploy": "--yes",
    "scones endpoint delete": "--yes",
    "scones monitor simulate": "--for 1h --per-hour 60",  # a baseline from traffic takes 100 predictions in all
    "scones monitor simulate --for 2d --per-hour 20 --daily": "--for 2h",
    "scones monitor simulate --for 1d --per-hour 30 --corrupt noisy": "--for 1h",
    "scones monitor backfill": "--since 2h --every 1h",
    "scones monitor backfill --since 7d --every 1h": "--since 2h",  # holds a whole hour at any time
    "scones classify photo.png": "--on-low-confidence review",
    "scones classify photo.jpg": "--on-low-confidence review",
}
SERVERS = ("scones console",)
"""Commands that go on until they are stopped."""

SCRIPTS = {
    "loop": """
scones account start --clock now
scones account status
scones account env
scones account clock
scones account clock --advance 1h
scones build
scones cost
scones cost --images N --filter-instances F --training-instances T
scones data fetch
scones data show
scones data show --data ~/flowers
scones deploy --plan
scones deploy
scones workflow definition
scones workflow definition --all --out DIR
scones workflow show
scones pipeline run
scones pipeline definition
scones pipeline status
scones pipeline logs -> Missing argument
scones pipeline logs TrainModel
scones model list
scones model show
scones model show --page page.html
scones model show 1 --page evaluation.html
scones model approve 1 --reason "0.95 on the test images; no class below 0.93"
scones status
scones endpoint status
scones endpoint history
scones classify photo.png
scones classify photo.jpg
scones classify -> Missing argument
scones test-cases
scones test-cases -n 20
scones batch ./photos
scones batch -> expected one of: an S3 prefix or a folder
scones threshold -> Usage: scones threshold
scones threshold show
scones threshold set -> Missing option '--reason'
scones threshold set 0.9 --reason "..."
scones monitor simulate
scones monitor simulate --for 2d --per-hour 20 --daily
scones monitor simulate --for 1d --per-hour 30 --corrupt noisy
scones monitor schedule
scones monitor schedule --every 6h
scones monitor schedule --every 12h
scones monitor baseline
scones monitor baseline --from-traffic 7d
scones monitor report
scones monitor report --since 1h
scones monitor report --since 24h
scones monitor backfill
scones monitor backfill --since 7d --every 1h
scones monitor list
scones monitor query "..." -> error:
scones monitor query "SELECT ..." -> error:
scones monitor collect
scones monitor collect --since 30d --instances 4
scones review list
scones review label
scones review export -> Missing option
scones account stop
""",
    "versions": """
scones account start --clock now
scones deploy
scones pipeline run
scones pipeline run
scones pipeline run
scones pipeline run
scones model approve 1 --reason "0.95 on the test images; no class below 0.93"
scones model approve 2
scones model approve 3 --reason "fewer false alarms"
scones model approve 4 --shadow
scones endpoint shadow
scones endpoint shadow --page FILE
scones endpoint shadow --promote
scones endpoint rollback --to 2
scones endpoint rollback
scones endpoint deploy -> serves already
scones endpoint deploy 3
scones model reject 3 --reason "confuses tandems"
scones model approve
scones model reject
scones console
scones console --open
scones console --read-only
scones endpoint delete
scones account stop
""",
    "pictures": """
scones account start
scones deploy
scones pipeline run -p Classes=bicycle,tank
scones pipeline run --data ~/flowers
scones data show --data s3://BUCKET/PREFIX
scones pipeline run --data s3://BUCKET/PREFIX
scones pipeline run --algorithm built-in
scones delivery deploy
scones delivery status -> The specified key does not exist
scones delivery logs -> has no such build
scones delivery logs Build -> has no such build
scones delivery approve -> waits for no approval
scones delivery approve --reason "..." -> waits for no approval
scones delivery approve --reason "looks right" -> waits for no approval
scones delivery destroy
scones destroy
scones account reset
scones account start
scones account stop
scones account start --chaos duplicates
scones account stop
scones account start --durable
scones account stop
""",
}
"""Each on an account of its own: the loop with its monitoring; versions and the console; pictures and delivery."""


def script() -> list[tuple[str, str, str]]:
    """Every command in order, with its script before it and behind it the words of its refusal, if it is to refuse."""
    found = []
    for name, lines in SCRIPTS.items():
        parts = (line.partition(" -> ") for line in lines.strip().splitlines())
        found += [(name, command, refusal) for command, _, refusal in parts]
    return found
