"""What a pipeline of CodePipeline may be: checked when it is made, so that what could not run here is refused then.

Runs in the server process. Follows the pipeline structure reference of the CodePipeline user guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from local_account.codepipeline.records import (
    ActionDeclaration,
    PipelineDeclaration,
    ResolvedVariable,
    StageDeclaration,
)
from local_account.protocol.actions import ServiceError
from local_account.protocol.records import record_of

if TYPE_CHECKING:
    from types_boto3_codepipeline.type_defs import PipelineVariableTypeDef, SourceRevisionOverrideTypeDef

STRUCTURE = "InvalidStructureException"
DECLARATION = "InvalidActionDeclarationException"
# (category, provider) -> what its configuration must and may say, how many artifacts go in and out.
ACTIONS: dict[tuple[str, str], tuple[set[str], set[str], range, range]] = {
    ("Source", "S3"): (
        {"S3Bucket", "S3ObjectKey", "PollForSourceChanges"},
        {"AllowOverrideForS3ObjectKey"},
        range(1),
        range(1, 2),
    ),
    ("Source", "CodeStarSourceConnection"): (
        {"ConnectionArn", "FullRepositoryId", "BranchName"},
        {"OutputArtifactFormat", "DetectChanges"},
        range(1),
        range(1, 2),
    ),
    ("Build", "CodeBuild"): (
        {"ProjectName"},
        {"PrimarySource", "EnvironmentVariables", "BatchEnabled"},
        range(1, 6),
        range(2),
    ),
    ("Approval", "Manual"): (
        set(),
        {"NotificationArn", "CustomData", "ExternalEntityLink"},
        range(1),
        range(1),
    ),
}
ACTIONS["Test", "CodeBuild"] = ACTIONS["Build", "CodeBuild"]
VARIABLE = re.compile(r"#\{([A-Za-z0-9@_-]+)\.([A-Za-z0-9@_-]+)\}")


def check(given: Mapping[str, object]) -> None:
    """Raises ServiceError for a structure that AWS would refuse, or an action that is not done here."""
    pipeline = record_of(PipelineDeclaration, given)
    stages = pipeline["stages"]
    if len(stages) < 2:
        raise ServiceError("Pipeline has less than 2 stages", STRUCTURE)
    _unique([stage["name"] for stage in stages], "stage")
    if "artifactStore" not in pipeline:
        raise ServiceError("The stand-in account needs artifactStore: it has one region.", STRUCTURE)
    if pipeline["artifactStore"]["type"] != "S3":
        raise ServiceError("artifactStore must be of type S3", STRUCTURE)
    if pipeline.get("pipelineType", "V1") != "V2":
        for member in ("variables", "triggers"):
            if pipeline.get(member):
                raise ServiceError(f"{member} needs pipelineType V2", STRUCTURE)
    made: set[str] = set()
    namespaces = {"codepipeline", "variables"}
    for position, stage in enumerate(stages):
        _check_stage(stage, first=position == 0)
        for order in orders(stage):
            for action in order:
                _check_inputs(stage, action, made, namespaces)
            made |= {output["name"] for action in order for output in action.get("outputArtifacts", [])}
            namespaces |= {action["namespace"] for action in order if "namespace" in action}


def _check_stage(stage: StageDeclaration, *, first: bool) -> None:
    for member in ("blockers", "onFailure", "onSuccess", "beforeEntry"):
        if stage.get(member):
            raise ServiceError(f"The stand-in account does not implement a stage's {member}.", STRUCTURE)
    if not stage["actions"]:
        raise ServiceError(f"Stage {stage['name']} has no actions", STRUCTURE)
    _unique([action["name"] for action in stage["actions"]], "action")
    for action in stage["actions"]:
        kind = action["actionTypeId"]
        if (kind["category"] == "Source") != first:
            raise ServiceError("The first stage has source actions and nothing else, no other stage has any", STRUCTURE)
        _check_action(stage["name"], action)


def _check_action(stage: str, action: ActionDeclaration) -> None:
    kind = action["actionTypeId"]
    where = f"Action {action['name']} of stage {stage}"
    known = ACTIONS.get((kind["category"], kind["provider"]))
    if known is None:
        names = ", ".join(f"{category} by {provider}" for category, provider in ACTIONS)
        raise ServiceError(
            f"{where}: {kind['category']} by {kind['provider']} is not done in the stand-in account; it has {names}",
            DECLARATION,
        )
    for member in ("region", "commands", "outputVariables", "environmentVariables"):
        if action.get(member):
            raise ServiceError(f"{where}: the stand-in account does not implement {member}", DECLARATION)
    required, optional, inputs, outputs = known
    given = action.get("configuration", {})
    if missing := sorted(required - given.keys()):
        raise ServiceError(f"{where} is missing required configuration {missing[0]!r}", DECLARATION)
    if extra := sorted(given.keys() - required - optional):
        raise ServiceError(f"{where} contains unknown configuration {extra[0]!r}", DECLARATION)
    ins, outs = action.get("inputArtifacts", []), action.get("outputArtifacts", [])
    for member, named, allowed in (("inputArtifacts", ins, inputs), ("outputArtifacts", outs, outputs)):
        count = len(named)
        if count not in allowed:
            raise ServiceError(
                f"{where} has {count} {member}, {allowed.start} to {allowed.stop - 1} are done", DECLARATION
            )
    _check_configuration(where, given, [each["name"] for each in ins])


def _check_configuration(where: str, given: Mapping[str, str], inputs: list[str]) -> None:
    if given.get("PollForSourceChanges", "false") != "false":
        raise ServiceError(f"{where}: the stand-in account does not poll; use an EventBridge rule", DECLARATION)
    if given.get("BatchEnabled", "false") != "false":
        raise ServiceError(f"{where}: the stand-in account has no batches of builds", DECLARATION)
    if given.get("OutputArtifactFormat", "CODE_ZIP") != "CODE_ZIP":
        raise ServiceError(f"{where}: the stand-in account has OutputArtifactFormat CODE_ZIP only", DECLARATION)
    if len(inputs) > 1 and given.get("PrimarySource") not in inputs:
        raise ServiceError(f"{where} has several inputs: PrimarySource must name one of them", DECLARATION)
    if "EnvironmentVariables" in given:
        try:
            names = [variable["name"] + variable["value"] for variable in json.loads(given["EnvironmentVariables"])]
        except (ValueError, TypeError, KeyError) as error:
            message = f"{where}: EnvironmentVariables must be a JSON list of name and value"
            raise ServiceError(message, DECLARATION) from error
        if not names:
            raise ServiceError(f"{where}: EnvironmentVariables is empty", DECLARATION)


def _check_inputs(stage: StageDeclaration, action: ActionDeclaration, made: set[str], namespaces: set[str]) -> None:
    where = f"Action {action['name']} of stage {stage['name']}"
    for artifact in action.get("inputArtifacts", []):
        if artifact["name"] not in made:
            raise ServiceError(f"{where}: no earlier action makes the artifact {artifact['name']}", STRUCTURE)
    for text in action.get("configuration", {}).values():
        for namespace, _ in VARIABLE.findall(text):
            if namespace not in namespaces:
                raise ServiceError(f"{where}: no earlier action has the namespace {namespace}", DECLARATION)


def orders(stage: StageDeclaration) -> Iterator[list[ActionDeclaration]]:
    """The stage's actions in the order they run; those of one run order run side by side."""
    for order in sorted({action.get("runOrder", 1) for action in stage["actions"]}):
        yield [action for action in stage["actions"] if action.get("runOrder", 1) == order]


def _unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ServiceError(f"Pipeline has more than one {what} named {name}", STRUCTURE)


def fill(text: str, variables: Mapping[str, Mapping[str, str]]) -> str:
    """``text`` with its ``#{namespace.name}`` filled in; raises KeyError for one that nothing has set."""
    return VARIABLE.sub(lambda match: variables[match[1]][match[2]], text)


def resolved_variables(
    pipeline: PipelineDeclaration, given: Sequence[PipelineVariableTypeDef]
) -> list[ResolvedVariable]:
    """The pipeline's variables with the values of this execution.

    Raises ServiceError for a value of no variable, and for a variable without one.
    """
    declared = {each["name"]: each.get("defaultValue") for each in pipeline.get("variables", [])}
    for each in given:
        if each["name"] not in declared:
            raise ServiceError(f"The pipeline has no variable {each['name']}")
        declared[each["name"]] = each["value"]
    resolved: list[ResolvedVariable] = []
    for name, value in declared.items():
        if value is None:
            raise ServiceError(f"The variable {name} has no value")
        resolved.append({"name": name, "resolvedValue": value})
    return resolved


def source_overrides(given: Sequence[SourceRevisionOverrideTypeDef]) -> dict[str, dict[str, str]]:
    """By source action: the value of each type of revision."""
    found: dict[str, dict[str, str]] = {}
    for each in given:
        found.setdefault(each["actionName"], {})[each["revisionType"]] = each["revisionValue"]
    return found
