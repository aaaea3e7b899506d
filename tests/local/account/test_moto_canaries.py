"""What is ours in moto: the lists in the docs are the account's own, and an upgrade of moto ends its start by name."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT

LISTS = ROOT / "docs" / "upstream" / "README.md"
PARSER = "moto.stepfunctions.parser"


def printed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the account says of itself, in a process of its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_docs_list_what_is_ours_in_moto() -> None:
    answer = printed("-m", "local_account.server.replaced")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("\n") > 20
    assert answer.stdout in LISTS.read_text(encoding="utf-8"), (
        "run: python -m local_account.server.replaced --write docs/upstream/README.md"
    )


def test_every_patch_that_is_named_is_there_and_names_a_file_of_moto() -> None:
    named = {line.split("](")[1].split(")")[0] for line in LISTS.read_text().splitlines() if line.endswith(".md) |")}
    patches = {path.name for path in LISTS.parent.glob("[0-9]*.md")}
    assert named
    assert named <= patches
    moto = Path(str(importlib.import_module("moto").__file__)).parent.parent
    for name in patches:
        files = [line[6:] for line in (LISTS.parent / name).read_text().splitlines() if line.startswith("--- a/")]
        assert files, name
        assert [file for file in files if not (moto / file).is_file()] == []


OTHER_MOTOS = {
    "a replaced name is gone": (
        f"import {PARSER}.utils as utils; del utils.TMP_THREADS",
        f"moto no longer has {PARSER}.utils.TMP_THREADS, which is replaced here because it keeps every thread",
    ),
    "a replaced function takes something else": (
        f"import {PARSER}.asl.utils.json_path as paths; paths.parse = lambda path, data: None",
        f"{PARSER}.asl.utils.json_path.parse takes path, data in this moto, and what replaces it path, debug",
    ),
    "a module took the name before": (
        f"import {PARSER}.asl.component.state.exec.state_task.service.state_task_service_sqs",
        f"{PARSER}.asl.utils.boto_client.boto_client_for was imported by {PARSER}.asl.component.state.exec.state_task",
    ),
    "an overridden method is gone": (
        f"from {PARSER}.asl.eval.states import States; del States._extract",
        f"moto no longer has {PARSER}.asl.eval.states.States._extract, which StatesData overrides",
    ),
    "an overridden method takes something else": (
        f"from {PARSER}.asl.eval.states import States; States.reset = lambda self, value, more: None",
        f"{PARSER}.asl.eval.states.States.reset takes self, value, more in this moto, and what replaces it self",
    ),
    "a backend's method takes something else": (
        "from moto.awslambda.models import LambdaBackend; LambdaBackend.delete_function = lambda self, name: None",
        "moto.awslambda.models.LambdaBackend.delete_function takes self, name in this moto, and what replaces it self",
    ),
    "a property has become a method": (
        "from moto.sqs.models import Queue; Queue.messages = lambda self: []",
        "moto.sqs.models.Queue.messages is no property in this moto",
    ),
}


@pytest.mark.parametrize("change", OTHER_MOTOS)
def test_another_moto_ends_the_start_by_name(change: str, tmp_path: Path) -> None:
    moto, message = OTHER_MOTOS[change]
    start = f"{moto}\nfrom local_account.server.main import main\nmain(['--port', '0', '--state', {str(tmp_path)!r}])"
    answer = printed("-c", start)
    assert answer.returncode == 1
    assert answer.stderr.strip().splitlines()[-1].startswith(f"local_account: {message}")


PRESENT = [("moto.core.config", "default_user_config")]


def find(module: str, path: str) -> Any:
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("module", "name"), PRESENT)
def test_moto_still_has_what_we_set(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_a_function_still_holds_what_workers_are_made_of() -> None:
    source = inspect.getsource(find("moto.awslambda.models", "LambdaFunction"))
    used = ("code_bytes", "code_digest", "environment_vars", "event_invoke_config", "function_arn", "function_name")
    used += (
        "handler",
        "layers",
        "memory_size",
        "package_type",
        "reserved_concurrency",
        "run_time",
        "timeout",
        "version",
    )
    assert [name for name in used if f"self.{name}" not in source] == []


def test_functions_are_still_stored_as_we_save_them() -> None:
    storage = find("moto.awslambda.models", "LambdaStorage")("us-east-1", "123456789012")
    assert {"_functions", "_arns", "_aliases"} <= vars(storage).keys()
    assert "_arns" in vars(find("moto.awslambda.models", "LayerStorage")())


def test_an_execution_still_holds_what_we_set() -> None:
    source = inspect.getsource(find("moto.stepfunctions.parser.backend.execution", "Execution"))
    used = ("cause", "error", "exec_status", "exec_worker", "output", "start_date", "state_machine", "stop_date")
    used += ("input_data", "input_details", "output_details", "_activity_store", "execution_input", "sm_type")
    assert [name for name in (*used, "_cloud_watch_logging_session") if f"self.{name}" not in source] == []


def test_the_interpreter_keeps_nothing_in_a_parsed_definition() -> None:
    """Executions share the parsed definition; a state that stored something in itself would leak between them."""
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

    definition = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'
    program = AmazonStateLanguageParser.parse(definition)[0]
    assert vars(program).keys() == {"query_language", "start_at", "states", "timeout_seconds", "comment", "version"}


def test_the_docs_list_what_is_implemented() -> None:
    answer = printed("-m", "local_account.server.catalogue")
    assert answer.returncode == 0, answer.stderr
    pages = [(ROOT / "docs" / f"{name}.md").read_text() for name in ("local_account", "operations", "members")]
    lists, mark, members = answer.stdout.partition("# Members of requests")
    services, types, operations = lists.split("\n\n", 2)
    for part, page in ((services, pages[0]), (types, pages[0]), (operations, pages[1]), (mark + members, pages[2])):
        assert part.strip() and part.strip() in page, (
            "run: python -m local_account.server.catalogue --write docs/local_account.md"
        )
