"""Checks of a state machine's definition before it is accepted, worded as Step Functions words them.

Runs in the server process; reads the definition's JSON only. moto's parser checks the grammar; this checks what it
lets pass: transitions that lead nowhere, states that nothing leads to, names used twice, and what this account would
not run (it refuses that when the machine is created, not when it runs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping

from local_account.base.arns import last_part
from local_account.stepfunctions.language.encoding import json_fault
from local_account.stepfunctions.language.queries import LANGUAGES, Inherited, query_problems

DEFINITION_LIMIT_BYTES = 1024 * 1024  # step-functions/latest/dg/service-quotas.html
NAME_LIMIT = 80
TYPES = {"Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"}
ENDS = {"Choice", "Succeed", "Fail"}  # these have neither Next nor End
READERS = ("arn:aws:states:::s3:getObject", "arn:aws:states:::s3:listObjectsV2")
WRITER = "arn:aws:states:::s3:putObject"
INPUT_TYPES = ("JSON", "JSONL", "CSV")
LABEL_LIMIT = 40
# What SageMaker's integrations start and can wait for, and how the API calls it.
JOBS = {
    "createTrainingJob": "TrainingJob",
    "createProcessingJob": "ProcessingJob",
    "createTransformJob": "TransformJob",
    "createHyperParameterTuningJob": "HyperParameterTuningJob",
}
State = Mapping[str, object]
"""A state's JSON, of which nothing is known before it was checked."""
Machine = Mapping[str, object]
"""A definition's JSON, or that of a branch or an item processor."""


def problems(definition: str, kind: str = "STANDARD") -> list[str]:
    """Everything that is wrong with the definition; empty when it can run."""
    if len(definition.encode()) > DEFINITION_LIMIT_BYTES:
        return [f"SCHEMA_VALIDATION_FAILED: The definition is larger than {DEFINITION_LIMIT_BYTES} bytes"]
    try:
        machine = json.loads(definition) if definition.strip() else None
    except ValueError as error:
        return [f"INVALID_JSON_DESCRIPTION: {json_fault(definition, error)}{_source(definition)}"]
    except RecursionError:
        return ["INVALID_JSON_DESCRIPTION: The definition is nested too deeply"]
    if not isinstance(machine, dict):
        return ["SCHEMA_VALIDATION_FAILED: Definition must be a valid JSON object"]
    names: list[str] = []
    language = machine.get("QueryLanguage", "JSONPath")
    if not is_one_of(language, LANGUAGES):
        return [f"SCHEMA_VALIDATION_FAILED: 'QueryLanguage' is one of {LANGUAGES}, not {language!r} at /QueryLanguage"]
    whole = Inherited(str(language), str(language))
    found = list(_check_machine(machine, "", names, whole))
    if kind == "EXPRESS":
        found += _not_express(machine)
    found += [
        f"DUPLICATE_STATE_NAME: Duplicate State name: {name}"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    return found


def _source(definition: str) -> str:
    """Where the parser of the service stands after the word that is no JSON."""
    word = re.match(r"\s*[A-Za-z_]\w*", definition)
    if word is None:
        return ""
    return f'\n at [Source: (String)"{definition}"; line: 1, column: {word.end() + 1}]'


def _not_express(machine: Machine) -> Iterator[str]:
    """What Standard workflows alone do: step-functions/latest/dg/choosing-workflow-type.html."""
    for name, state in states_of(machine):
        resource = str(state.get("Resource", ""))
        where = f"/States/{name}/Resource"
        told = "SCHEMA_VALIDATION_FAILED: Express state machine does not support"
        if resource.endswith((".sync", ".sync:2", ".waitForTaskToken")):
            yield f"{told} '.{resource.rpartition('.')[2]}' service integration  at {where}"
        elif ":activity:" in resource:
            yield f"{told} activities at {where}"
        if is_distributed(state):
            yield f"SCHEMA_VALIDATION_FAILED: Express state machine does not support Distributed Map in state {name}"


def is_one_of(value: object, known: Collection[str]) -> bool:
    """Whether a member of a definition, which may be any JSON, is one of the words that are known."""
    return isinstance(value, str) and value in known


def members_of(value: object) -> Mapping[str, object]:
    """The members of a JSON object; none of anything else."""
    return value if isinstance(value, dict) else {}


def is_distributed(state: State) -> bool:
    """Whether this is a Map whose items are child executions."""
    return _processor_config(state).get("Mode") == "DISTRIBUTED"


def _processor_config(state: State) -> Mapping[str, object]:
    return members_of(members_of(state.get("ItemProcessor")).get("ProcessorConfig"))


def states_of(machine: Machine) -> Iterator[tuple[str, State]]:
    """Every state by its name, which is unique in the whole machine."""
    for name, state in members_of(machine.get("States")).items():
        if isinstance(state, dict):
            yield name, state
            for _, inner in _inner_machines(state):
                yield from states_of(inner)


def _check_machine(machine: Machine, path: str, names: list[str], language: Inherited) -> Iterator[str]:
    states = machine.get("States")
    if absent := [name for name in ("States", "StartAt") if name not in machine]:
        yield f"SCHEMA_VALIDATION_FAILED: These fields are required: [{', '.join(absent)}] at {path or '/'}"
        return
    if not isinstance(states, dict) or not states:
        yield f"SCHEMA_VALIDATION_FAILED: A non-empty object 'States' is required at {path or '/'}"
        return
    start = machine.get("StartAt")
    if not isinstance(start, str):
        yield f"SCHEMA_VALIDATION_FAILED: 'StartAt' is a string at {path or '/'}"
    elif start not in states:
        yield f"MISSING_TRANSITION_TARGET: Missing 'StartAt' target: {start} at {path}/StartAt"
    for name, state in states.items():
        names.append(name)
        where = f"{path}/States/{name}"
        if not isinstance(state, dict):
            yield f"SCHEMA_VALIDATION_FAILED: A state is a JSON object at {where}"
            return
        yield from _check_state(name, state, states, where)
        yield from query_problems(name, state, language, where)
        for inner_path, inner in _inner_machines(state):
            yield from _check_machine(inner, f"{where}/{inner_path}", names, language.within(state))
    if isinstance(start, str) and start in states:
        reachable = _reachable(start, states)
        for name in states:
            if name not in reachable:
                yield f'MISSING_TRANSITION_TARGET: State "{name}" is not reachable. at {path}/States/{name}'


def _check_state(name: str, state: State, states: Machine, where: str) -> Iterator[str]:
    if len(name) > NAME_LIMIT:
        yield f"SCHEMA_VALIDATION_FAILED: The state's name is longer than {NAME_LIMIT} characters at {where}"
    kind = state.get("Type")
    if not is_one_of(kind, TYPES):
        yield f"SCHEMA_VALIDATION_FAILED: Value {kind!r} is not a state type; one of {sorted(TYPES)} at {where}/Type"
        return
    for target_path, target in _targets(state):
        if target not in states:
            member = target_path.rsplit("/", 1)[-1]
            yield f"MISSING_TRANSITION_TARGET: Missing '{member}' target: {target} at {where}/{target_path}"
    if kind not in ENDS and "Next" not in state and state.get("End") is not True:
        yield f"SCHEMA_VALIDATION_FAILED: One of 'Next' and 'End' is required in state {name} at {where}"
    if kind == "Choice" and not state.get("Choices"):
        yield f"SCHEMA_VALIDATION_FAILED: A non-empty list 'Choices' is required in state {name} at {where}/Choices"
    if kind == "Task":
        yield from _check_task(name, state, where)
    if kind == "Map":
        yield from _check_map(name, state, where)


def _check_task(name: str, state: State, where: str) -> Iterator[str]:
    resource = state.get("Resource")
    if "Resource" not in state:
        yield f"SCHEMA_VALIDATION_FAILED: These fields are required: [Resource] at {where}"
    elif not isinstance(resource, str) or not resource:
        yield f"SCHEMA_VALIDATION_FAILED: 'Resource' is an ARN in state {name} at {where}/Resource"
    elif resource.endswith((".sync", ".sync:2")) and not _is_waited_for(resource):
        yield (
            f"The stand-in account does not wait for jobs of other services: {resource} in state {name} "
            f"at {where}/Resource. Start the job and poll it."
        )


def _is_waited_for(resource: str) -> bool:
    """Whether the end of what the resource starts is waited for: a job of SageMaker, or an execution."""
    action = last_part(resource).removesuffix(".sync")
    return ":states:::states:" in resource or (":states:::sagemaker:" in resource and action in JOBS)


def _check_map(name: str, state: State, where: str) -> Iterator[str]:
    processor = state.get("ItemProcessor") or state.get("Iterator")
    if not isinstance(processor, dict):
        yield f"SCHEMA_VALIDATION_FAILED: 'ItemProcessor' is required in state {name} at {where}/ItemProcessor"
        return
    if is_distributed(state):
        yield from _check_distributed(name, state, where)
    elif "ItemBatcher" in state:
        yield f"SCHEMA_VALIDATION_FAILED: 'ItemBatcher' needs the mode DISTRIBUTED in state {name} at {where}"


def _check_distributed(name: str, state: State, where: str) -> Iterator[str]:
    kind = _processor_config(state).get("ExecutionType")
    if not is_one_of(kind, {"STANDARD", "EXPRESS"}):
        yield f"SCHEMA_VALIDATION_FAILED: 'ExecutionType' is STANDARD or EXPRESS, not {kind!r}, in {name} at {where}"
    if kind == "EXPRESS":
        yield from _not_express(members_of(state["ItemProcessor"]))
    if state.get("ItemReader") is not None:
        yield from _check_reader(members_of(state["ItemReader"]), where)
    if state.get("ResultWriter") is not None:
        yield from _check_writer(members_of(state["ResultWriter"]), where)
    percentage = state.get("ToleratedFailurePercentage", 0)
    if isinstance(percentage, int | float) and not 0 <= percentage <= 100:
        yield f"SCHEMA_VALIDATION_FAILED: 'ToleratedFailurePercentage' is from 0 to 100 at {where}"
    if len(str(state.get("Label", ""))) > LABEL_LIMIT:
        yield f"SCHEMA_VALIDATION_FAILED: 'Label' is longer than {LABEL_LIMIT} characters at {where}/Label"


def _check_reader(reader: Mapping[str, object], where: str) -> Iterator[str]:
    config = members_of(reader.get("ReaderConfig"))
    if reader.get("Resource") not in READERS:
        yield f"SCHEMA_VALIDATION_FAILED: 'Resource' is one of {READERS} at {where}/ItemReader"
    if config.get("InputType", "JSON") not in INPUT_TYPES:
        yield (
            f"The stand-in account reads items of the types {', '.join(INPUT_TYPES)}, not {config['InputType']} "
            f"at {where}/ItemReader/ReaderConfig/InputType"
        )
    if config.get("Transformation", "NONE") != "NONE":
        yield f"The stand-in account lists objects and does not read them at {where}/ItemReader/ReaderConfig"
    if config.get("CSVHeaderLocation") == "GIVEN" and not config.get("CSVHeaders"):
        yield f"SCHEMA_VALIDATION_FAILED: 'CSVHeaders' are required at {where}/ItemReader/ReaderConfig"


def _check_writer(writer: Mapping[str, object], where: str) -> Iterator[str]:
    if not writer.keys() & {"Resource", "WriterConfig"}:
        yield f"SCHEMA_VALIDATION_FAILED: 'Resource' or 'WriterConfig' is required at {where}/ResultWriter"
    if writer.get("Resource", WRITER) != WRITER:
        yield f"SCHEMA_VALIDATION_FAILED: 'Resource' is {WRITER} at {where}/ResultWriter"


def _inner_machines(state: State) -> Iterator[tuple[str, Machine]]:
    branches = state.get("Branches")
    if state.get("Type") == "Parallel" and isinstance(branches, list):
        for index, branch in enumerate(branches):
            if isinstance(branch, dict):
                yield f"Branches[{index}]", branch
    if state.get("Type") == "Map":
        for member in ("ItemProcessor", "Iterator"):
            if isinstance(processor := state.get(member), dict):
                yield member, processor


def _targets(state: State) -> Iterator[tuple[str, str]]:
    for member in ("Next", "Default"):
        if isinstance(target := state.get(member), str):
            yield member, target
    for member in ("Choices", "Catch"):
        rules = state.get(member)
        for index, rule in enumerate(rules if isinstance(rules, list) else []):
            if isinstance(rule, dict) and isinstance(rule.get("Next"), str):
                yield f"{member}[{index}]/Next", rule["Next"]


def _reachable(start: str, states: Machine) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in states and name not in reached:
            reached.add(name)
            waiting += [target for _, target in _targets(members_of(states[name]))]
    return reached
