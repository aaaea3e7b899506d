"""The inference workflow's definition: built offline, the right order, and what is retried and what is not."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.definitions import check_sample

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def text() -> str:
    from inference_workflow import workflow  # the SDK takes seconds to import

    return workflow.definition()


@pytest.fixture(scope="module")
def states(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)["States"]
    return found


def test_building_it_makes_no_connection(tmp_path: Path) -> None:
    code = """
import socket
def refuse(self, address): raise SystemExit(f"connects to {address}")
socket.socket.connect = refuse
from inference_workflow import workflow
assert workflow.definition() == workflow.definition()
"""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr


def test_the_functions_follow_each_other(text: str, states: dict[str, Any]) -> None:
    assert json.loads(text)["StartAt"] == "SerializeImage"
    assert states["SerializeImage"]["Next"] == "ClassifyImage"
    assert states["ClassifyImage"]["Next"] == "FilterInferences"
    assert states["FilterInferences"]["End"] is True
    for name in ("SerializeImage", "ClassifyImage", "FilterInferences"):
        assert states[name]["Resource"] == "arn:aws:states:::lambda:invoke"
        assert states[name]["Parameters"]["FunctionName"] == f"${{{name}Arn}}"
        assert states[name]["OutputPath"] == "$.Payload"


def test_every_placeholder_is_filled_by_the_stack(text: str) -> None:
    template = (ROOT / "infrastructure/templates/stack.yaml").read_text(encoding="utf-8")
    substitutions = template.partition("DefinitionSubstitutions:")[2]
    for placeholder in set(re.findall(r"\$\{(\w+)\}", text)):
        assert f"        {placeholder}: !GetAtt" in substitutions, placeholder


def test_only_what_may_pass_is_retried(states: dict[str, Any]) -> None:
    service = {
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
    }
    retried = {
        name: {error for retry in state.get("Retry", []) for error in retry["ErrorEquals"]}
        for name, state in states.items()
    }
    assert retried == {
        "SerializeImage": service,
        "ClassifyImage": service | {"ModelTemporarilyUnavailable"},
        "FilterInferences": service,
        "ReadVerdict": set(),
        "ConfidenceTooLow": set(),
    }
    assert all(retry["BackoffRate"] > 1 for state in states.values() for retry in state.get("Retry", []))


def test_low_confidence_ends_in_a_failure_of_that_name(states: dict[str, Any]) -> None:
    (catch,) = states["FilterInferences"]["Catch"]
    assert catch["ErrorEquals"] == ["THRESHOLD_CONFIDENCE_NOT_MET"]
    assert states[catch["Next"]]["Next"] == "ConfidenceTooLow"
    assert states["ConfidenceTooLow"] == {
        "Type": "Fail",
        "Error": "THRESHOLD_CONFIDENCE_NOT_MET",
        "CausePath": "$.exception.errorMessage",
    }


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        ("filter_inferences", "THRESHOLD_CONFIDENCE_NOT_MET"),
        ("classify_image", "ModelTemporarilyUnavailable"),
    ],
)
def test_the_errors_it_routes_are_classes_of_the_functions(text: str, handler: str, error: str) -> None:
    tree = ast.parse((ROOT / "lambdas" / f"{handler}.py").read_text(encoding="utf-8"))
    assert error in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert error in text


def test_the_endpoint_gets_the_executions_name(states: dict[str, Any]) -> None:
    assert states["ClassifyImage"]["Parameters"]["Payload"] == {
        "body.$": "$",
        "inference_id.$": "$$.Execution.Name",
    }


def test_every_state_has_a_time_limit_above_its_functions(text: str, states: dict[str, Any]) -> None:
    template = (ROOT / "infrastructure/templates/stack.yaml").read_text(encoding="utf-8")
    longest = max(int(seconds) for seconds in re.findall(r"^ +Timeout: (\d+)$", template, re.MULTILINE))
    tasks = [state for state in states.values() if state["Type"] == "Task"]
    assert all(longest < task["TimeoutSeconds"] for task in tasks)
    assert json.loads(text)["TimeoutSeconds"] > longest


def test_the_definition_is_the_sample(text: str) -> None:
    check_sample("inference_workflow.asl.json", text)
