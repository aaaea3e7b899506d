"""What a function leaves behind: log lines that name the execution and the image, metrics, and traces when sampled."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

from tests.places import ROOT

INVOKE = """
import json, sys
from types import SimpleNamespace
from lambdas import filter_inferences
event = json.loads(sys.argv[1])
try:
    filter_inferences.handler(event, SimpleNamespace(aws_request_id="r-1", function_name="filter"))
finally:
    print(json.dumps({"xray": "aws_xray_sdk" in sys.modules}))
"""
BODY = {"s3_bucket": "b", "s3_key": "a.png", "inferences": [0.25, 0.75], "classes": ["x", "y"]}
EVENT = {"body": BODY, "execution": "run-1"}


def invoke(event: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
    """The JSON lines that an invocation of the filter prints."""
    settings = {
        "PYTHONPATH": str(ROOT),
        "STAGE": "test",
        "POWERTOOLS_SERVICE_NAME": "inference-workflow",
        "POWERTOOLS_METRICS_NAMESPACE": "Scones",
        "CONFIDENCE_THRESHOLD": "0.5",
        "AWS_DEFAULT_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": "/var/task",  # without it, Powertools does not trace
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-c", INVOKE, json.dumps(event)]
    finished = subprocess.run(command, env=settings | environment, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    assert lines, finished.stderr
    return lines


def test_a_passed_image_is_logged_and_counted() -> None:
    log, metrics, predicted, modules = invoke(EVENT)
    assert log["message"] == "passed"
    assert {name: log[name] for name in ("execution", "s3_key", "confidence", "service")} == {
        "execution": "run-1",
        "s3_key": "a.png",
        "confidence": 0.75,
        "service": "inference-workflow",
    }
    assert (metrics["Confidence"], metrics["LowConfidence"]) == ([0.75], [0.0])
    (directive,) = metrics["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], set(directive["Dimensions"][0])) == ("Scones", {"service", "stage"})
    assert modules == {"xray": False}
    assert (predicted["Predicted"], predicted["class"], predicted["stage"]) == ([1.0], "y", "test")
    (directive,) = predicted["_aws"]["CloudWatchMetrics"]
    assert set(directive["Dimensions"][0]) == {"service", "stage", "class"}


def test_low_confidence_is_counted_and_its_name_logged() -> None:
    log, metrics, _, _ = invoke(EVENT, CONFIDENCE_THRESHOLD="0.9")
    assert (log["error"], log["level"], log["s3_key"]) == ("THRESHOLD_CONFIDENCE_NOT_MET", "WARNING", "a.png")
    assert metrics["LowConfidence"] == [1.0]


def test_an_event_that_is_no_body_is_logged_all_the_same() -> None:
    log, _ = invoke({"body": "no json"})
    assert log["error"] == "InvalidBody"


def test_a_sampled_invocation_is_traced() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(5)
        trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        address = f"127.0.0.1:{daemon.getsockname()[1]}"
        lines = invoke(EVENT, _X_AMZN_TRACE_ID=trace, AWS_XRAY_DAEMON_ADDRESS=address)
        segment = json.loads(daemon.recv(65_536).decode().split("\n", 1)[1])
    assert lines[-1] == {"xray": True}
    assert segment["trace_id"] == "1-5759e988-bd862e3fe1be46a994272793"
    assert segment["name"] == "## handler"
    assert segment["annotations"]["Service"] == "inference-workflow"
