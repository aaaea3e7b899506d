"""Tuning jobs: real training jobs over ranges, their objective from the log, and the best of them."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_account.sagemaker.tuning.search import ChoiceRange, NumberRange, most_promising
from local_account.sagemaker.tuning.stopping import Hyperband, MedianRule, not_improving
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import bucket, training_arguments

SCRIPT = """
import argparse, time
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.5)
parser.add_argument("--kind", default="b")
parser.add_argument("--pause", type=float, default=0)
known, _ = parser.parse_known_args()
time.sleep(known.pause)
print(f"loss={(known.rate - 0.3) ** 2 + {'a': 1, 'b': 0, 'c': 2}[known.kind]}")
"""
RATE = {"Name": "rate", "MinValue": "0.1", "MaxValue": "0.9", "ScalingType": "Logarithmic"}
KIND = {"Name": "kind", "Values": ["a", "b", "c"]}

TUNED_ON = "HyperParameterTuningResourceConfig"


@pytest.fixture(scope="module")
def data(account: RunningAccount) -> str:
    return bucket(account, f"tuning-{uuid.uuid4().hex[:8]}")


def request_of(
    account: RunningAccount, data: str, strategy: str, ranges: dict[str, Any], **static: Any
) -> dict[str, Any]:
    training = training_arguments(data, {"train.py": SCRIPT}, "train.py", account, **static)
    training["StaticHyperParameters"] = training.pop("HyperParameters")
    training["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=(.*)"}]
    limits = {"MaxParallelTrainingJobs": 2} | ({} if strategy == "Grid" else {"MaxNumberOfTrainingJobs": 3})
    return {
        "HyperParameterTuningJobName": f"t-{uuid.uuid4().hex[:12]}",
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": limits,
            "ParameterRanges": ranges,
        },
        "TrainingJobDefinition": training,
    }


def tuned(account: RunningAccount, request: dict[str, Any]) -> dict[str, Any]:
    sagemaker, name = account.client("sagemaker"), request["HyperParameterTuningJobName"]
    sagemaker.create_hyper_parameter_tuning_job(**request)
    return ended(account, name)


def ended(account: RunningAccount, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 600
    while True:
        job: dict[str, Any] = account.client("sagemaker").describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        )
        if job["HyperParameterTuningJobStatus"] not in {"InProgress", "Stopping"}:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("strategy", "ranges"),
    [
        ("Grid", {"CategoricalParameterRanges": [KIND]}),
        ("Random", {"ContinuousParameterRanges": [RATE]}),
    ],
)
def test_the_best_of_the_training_jobs_is_found(
    account: RunningAccount, data: str, strategy: str, ranges: dict[str, Any]
) -> None:
    request = request_of(account, data, strategy, ranges)
    if strategy == "Random":  # as version 2 of the SageMaker SDK names instances, here of two kinds to choose from
        of_a_job = request["TrainingJobDefinition"].pop("ResourceConfig")
        instances = [of_a_job | {"InstanceType": kind} for kind in ("ml.m5.large", "ml.c5.xlarge")]
        request["TrainingJobDefinition"][TUNED_ON] = {"InstanceConfigs": instances, "AllocationStrategy": "Prioritized"}
    job = tuned(account, request)
    assert job["HyperParameterTuningJobStatus"] == "Completed", job
    assert job["TrainingJobStatusCounters"]["Completed"] == 3
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 0}
    sagemaker, name = account.client("sagemaker"), job["HyperParameterTuningJobName"]
    listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, SortBy="FinalObjectiveMetricValue", SortOrder="Ascending"
    )["TrainingJobSummaries"]
    values = [one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for one in listed]
    assert values == sorted(values)
    assert job["BestTrainingJob"] == listed[0]
    if strategy == "Grid":
        assert listed[0]["TunedHyperParameters"] == {"kind": "b"}
    trained = sagemaker.describe_training_job(TrainingJobName=listed[0]["TrainingJobName"])
    assert trained["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert trained["HyperParameters"].items() >= listed[0]["TunedHyperParameters"].items()
    assert trained["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    assert trained["OutputDataConfig"]["KmsKeyId"] == ""
    assert trained["EnableNetworkIsolation"] is False
    summaries = sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name)["HyperParameterTuningJobSummaries"]
    assert [(one["Strategy"], one["HyperParameterTuningJobStatus"]) for one in summaries] == [(strategy, "Completed")]


def several_of(account: RunningAccount, data: str) -> dict[str, Any]:
    """A tuning job of two definitions: one with a grid of three, one with a grid of two."""
    request = request_of(account, data, "Grid", {})
    config, training = request["HyperParameterTuningJobConfig"], request.pop("TrainingJobDefinition")
    objective = config.pop("HyperParameterTuningJobObjective")
    del config["ParameterRanges"]
    static = training["StaticHyperParameters"]
    request["TrainingJobDefinitions"] = [
        {
            **training,
            "DefinitionName": name,
            "StaticHyperParameters": {**static, "rate": rate},
            "TuningObjective": objective,
            "HyperParameterRanges": {"CategoricalParameterRanges": [{"Name": "kind", "Values": values}]},
        }
        for name, rate, values in (("near", "0.3", ["a", "b", "c"]), ("far", "0.9", ["a", "c"]))
    ]
    return request


def test_the_best_of_several_definitions_is_found(account: RunningAccount, data: str) -> None:
    job = tuned(account, several_of(account, data))
    assert (job["HyperParameterTuningJobStatus"], job["TrainingJobStatusCounters"]["Completed"]) == ("Completed", 5)
    assert [each["DefinitionName"] for each in job["TrainingJobDefinitions"]] == ["near", "far"]
    best = job["BestTrainingJob"]
    assert (best["TrainingJobDefinitionName"], best["TunedHyperParameters"]) == ("near", {"kind": "b"})
    listed = account.client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job["HyperParameterTuningJobName"]
    )["TrainingJobSummaries"]
    tried = sorted((each["TrainingJobDefinitionName"], each["TunedHyperParameters"]["kind"]) for each in listed)
    assert tried == [("far", "a"), ("far", "c"), ("near", "a"), ("near", "b"), ("near", "c")]


def test_several_definitions_have_what_tells_them_apart(account: RunningAccount, data: str) -> None:
    create, request = account.client("sagemaker").create_hyper_parameter_tuning_job, several_of(account, data)
    first, second = request["TrainingJobDefinitions"]
    for wrong, message in [
        ([first, {**second, "DefinitionName": "near"}], "each DefinitionName may stand once"),
        ([first, {**second, "TuningObjective": {"Type": "Maximize", "MetricName": "loss"}}], "have to be of one Type"),
        ([first, {key: value for key, value in second.items() if key != "TuningObjective"}], "needs TuningObjective"),
    ]:
        with pytest.raises(ClientError, match=message):
            create(**{**request, "TrainingJobDefinitions": wrong})
    with pytest.raises(ClientError, match="leave out TrainingJobDefinition"):
        create(
            **request,
            TrainingJobDefinition={
                k: v for k, v in first.items() if k not in ("TuningObjective", "HyperParameterRanges")
            },
        )


LEARNING = """
import os, time
rate = float(os.environ["SM_HP_RATE"])
for epoch in range(3):
    print(f"loss={rate / (epoch + 1)}", flush=True)
while rate > 0.8:  # until somebody stops it
    time.sleep(0.05)
"""


def test_hyperband_ends_what_falls_behind_and_a_warm_start_knows_it(account: RunningAccount, data: str) -> None:
    request = request_of(account, data, "Hyperband", {"CategoricalParameterRanges": [KIND]})
    training = training_arguments(data, {"train.py": LEARNING}, "train.py", account)
    request["TrainingJobDefinition"]["StaticHyperParameters"] = training["HyperParameters"]
    rates = [{"Name": "rate", "Values": ["0.1", "0.2", "0.9"]}]
    config = request["HyperParameterTuningJobConfig"]
    config["ParameterRanges"] = {"CategoricalParameterRanges": rates}
    config["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}}
    config["ResourceLimits"] = {"MaxParallelTrainingJobs": 3, "MaxNumberOfTrainingJobs": 6}
    job = tuned(account, request)
    assert job["HyperParameterTuningJobStatus"] == "Completed", job
    counters = job["TrainingJobStatusCounters"]
    assert counters["Completed"] + counters["Stopped"] == 6
    parent = {"HyperParameterTuningJobName": job["HyperParameterTuningJobName"]}
    again = request | {"HyperParameterTuningJobName": f"t-{uuid.uuid4().hex[:12]}"}
    again["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [parent],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    with pytest.raises(ClientError, match="WarmStartConfig goes with the strategies Bayesian and Random"):
        account.client("sagemaker").create_hyper_parameter_tuning_job(**again)
    del config["StrategyConfig"]
    config |= {"Strategy": "Bayesian", "ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxNumberOfTrainingJobs": 1}}
    config["TuningJobCompletionCriteria"] = {"TargetObjectiveMetricValue": 5.0}
    job = tuned(account, again)
    best = job["OverallBestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert best <= job["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    again["HyperParameterTuningJobName"] = f"t-{uuid.uuid4().hex[:12]}"
    again["WarmStartConfig"]["ParentHyperParameterTuningJobs"] = [{"HyperParameterTuningJobName": "nobody"}]
    with pytest.raises(ClientError, match="nobody"):
        account.client("sagemaker").create_hyper_parameter_tuning_job(**again)


def test_jobs_end_early_where_others_did_better() -> None:
    median, losses = MedianRule(maximize=False), [[0.9, 0.5], [0.8, 0.4], [0.7, 0.3]]
    assert not median.ends([0.75], losses)
    assert median.ends([0.95], losses)
    assert not median.ends([0.95], losses[:2]), "too few to compare with"
    band = Hyperband(least=1, most=9, maximize=True)
    assert band.ends([0.1], [[0.5], [0.6]])
    assert not band.ends([0.6], [[0.5], [0.1]])
    assert band.ends([0.9] * 9, []), "it has had all it gets"
    assert not_improving([3.0, 1.0, 2.0, 2.0], 2, maximize=False)
    assert not not_improving([3.0, 2.0, 1.0], 2, maximize=False)


def test_a_tuning_job_is_stopped_with_its_training_jobs(account: RunningAccount, data: str) -> None:
    sagemaker = account.client("sagemaker")
    request = request_of(account, data, "Random", {"ContinuousParameterRanges": [RATE]}, pause=600)
    name = request["HyperParameterTuningJobName"]
    sagemaker.create_hyper_parameter_tuning_job(**request)
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    job = ended(account, name)
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert job["TrainingJobStatusCounters"]["InProgress"] == 0
    with pytest.raises(ClientError, match="in status Stopped"):
        sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "must be Off with Strategy Hyperband"),
        ({"ParameterRanges": {}}, "at least one hyperparameter"),
        ({"Strategy": "Grid"}, "takes CategoricalParameterRanges only"),
        (
            {"ParameterRanges": {"IntegerParameterRanges": [RATE | {"MinValue": "9", "MaxValue": "1"}]}},
            "at most MaxValue",
        ),
        ({"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1}}}, "goes with Strategy Hyperband only"),
        ({"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "joy"}}, "'joy' is none of"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    account: RunningAccount, data: str, changes: dict[str, Any], message: str
) -> None:
    request = request_of(account, data, "Random", {"ContinuousParameterRanges": [RATE]})
    request["HyperParameterTuningJobConfig"] |= changes
    with pytest.raises(ClientError, match=message):
        account.client("sagemaker").create_hyper_parameter_tuning_job(**request)


def test_a_job_is_told_once_what_it_runs_on(account: RunningAccount, data: str) -> None:
    request = request_of(account, data, "Random", {"ContinuousParameterRanges": [RATE]})
    definition = request["TrainingJobDefinition"]
    definition[TUNED_ON] = definition["ResourceConfig"]
    create = account.client("sagemaker").create_hyper_parameter_tuning_job
    with pytest.raises(ClientError, match=f"expected ResourceConfig or {TUNED_ON}, not both"):
        create(**request)
    del definition["ResourceConfig"]
    definition[TUNED_ON] = definition[TUNED_ON] | {"InstanceConfigs": [definition[TUNED_ON]]}
    with pytest.raises(ClientError, match="expected InstanceConfigs or InstanceCount, not both"):
        create(**request)


def test_the_bayesian_search_comes_closer_than_chance() -> None:
    import random

    ranges = [NumberRange("x", 0.001, 1.0, whole=False, scale="Logarithmic"), ChoiceRange("k", ("a", "b"))]
    chance, tried = random.Random(7), []
    for _ in range(20):
        one = most_promising(ranges, tried, chance, maximize=True)
        tried.append((one, -abs(float(one["x"]) - 0.05) - (one["k"] == "a")))
    assert max(value for _, value in tried) > -0.01
