"""What a verb imports: its own code, and no other verb's; and that the list of verbs says what the verbs say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scones.cli import VERBS
from scones.lazy_verbs import whole_group

SDKS = {"sagemaker", "stepfunctions", "moto", "torch", "matplotlib", "pandas", "scipy", "onnxruntime"}
CLIENTS = {"boto3", "botocore"}
PAGES = {"jinja2", "starlette", "uvicorn", "PIL"}
SCRIPT = """
import json, sys
from scones.cli import main
sys.argv = ["scones", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit:
    pass
finally:
    with open(__OUT__, "w") as out:
        json.dump(sorted({name.partition(".")[0] for name in sys.modules} | set(sys.modules)), out)
"""


def imported(folder: Path, *arguments: str, port: int = 9) -> set[str]:
    """The modules that a process has imported when the verb is done."""
    out = folder / "modules.json"
    script = SCRIPT.replace("__OUT__", repr(str(out)))
    settings = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "SCONES_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", script, json.dumps(arguments)]
    subprocess.run(command, env=settings, capture_output=True, check=False, timeout=120)
    return set(json.loads(out.read_text(encoding="ascii")))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["modle"]])
def test_the_list_of_verbs_imports_none_of_them(tmp_path: Path, arguments: list[str]) -> None:
    found = imported(tmp_path, *arguments)
    assert not found & (SDKS | CLIENTS | PAGES | {"infrastructure", "local_account", "msgspec"})
    assert not [name for name in found if name.startswith("scones.commands")]


@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        (["account", "status"], "scones.commands.account"),
        (["model", "list"], "scones.commands.model"),
        (["threshold", "show"], "scones.commands.threshold"),
        (["endpoint", "status"], "scones.commands.endpoint"),
        (["pipeline", "status"], "scones.commands.pipeline"),
        (["review", "list"], "scones.commands.review"),
        (["classify", "--help"], "scones.commands.classify"),
    ],
)
def test_a_verb_pays_for_no_other(tmp_path: Path, arguments: list[str], own: str) -> None:
    found = imported(tmp_path, *arguments)
    assert own in found
    assert not found & (SDKS | PAGES)
    others = {verb.place.partition(":")[0] for verb in VERBS.values()} - {own}
    assert not found & (others - {"scones.commands.data", "scones.commands.batch"})  # whose options some share


def test_the_list_says_what_each_verb_says_of_itself() -> None:
    for name, command in whole_group(VERBS).commands.items():
        assert " ".join((command.help or "").split()).startswith(VERBS[name].help.rstrip(".")), name
