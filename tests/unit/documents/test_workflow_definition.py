"""The workflows' definitions: built offline, valid, the right order, and what is retried and what is not."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infrastructure.template import stage_template
from tests.places import ROOT
from tests.unit.asl_rules import problems
from tests.unit.definitions import check_sample

FUNCTIONS = {
    "SerializeImage": "serialize_image",
    "ClassifyImage": "classify_image",
    "FilterInferences": "filter_inferences",
}
LANGUAGES = ("JSONPath", "JSONata")
SERVICE = {
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}


@pytest.fixture(scope="module")
def texts() -> dict[tuple[str, str], str]:
    """Language and name -> definition."""
    from inference_workflow.definitions import definitions  # the SDK takes seconds to import

    return {(lang, name): text for lang in LANGUAGES for name, text in definitions(lang).items()}


@pytest.fixture(params=LANGUAGES)
def states(texts: dict[tuple[str, str], str], request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(texts[request.param, "inference-workflow"])["States"]
    return found


def test_building_them_makes_no_connection(tmp_path: Path) -> None:
    code = """
import socket
def refuse(self, address): raise SystemExit(f"connects to {address}")
socket.socket.connect = refuse
from inference_workflow.definitions import definitions
assert definitions() == definitions()
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


def test_they_keep_the_languages_rules_and_are_the_samples(texts: dict[tuple[str, str], str]) -> None:
    for (language, name), text in texts.items():
        assert problems(text, express=name == "inference-express") == [], (language, name)
        if (language, name) != ("JSONata", "batch-workflow"):
            ending = "" if language == "JSONPath" else ".jsonata"
            check_sample(f"{name.replace('-', '_')}{ending}.asl.json", text)
    assert texts["JSONPath", "batch-workflow"] == texts["JSONata", "batch-workflow"]


def test_the_rules_find_what_is_wrong(texts: dict[tuple[str, str], str]) -> None:
    text = texts["JSONPath", "inference-workflow"]
    for right, wrong, problem in (
        ('"Next": "FilterInferences"', '"Next": "Filter"', "Filter is no state"),
        ('"States.ALL"', '"States.ALL", "X"', "States.ALL stands alone"),
        ('"End": true', '"Ende": true', "needs one of Next and End"),
        ('"JitterStrategy": "FULL"', '"JitterStrategy": "Full"', "unknown JitterStrategy"),
        ('"Payload.$": "$"', '"Payload": "{% $ %}"', ""),
    ):
        assert any(problem in found for found in problems(text.replace(right, wrong))) or not problem


def test_the_functions_follow_each_other(texts: dict[tuple[str, str], str], states: dict[str, Any]) -> None:
    assert json.loads(texts["JSONPath", "inference-workflow"])["StartAt"] == "SerializeImage"
    assert states["SerializeImage"]["Next"] == "ClassifyImage"
    assert states["ClassifyImage"]["Next"] == "FilterInferences"
    assert states["FilterInferences"]["End"] is True
    for name in FUNCTIONS:
        assert states[name]["Resource"] == "arn:aws:states:::lambda:invoke"
        given = states[name].get("Parameters") or states[name]["Arguments"]
        assert given["FunctionName"] == f"${{{name}Arn}}"


def test_every_placeholder_is_filled_by_the_stack(texts: dict[tuple[str, str], str]) -> None:
    template = stage_template()
    for (_, name), text in texts.items():
        machine = {"inference-workflow": "Workflow", "inference-express": "ExpressWorkflow"}.get(name, "BatchWorkflow")
        resource = template.partition(f"\n  {machine}:\n")[2].partition("\n\n")[0]
        for placeholder in set(re.findall(r"\$\{(\w+)\}", text)):
            assert f"        {placeholder}: !" in resource, (name, placeholder)


def test_only_what_is_transient_is_retried(states: dict[str, Any]) -> None:
    retried = {
        name: {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
        for name, state in states.items()
        if "Retry" in state
    }
    assert retried == {
        "SerializeImage": SERVICE,
        "ClassifyImage": SERVICE | {"ModelTemporarilyUnavailable"},
        "FilterInferences": SERVICE | {"ThresholdUnavailable"},
        "SendToReview": {"States.ALL"},
    }
    for retry in (retry for state in states.values() for retry in state.get("Retry", [])):
        assert retry["BackoffRate"] > 1
        assert retry["MaxDelaySeconds"] <= 20
        assert retry["JitterStrategy"] == "FULL"


def test_low_confidence_is_queued_and_then_ends_as_the_stage_wants(states: dict[str, Any]) -> None:
    (catch,) = [c for c in states["FilterInferences"]["Catch"] if c["ErrorEquals"] == ["THRESHOLD_CONFIDENCE_NOT_MET"]]
    way = [catch["Next"]]
    while "Next" in states[way[-1]]:
        way.append(states[way[-1]]["Next"])
    assert way[-2:] == ["SendToReview", "OnLowConfidence"]
    assert states["OnLowConfidence"]["Default"] == "ConfidenceTooLow"
    assert {rule["Next"] for rule in states["OnLowConfidence"]["Choices"]} == {"ConfidenceTooLow", "NeedsReview"}
    assert states["ConfidenceTooLow"]["Error"] == "THRESHOLD_CONFIDENCE_NOT_MET"
    assert states["NeedsReview"]["End"] is True


@pytest.mark.parametrize("choice", ["fail", "review"])
def test_the_stage_chooses_what_becomes_of_low_confidence(choice: str) -> None:
    from inference_workflow.definitions import definitions

    states = json.loads(definitions("JSONata", choice)["inference-express"])["States"]
    assert states["OnLowConfidence"]["Default"] == {"fail": "ConfidenceTooLow", "review": "NeedsReview"}[choice]


def test_every_error_that_a_function_names_ends_in_a_failure_of_that_name(states: dict[str, Any]) -> None:
    for name, handler in FUNCTIONS.items():
        caught = {error for catch in states[name]["Catch"] for error in catch["ErrorEquals"]}
        assert caught >= raised_by(handler), name
        for catch in states[name]["Catch"]:
            (error, *_) = catch["ErrorEquals"]
            if states[catch["Next"]]["Type"] == "Fail" and not error.startswith("States."):
                assert states[catch["Next"]]["Error"] == error == catch["Next"]


def raised_by(handler: str) -> set[str]:
    """The faults that the function's file and the modules it takes from `lambdas.inference` raise."""
    faults, raised = set(), set()
    text = (ROOT / "lambdas" / f"{handler}.py").read_text(encoding="utf-8")
    modules = set(re.findall(r"from lambdas\.inference\.(\w+) import", text))
    paths = [ROOT / "lambdas" / f"{handler}.py", *(ROOT / "lambdas/inference" / f"{name}.py" for name in modules)]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "WorkflowFault" in {getattr(b, "id", "") for b in node.bases}:
                faults.add(node.name)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                raised.add(node.func.id)
    # The first function says InvalidInput for what the others call InvalidBody.
    return (faults & raised) - ({"InvalidBody"} if handler == "serialize_image" else set())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_endpoint_gets_the_executions_name(texts: dict[tuple[str, str], str], language: str) -> None:
    state = json.loads(texts[language, "inference-workflow"])["States"]["ClassifyImage"]
    payload = (state.get("Parameters") or state["Arguments"])["Payload"]
    assert payload in (
        {"body.$": "$", "execution.$": "$$.Execution.Name"},
        {"body": "{% $states.input %}", "execution": "{% $states.context.Execution.Name %}"},
    )


def test_every_state_has_a_time_limit_above_its_function(texts: dict[tuple[str, str], str]) -> None:
    template = stage_template()
    limits = dict(re.findall(r"FunctionName: !Ref (\w+)Name\n(?:      .*\n)*?      Timeout: (\d+)\n", template))
    assert len(limits) >= 6
    for text in texts.values():
        document = json.dumps(json.loads(text))
        tasks = re.findall(r'"\$\{(\w+)Arn\}".*?"TimeoutSeconds": (\d+)', document)
        assert tasks
        for name, seconds in tasks:
            assert int(limits[name]) < int(seconds), name


def test_no_attempt_of_a_function_is_cut_off_by_the_workflow(texts: dict[tuple[str, str], str]) -> None:
    machine = json.loads(texts["JSONPath", "inference-workflow"])
    longest = 0
    for state in machine["States"].values():
        attempts = max([retry["MaxAttempts"] for retry in state.get("Retry", [])], default=0)
        pauses = max([retry["MaxAttempts"] * retry["MaxDelaySeconds"] for retry in state.get("Retry", [])], default=0)
        longest += state.get("TimeoutSeconds", 0) * (1 + attempts) + pauses
    assert longest <= machine["TimeoutSeconds"]
    assert json.loads(texts["JSONPath", "inference-express"])["TimeoutSeconds"] < 300


def test_every_source_of_a_batch_is_read_the_same_way(texts: dict[tuple[str, str], str]) -> None:
    states = json.loads(texts["JSONPath", "batch-workflow"])["States"]
    maps = [state for state in states.values() if state["Type"] == "Map"]
    kinds = [state["ItemReader"].get("ReaderConfig", {}).get("InputType", "objects") for state in maps]
    assert kinds == ["objects", "CSV", "JSON", "JSONL"]
    for state in maps:
        assert state["MaxConcurrencyPath"] == "$.settings.max_concurrency"
        assert state["ToleratedFailurePercentagePath"] == "$.settings.tolerated_failure_percentage"
        assert state["ItemBatcher"]["MaxItemsPerBatchPath"] == "$.settings.batch_size"
        assert state["Next"] == "SummarizeBatch"


def test_the_pictures_in_the_docs_show_these_definitions(texts: dict[tuple[str, str], str]) -> None:
    from inference_workflow.picture import draw

    page = (ROOT / "docs" / "workflow.md").read_text(encoding="utf-8")
    for (language, name), text in texts.items():
        picture = draw(text)
        states = json.loads(text)["States"]
        boxes = set(re.findall(r'^    (\w+)\["<b>', picture, re.MULTILINE))
        assert boxes == {key for key, state in states.items() if state["Type"] != "Fail"}
        assert all(key in picture for key in states)
        if language == "JSONPath" and name != "inference-express":
            assert f"```mermaid\n{picture}```" in page, "docs/workflow.md is out of date: scones workflow show"


def test_a_machine_of_another_kind_is_drawn_as_well() -> None:
    """A way back, an error's way, two ways out of a choice, and text that Mermaid would take for its own."""
    from inference_workflow.picture import draw

    states = {
        "Look": {"Type": "Choice", "Default": "Wait", "Choices": [
            {"Variable": "$.done", "BooleanEquals": True, "Next": "Done"},
            {"Variable": "$.kind", "StringEquals": 'a "<b>" #1', "Next": "Work"},
        ]},
        "Work": {"Type": "Pass", "Next": "Wait", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Done"}]},
        "Wait": {"Type": "Wait", "Seconds": 3, "Next": "Check"},
        "Check": {"Type": "Pass", "Next": "Look"},
        "Done": {"Type": "Succeed"},
    }  # fmt: skip
    lines = draw(json.dumps({"StartAt": "Look", "States": states})).splitlines()
    arrows = [line.strip() for line in lines if "->" in line]
    assert arrows == [
        "start(( )) --> Look",
        "Look --> Done",
        'Look -->|"kind = a #34;#60;b#62;#34; #35;1"| Work',
        'Look -->|"otherwise"| Wait',
        "Work --> Wait",
        'Work -.->|"States.ALL"| Done',
        "Wait --> Check",
        "Check --> Look",
    ]
