"""The monitoring pipeline's definition: one job over a time range, and arguments the service accepts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.places import ROOT
from tests.unit.definitions import a_deployment, assert_valid_request, check_sample, resolve


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    from pipelines import monitoring_pipeline  # the SDK takes seconds to import

    document: dict[str, Any] = json.loads(monitoring_pipeline.definition(a_deployment()))
    return document


@pytest.fixture(scope="module")
def arguments(definition: dict[str, Any]) -> dict[str, Any]:
    given = {"Start": "2026-11-21T00:00:00Z", "End": "2026-11-22T00:00:00Z"}
    parameters = {p["Name"]: p.get("DefaultValue", given.get(p["Name"])) for p in definition["Parameters"]}
    resolved: dict[str, Any] = resolve(definition["Steps"][0]["Arguments"], parameters)
    return resolved


def test_it_is_one_job_that_is_never_cached(definition: dict[str, Any]) -> None:
    (step,) = definition["Steps"]
    assert (step["Name"], step["Type"]) == ("ReportTraffic", "Processing")
    assert "CacheConfig" not in step


def test_only_the_time_range_has_no_default(definition: dict[str, Any]) -> None:
    assert [p["Name"] for p in definition["Parameters"] if "DefaultValue" not in p] == ["Start", "End"]
    used = set(re.findall(r'"Get": "Parameters\.(\w+)"', json.dumps(definition["Steps"])))
    assert used == {p["Name"] for p in definition["Parameters"]}


def test_the_service_accepts_the_arguments(arguments: dict[str, Any]) -> None:
    assert_valid_request("CreateProcessingJob", {"ProcessingJobName": "job", **arguments})


def test_the_job_is_given_its_code_and_writes_a_folder_of_its_own(arguments: dict[str, Any]) -> None:
    names = a_deployment().names
    inputs = {item["InputName"]: item["S3Input"]["S3Uri"] for item in arguments["ProcessingInputs"]}
    assert inputs == {"code": a_deployment().source_archive_uri}
    (output,) = arguments["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == f"{names.reports_uri}/abcdef123456"


def test_the_job_starts_the_report_with_its_options(arguments: dict[str, Any]) -> None:
    application = arguments["AppSpecification"]
    assert 'exec python3 -m monitoring.report "$@"' in application["ContainerEntrypoint"][2]
    assert "monitoring/requirements.txt" in application["ContainerEntrypoint"][2]
    assert (ROOT / "monitoring/report.py").is_file() and (ROOT / "monitoring/requirements.txt").is_file()
    words = application["ContainerArguments"]
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--captures": a_deployment().names.capture_uri,
        "--output": "/opt/ml/processing/output/report",
        "--start": "2026-11-21T00:00:00Z",
        "--end": "2026-11-22T00:00:00Z",
        "--threshold": '{"default": 0.93}',
        "--classes": "bicycle,motorcycle",
        "--endpoint": "scones-production-vehicle-classifier",
        "--data-origin": "photographs",
        "--state": a_deployment().names.monitoring_state_uri,
        "--baseline": "",
        "--deployed-at": "",
        "--model-package": "",
        "--ground-truth": a_deployment().names.ground_truth_uri,
        "--context": "",
        "--report-uri": f"{a_deployment().names.reports_uri}/abcdef123456",
        "--new-baseline": "",
        "--metrics-namespace": "",
        "--when-empty": "report",
        "--stage": "production",
    }


def test_the_definition_is_the_sample(definition: dict[str, Any]) -> None:
    check_sample("monitoring_pipeline.json", json.dumps(definition, indent=1) + "\n")


def test_many_captures_are_divided_among_instances_and_merged_by_one() -> None:
    from pipelines import collect_pipeline

    document: dict[str, Any] = json.loads(collect_pipeline.definition(a_deployment()))
    collect, merge = document["Steps"]
    given = {"HoursUri": "s3://b/hours", "PartsUri": "s3://b/parts"}
    parameters = {p["Name"]: p.get("DefaultValue", given.get(p["Name"])) for p in document["Parameters"]}
    parameters["Instances"] = 3
    shared, alone = (resolve(step["Arguments"], parameters) for step in (collect, merge))
    for request in (shared, alone):
        assert_valid_request("CreateProcessingJob", {"ProcessingJobName": "job", **request})
    counts = [each["ProcessingResources"]["ClusterConfig"]["InstanceCount"] for each in (shared, alone)]
    assert counts == [3, 1]
    inputs = {each["InputName"]: each["S3Input"]["S3DataDistributionType"] for each in shared["ProcessingInputs"]}
    assert inputs == {"code": "FullyReplicated", "hours": "ShardedByS3Key"}
    assert merge["DependsOn"] == ["CollectCaptures"]
