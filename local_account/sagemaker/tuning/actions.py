"""Tuning jobs as the API sees them: create, describe, list, stop, and the training jobs of one.

Runs in the server process; state: the table ``tuning-jobs``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import chosen, record_of, without
from local_account.protocol.service import now
from local_account.sagemaker.job_records import TriedJob, TuningJobRecord
from local_account.sagemaker.jobs.checks import check_training
from local_account.sagemaker.jobs.run import ACCOUNT_STOPPED
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import set_tags
from local_account.sagemaker.tuning.definition import TunedDefinition, definitions_of, training_request
from local_account.sagemaker.tuning.run import RUNNING, TuningRun
from local_account.sagemaker.tuning.search import ChoiceRange, ranges_of

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateHyperParameterTuningJobRequestTypeDef,
        CreateTrainingJobRequestTypeDef,
        DescribeHyperParameterTuningJobRequestTypeDef,
        ListHyperParameterTuningJobsRequestTypeDef,
        ListTrainingJobsForHyperParameterTuningJobRequestTypeDef,
        StopHyperParameterTuningJobRequestTypeDef,
    )

_STRATEGIES = ("Bayesian", "Grid", "Hyperband", "Random")
_COUNTED = {"Completed": "Completed", "InProgress": "InProgress", "Stopping": "InProgress", "Stopped": "Stopped"}


class TuningJobs:
    """The actions on tuning jobs."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker
        self._jobs = sagemaker.table("tuning-jobs", TuningJobRecord)
        self._running: dict[str, TuningRun] = {}
        for record in self._jobs.values():
            if record["HyperParameterTuningJobStatus"] in RUNNING:
                record["HyperParameterTuningJobStatus"], record["FailureReason"] = "Failed", ACCOUNT_STOPPED

    @action("CreateHyperParameterTuningJob")
    def create(self, request: CreateHyperParameterTuningJobRequestTypeDef) -> Reply:
        """Refuses what the account cannot search, then starts the first training jobs."""
        check_tuning(request)
        parents = self._parents(request)
        name = request["HyperParameterTuningJobName"]
        arn = self._sagemaker.arn(f"hyper-parameter-tuning-job/{name}")
        own = {
            "HyperParameterTuningJobArn": arn,
            "HyperParameterTuningJobStatus": "InProgress",
            "CreationTime": now(),
            "LastModifiedTime": now(),
            "_tried": [],
        }
        with self._sagemaker.lock:
            if name in self._jobs:
                raise ServiceError(f"A tuning job with the name {name} already exists ({arn}).", "ResourceInUse")
            record = record_of(TuningJobRecord, without(request, "Tags"), own)
            self._jobs[name] = record
            set_tags(self._sagemaker, arn, request.get("Tags"))
        self._sagemaker.changed()
        self._running[name] = TuningRun(self._sagemaker, record, parents)
        self._running[name].start()
        return {"HyperParameterTuningJobArn": arn}

    def _parents(self, request: CreateHyperParameterTuningJobRequestTypeDef) -> list[TriedJob]:
        """What the parents of a warm start tried. Raises ServiceError for one that is not there, or still runs."""
        tried: list[TriedJob] = []
        config = request.get("WarmStartConfig")
        for one in config["ParentHyperParameterTuningJobs"] if config else ():
            parent = self._found(one.get("HyperParameterTuningJobName", ""))
            if parent["HyperParameterTuningJobStatus"] in RUNNING:
                name = parent["HyperParameterTuningJobName"]
                raise ServiceError(f"WarmStartConfig: the parent tuning job {name} still runs.")
            tried += parent["_tried"]
        return tried

    def _overall(self, record: TuningJobRecord) -> Reply:
        """The best job of a warm start and its parents, where they tune the same."""
        config = record.get("WarmStartConfig")
        if not config or config["WarmStartType"] != "IdenticalDataAndAlgorithm":
            return {}
        families = [
            record,
            *(
                self._found(one.get("HyperParameterTuningJobName", ""))
                for one in config["ParentHyperParameterTuningJobs"]
            ),
        ]
        bests = [(family, best) for family in families if (best := self._best(family))]
        if not bests:
            return {}
        direction = -1 if self._maximizes(record) else 1
        family, best = min(bests, key=lambda pair: direction * pair[1]["value"])
        own = {"HyperParameterTuningJobName": family["HyperParameterTuningJobName"]}
        return {"OverallBestTrainingJob": {**self._summary(family, best), **own}}

    @staticmethod
    def _maximizes(record: TuningJobRecord) -> bool:
        return all(each.objective["Type"] == "Maximize" for each in definitions_of(record))

    @action("DescribeHyperParameterTuningJob")
    def describe(self, request: DescribeHyperParameterTuningJobRequestTypeDef) -> Reply:
        """Answers the job, what its training jobs came to, and the best of them."""
        record = self._found(request["HyperParameterTuningJobName"])
        jobs = [self._summary(record, one) for one in record["_tried"]]
        best = self._best(record)
        return {
            **{name: value for name, value in record.items() if not name.startswith("_")},
            "TrainingJobStatusCounters": _counted(jobs),
            "ObjectiveStatusCounters": {
                kind: sum(job["ObjectiveStatus"] == kind for job in jobs) for kind in ("Succeeded", "Pending", "Failed")
            },
            **({"BestTrainingJob": self._summary(record, best)} if best else {}),
            **self._overall(record),
        }

    @action("ListHyperParameterTuningJobs")
    def list(self, request: ListHyperParameterTuningJobsRequestTypeDef) -> Reply:
        """Answers a page of jobs, the newest first."""
        wanted = request.get("StatusEquals")
        found = [
            {
                **chosen(record, _SUMMARY),
                "Strategy": record["HyperParameterTuningJobConfig"]["Strategy"],
                "ResourceLimits": record["HyperParameterTuningJobConfig"]["ResourceLimits"],
                **chosen(self.describe({"HyperParameterTuningJobName": name}), _COUNTERS),
            }
            for name, record in self._jobs.items()
            if wanted in (None, record["HyperParameterTuningJobStatus"])
        ]
        fields = [*_SUMMARY, *_COUNTERS, "Strategy", "ResourceLimits"]
        key, name_field = "HyperParameterTuningJobSummaries", "HyperParameterTuningJobName"
        return listing(found, request, key=key, fields=fields, name_field=name_field)

    @action("ListTrainingJobsForHyperParameterTuningJob")
    def list_training_jobs(self, request: ListTrainingJobsForHyperParameterTuningJobRequestTypeDef) -> Reply:
        """Answers a page of a tuning's training jobs, also the best ones first."""
        record = self._found(request["HyperParameterTuningJobName"])
        wanted = request.get("StatusEquals")
        found = [self._summary(record, one) for one in record["_tried"]]
        found = [job for job in found if wanted in (None, job["TrainingJobStatus"])]
        fields = sorted({name for job in found for name in job})
        if request.get("SortBy") == "FinalObjectiveMetricValue":
            values = {one["name"]: one["value"] for one in record["_tried"] if "value" in one}
            found = [job for job in found if job["TrainingJobName"] in values]
            found.sort(key=lambda job: values[str(job["TrainingJobName"])])
            found = [{**job, "CreationTime": position} for position, job in enumerate(found)]
        page = listing(found, request, key="TrainingJobSummaries", fields=fields, name_field="TrainingJobName")
        times = {one["name"]: self._summary(record, one)["CreationTime"] for one in record["_tried"]}
        summaries = page["TrainingJobSummaries"]
        for job in summaries if isinstance(summaries, list) else []:
            job["CreationTime"] = times[job["TrainingJobName"]]
        return page

    @action("StopHyperParameterTuningJob")
    def stop(self, request: StopHyperParameterTuningJobRequestTypeDef) -> None:
        """The job and its training jobs end within two minutes. Raises ServiceError for one that does not run."""
        record = self._found(request["HyperParameterTuningJobName"])
        status = record["HyperParameterTuningJobStatus"]
        if status != "InProgress":
            raise ServiceError(f"The request was rejected because the tuning job is in status {status}.")
        with self._sagemaker.lock:
            record["HyperParameterTuningJobStatus"] = "Stopping"
        self._running[record["HyperParameterTuningJobName"]].stop.set()

    def _found(self, name: str) -> TuningJobRecord:
        record = self._jobs.get(name)
        if record is None:
            raise ServiceError(f"Amazon SageMaker can't find a tuning job with the name {name}.", "ResourceNotFound")
        return record

    def _best(self, record: TuningJobRecord) -> TriedJob | None:
        known = [one for one in record["_tried"] if "value" in one]
        least_first = sorted(known, key=lambda one: one["value"])
        return (least_first[-1] if self._maximizes(record) else least_first[0]) if least_first else None

    def _summary(self, record: TuningJobRecord, one: TriedJob) -> dict[str, object]:
        job = self._sagemaker.jobs("Training")[one["name"]]
        name = one.get("definition", "")
        objective = next(each.objective for each in definitions_of(record) if each.name == name)
        status = "Pending" if job["TrainingJobStatus"] in RUNNING else "Succeeded" if "value" in one else "Failed"
        members = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime")
        found: dict[str, object] = {
            **chosen(job, (*members, "TrainingJobStatus", "FailureReason")),
            "TunedHyperParameters": one["hyperparameters"],
            "ObjectiveStatus": status,
            **({"TrainingJobDefinitionName": name} if name else {}),
        }
        if "value" in one:
            found["FinalHyperParameterTuningJobObjectiveMetric"] = {**objective, "Value": one["value"]}
        return found


_SUMMARY = (
    "HyperParameterTuningJobName", "HyperParameterTuningJobArn", "HyperParameterTuningJobStatus", "CreationTime",
    "HyperParameterTuningEndTime", "LastModifiedTime",
)  # fmt: skip
_COUNTERS = ("TrainingJobStatusCounters", "ObjectiveStatusCounters")


def _counted(jobs: list[dict[str, object]]) -> dict[str, int]:
    found = Counter(_COUNTED.get(str(job["TrainingJobStatus"]), "NonRetryableError") for job in jobs)
    return {kind: found[kind] for kind in (*sorted(set(_COUNTED.values())), "NonRetryableError", "RetryableError")}


def check_tuning(request: CreateHyperParameterTuningJobRequestTypeDef) -> None:
    """Refuse what the account does not search by, and training jobs that could not run. Raises ServiceError."""
    config = request["HyperParameterTuningJobConfig"]
    if config["Strategy"] not in _STRATEGIES:
        raise ServiceError(f"Strategy: the stand-in account has {', '.join(_STRATEGIES)}, got {config['Strategy']}.")
    _check_strategy(request)
    definitions = definitions_of(request)
    if len({each.name for each in definitions}) < len(definitions):
        raise ServiceError("TrainingJobDefinitions: each DefinitionName may stand once.")
    if len({each.objective["Type"] for each in definitions}) > 1:
        raise ServiceError("TrainingJobDefinitions: all objectives have to be of one Type, so that the best is one.")
    for each in definitions:
        _check_definition(request, each)


def _check_definition(request: CreateHyperParameterTuningJobRequestTypeDef, tuned: TunedDefinition) -> None:
    """Refuse ranges that cannot be searched, an objective that nothing tells, and jobs that could not run."""
    _check_ranges(request, tuned)
    name = tuned.objective["MetricName"]
    defined = {one["Name"] for one in tuned.definition["AlgorithmSpecification"].get("MetricDefinitions", [])}
    if defined and name not in defined:
        raise ServiceError(f"The objective {name!r} is none of the MetricDefinitions: {', '.join(sorted(defined))}.")
    wanted = training_request(tuned.definition, request["HyperParameterTuningJobName"], {})
    check_training(cast("CreateTrainingJobRequestTypeDef", wanted))


def _check_strategy(request: CreateHyperParameterTuningJobRequestTypeDef) -> None:
    """What goes with which strategy (API Reference, HyperParameterTuningJobStrategyConfig, WarmStartConfig)."""
    config = request["HyperParameterTuningJobConfig"]
    strategy, early = config["Strategy"], config.get("TrainingJobEarlyStoppingType", "Off")
    if "StrategyConfig" in config and strategy != "Hyperband":
        raise ServiceError(f"StrategyConfig goes with Strategy Hyperband only, not with {strategy}.")
    if strategy == "Hyperband":
        resource = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        if resource.get("MinResource", 1) > resource.get("MaxResource", 10**6):
            raise ServiceError("HyperbandStrategyConfig: MinResource must be at most MaxResource.")
        if early != "Off":
            raise ServiceError(
                "TrainingJobEarlyStoppingType must be Off with Strategy Hyperband, which stops by itself."
            )
    if "WarmStartConfig" in request and strategy not in {"Bayesian", "Random"}:
        raise ServiceError(f"WarmStartConfig goes with the strategies Bayesian and Random, not with {strategy}.")


def _check_ranges(request: CreateHyperParameterTuningJobRequestTypeDef, tuned: TunedDefinition) -> None:
    config = request["HyperParameterTuningJobConfig"]
    try:
        ranges = ranges_of(tuned.ranges)
    except ValueError as error:
        raise ServiceError(f"ParameterRanges: {error}.") from error
    if not ranges:
        raise ServiceError("ParameterRanges: a tuning job needs at least one hyperparameter to tune.")
    if config["Strategy"] == "Grid":
        if not all(isinstance(one, ChoiceRange) for one in ranges):
            raise ServiceError("Strategy Grid takes CategoricalParameterRanges only.")
    elif "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise ServiceError(f"ResourceLimits.MaxNumberOfTrainingJobs is needed with Strategy {config['Strategy']}.")
    static = tuned.definition.get("StaticHyperParameters", {})
    if both := {one.name for one in ranges} & static.keys():
        raise ServiceError(f"The hyperparameter {min(both)!r} is both static and tuned.")
