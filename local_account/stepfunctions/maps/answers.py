"""What Step Functions answers about map runs and their child executions.

Runs in the server process; ``stepfunctions`` puts these into moto's dispatcher, before the answers about executions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_account.stepfunctions.answers import HISTORY_PAGE, page
from local_account.stepfunctions.maps.map_runs import MapRuns
from local_account.stepfunctions.maps.records import Child, MapRun


def hook_map_answers(runs: MapRuns) -> None:
    """Add the actions of map runs, and child executions to the actions of executions. Called once."""
    _hook_children(runs)
    _hook_runs(runs)


def _hook_children(runs: MapRuns) -> None:
    from moto.core.responses import ActionResult
    from moto.stepfunctions.exceptions import InvalidArn
    from moto.stepfunctions.responses import StepFunctionResponse

    def of_children(action: str, answer: Callable[[MapRun, Child, Any], Any]) -> None:
        """Have ``answer`` take an action where its execution is a child; it may leave it to what was there."""
        original = getattr(StepFunctionResponse, action)

        def chosen(response: Any) -> Any:
            found = find_child(runs, response._get_param("executionArn"))
            result = None if found is None else answer(*found, response)
            return original(response) if result is None else ActionResult(result)

        setattr(StepFunctionResponse, action, chosen)

    def history(run: MapRun, child: Child, response: Any) -> Any:
        if run.kind == "EXPRESS":
            return None
        events = child.worker.history if child.worker else []
        if response._get_param("reverseOrder"):
            events = events[::-1]
        return page(response, "events", events, HISTORY_PAGE)

    def stop(run: MapRun, child: Child, _response: Any) -> Any:
        if run.arn in runs.live:
            runs.live[run.arn].stop_child(child)
        return {"stopDate": child.stop_date}

    list_by_machine = StepFunctionResponse.list_executions

    def list_executions(response: Any) -> Any:
        arn = response._get_param("mapRunArn")
        if not arn:
            return list_by_machine(response)
        run, wanted = find_run(runs, arn), response._get_param("statusFilter")
        children = [c for c in run.children if wanted in (None, c.status) and c.start_date is not None]
        answer = page(response, "executions", children[::-1], HISTORY_PAGE)
        answer["executions"] = [_listed(run, child) for child in answer["executions"]]
        return ActionResult(answer)

    def describe_state_machine_for_execution(response: Any) -> Any:
        found = find_child(runs, response._get_param("executionArn"))
        if found is not None:
            raise InvalidArn("The stand-in account describes machines of executions, not of a map run's children")
        execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
        return response._describe_state_machine(execution.state_machine.arn)

    of_children("describe_execution", lambda run, child, _response: _described(run, child))
    of_children("get_execution_history", history)
    of_children("stop_execution", stop)
    StepFunctionResponse.describe_state_machine_for_execution = describe_state_machine_for_execution
    StepFunctionResponse.list_executions = list_executions


def _hook_runs(runs: MapRuns) -> None:
    from moto.core.responses import ActionResult, EmptyResult
    from moto.stepfunctions.responses import StepFunctionResponse

    def list_map_runs(response: Any) -> Any:
        arn = response._get_param("executionArn")
        if find_child(runs, arn) is None:
            response.stepfunction_backend.describe_execution(arn)
        found = [run for run in runs.records.values() if run.execution_arn == arn][::-1]
        answer = page(response, "mapRuns", found, HISTORY_PAGE)
        members = ("executionArn", "mapRunArn", "stateMachineArn", "startDate", "stopDate")
        answer["mapRuns"] = [
            {k: v for k, v in _described_run(run).items() if k in members} for run in answer["mapRuns"]
        ]
        return ActionResult(answer)

    def describe_map_run(response: Any) -> Any:
        run = find_run(runs, response._get_param("mapRunArn"))
        return ActionResult({k: v for k, v in _described_run(run).items() if k != "stateMachineArn"})

    def update_map_run(response: Any) -> Any:
        run = find_run(runs, response._get_param("mapRunArn"))
        if (concurrency := response._get_param("maxConcurrency")) is not None:
            run.max_concurrency = int(concurrency)
        if (count := response._get_param("toleratedFailureCount")) is not None:
            run.tolerated_count = int(count)
        if (percentage := response._get_param("toleratedFailurePercentage")) is not None:
            run.tolerated_percentage = float(percentage)
        if run.arn in runs.live:
            runs.live[run.arn].adapt()
        return EmptyResult()

    StepFunctionResponse.list_map_runs = list_map_runs
    StepFunctionResponse.describe_map_run = describe_map_run
    StepFunctionResponse.update_map_run = update_map_run


def find_run(runs: MapRuns, arn: str) -> MapRun:
    """The map run; ResourceNotFound."""
    from moto.core.exceptions import AWSError

    found = runs.records.get(arn)
    if found is None:
        raise AWSError(f"Resource not found: '{arn}'", "ResourceNotFound")
    return found


def find_child(runs: MapRuns, arn: str) -> tuple[MapRun, Child] | None:
    """A child execution by its ARN, whose machine's name has the label of its map run in it."""
    prefix, _, name = arn.rpartition(":")
    if "/" not in prefix:
        return None
    for run in runs.records.values():
        if run.prefix == prefix:
            for child in run.children:
                if child.name == name and child.start_date is not None:
                    return run, child
    return None


def _listed(run: MapRun, child: Child) -> dict[str, Any]:
    item = {
        "executionArn": run.arn_of(child),
        "itemCount": child.items,
        "mapRunArn": run.arn,
        "name": child.name,
        "redriveCount": child.redrive_count,
        "startDate": child.start_date,
        "stateMachineArn": run.machine_arn,
        "status": child.status,
    }
    return item if child.stop_date is None else {**item, "stopDate": child.stop_date}


def _described(run: MapRun, child: Child) -> dict[str, Any]:
    answer = _listed(run, child)
    del answer["itemCount"]
    answer |= {"input": child.data, "inputDetails": {"included": True}}
    if child.status == "SUCCEEDED":
        answer |= {"output": child.output, "outputDetails": {"included": True}}
    answer["redriveStatus"] = "NOT_REDRIVABLE" if child.status in {"RUNNING", "SUCCEEDED"} else "REDRIVABLE_BY_MAP_RUN"
    members = {"error": child.error, "cause": child.cause, "redriveDate": child.redrive_date}
    return answer | {name: value for name, value in members.items() if value is not None}


def _described_run(run: MapRun) -> dict[str, Any]:
    answer = {
        "mapRunArn": run.arn,
        "executionArn": run.execution_arn,
        "stateMachineArn": run.machine_arn,
        "status": run.status,
        "startDate": run.start_date,
        "stopDate": run.stop_date,
        "maxConcurrency": run.max_concurrency,
        "toleratedFailureCount": run.tolerated_count or 0,
        "toleratedFailurePercentage": run.tolerated_percentage or 0.0,
        "itemCounts": run.counts(of_items=True),
        "executionCounts": run.counts(of_items=False),
        "redriveCount": run.redrive_count,
        "redriveDate": run.redrive_date,
    }
    return {name: value for name, value in answer.items() if value is not None}
