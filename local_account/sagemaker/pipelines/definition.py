"""A pipeline definition: read, checked, and put in order.

Pure: text in, ``Definition`` out. What cannot run is refused with a message that names the step, when the pipeline is
created, not when it runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_account.protocol.actions import Json
from local_account.sagemaker.pipelines.checks import InAwsWordsError, check_step
from local_account.sagemaker.pipelines.documents import (
    ELSEWHERE,
    STEP_TYPES,
    PipelineStep,
    StepDocument,
    misshapen_member,
    own_document,
)
from local_account.sagemaker.pipelines.expressions import PipelineExpressionError, references

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ParameterTypeDef

VERSION = "2020-12-01"
_MEMBERS = {"Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps"}
_OF_A_PARAMETER = {"Name", "Type", "DefaultValue", "EnumValues"}
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
}


class DefinitionError(Exception):
    """A definition that cannot run."""


@dataclass(frozen=True)
class PipelineParameter:
    """A pipeline parameter; ``default`` is None when every execution must give it."""

    name: str
    type: str
    default: Json
    choices: tuple[Json, ...]

    def parse(self, text: str) -> Json:
        """The value an execution gives, in the parameter's type; raises DefinitionError."""
        try:
            value: Json = text
            if self.type == "Integer":
                value = int(text)
            elif self.type == "Float":
                value = float(text)
            elif self.type == "Boolean":
                value = {"true": True, "false": False}[text.lower()]
        except (ValueError, KeyError) as error:
            raise DefinitionError(f"Parameter {self.name!r} expects {self.type}, got {text!r}.") from error
        if self.choices and value not in self.choices:
            raise DefinitionError(f"Parameter {self.name!r} must be one of {list(self.choices)}, got {text!r}.")
        return value


@dataclass(frozen=True)
class Definition:
    """A definition that can run: parameters and all steps, those inside conditions too, in a valid order."""

    parameters: Mapping[str, PipelineParameter]
    steps: Mapping[str, PipelineStep]
    experiment: Json = None
    """PipelineExperimentConfig."""

    def values(self, given: Iterable[ParameterTypeDef]) -> dict[str, Json]:
        """The parameters of an execution; raises DefinitionError for unknown, missing or wrong ones."""
        given = list(given)
        unknown = sorted({p["Name"] for p in given} - self.parameters.keys())
        if unknown:
            known = ", ".join(self.parameters) or "none"
            raise DefinitionError(f"The pipeline has no parameter {', '.join(map(repr, unknown))}; it has: {known}.")
        values: dict[str, Json] = {n: p.default for n, p in self.parameters.items() if p.default is not None}
        values.update({p["Name"]: self.parameters[p["Name"]].parse(p.get("Value", "")) for p in given})
        missing = sorted(self.parameters.keys() - values.keys())
        if missing:
            names = ", ".join(map(repr, missing))
            raise DefinitionError(f"Parameter {names} has no default value: give it in PipelineParameters.")
        return values


def parse(text: str) -> Definition:
    """Read and check a definition; raises DefinitionError."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DefinitionError(f"The pipeline definition is not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.get("Version") != VERSION:
        raise DefinitionError(f"The pipeline definition must be an object with Version {VERSION!r}.")
    if unknown := document.keys() - _MEMBERS:
        raise DefinitionError(f"The pipeline definition has the unknown member {min(unknown)!r}.")
    if document.get("MlflowConfig") is not None:  # null is what version 3 of the SageMaker SDK writes
        raise DefinitionError("MlflowConfig must be left out or null: the stand-in account has no MLflow app.")
    steps = document.get("Steps")
    if not isinstance(steps, list) or not steps:
        raise DefinitionError("The pipeline definition needs a list Steps with at least one step.")
    parameters = _parameters(document.get("Parameters") or [])
    found: dict[str, PipelineStep] = {}
    for step in _steps(steps, None):
        if step.name in found:
            raise DefinitionError(f"Step {step.name!r}: the name occurs twice.")
        found[step.name] = step
    for step in found.values():
        try:
            check_step(step, found, {name: parameter.type for name, parameter in parameters.items()})
        except InAwsWordsError as error:
            raise DefinitionError(f"{error}.") from error
        except PipelineExpressionError as error:
            raise DefinitionError(f"Step {step.name!r}: {error}.") from error
    return Definition(parameters, _in_order(found), document.get("PipelineExperimentConfig"))


def _parameters(documents: object) -> dict[str, PipelineParameter]:
    parameters: dict[str, PipelineParameter] = {}
    if not isinstance(documents, list) or not all(isinstance(document, dict) for document in documents):
        raise DefinitionError(f"Parameters must be a list of objects, got {documents!r}.")
    for document in documents:
        name, kind = document.get("Name"), document.get("Type")
        if not isinstance(kind, str) or kind not in _PARAMETER_TYPES or not isinstance(name, str) or name in parameters:
            expected = f"a name of its own and a Type out of {', '.join(_PARAMETER_TYPES)}"
            raise DefinitionError(f"Parameter {name!r} needs {expected}, got {document!r}.")
        if unknown := document.keys() - _OF_A_PARAMETER:
            raise DefinitionError(f"Parameter {name!r} has the unknown member {min(unknown)!r}.")
        default = document.get("DefaultValue")
        good = isinstance(default, _PARAMETER_TYPES[kind]) and (isinstance(default, bool) == (kind == "Boolean"))
        if default is not None and not good:
            raise DefinitionError(f"Parameter {name!r}: DefaultValue must be of type {kind}, got {default!r}.")
        parameters[name] = PipelineParameter(name, kind, default, tuple(_choices(document)))
    return parameters


def _choices(document: dict[str, Json]) -> list[Json]:
    choices = document.get("EnumValues") or []
    if not isinstance(choices, list):
        raise DefinitionError(f"Parameter {document['Name']!r}: EnumValues must be a list, got {choices!r}.")
    return choices


def _steps(documents: object, branch: tuple[str, bool] | None) -> Iterator[PipelineStep]:
    """All steps, a condition before those inside it."""
    if not isinstance(documents, list):
        raise DefinitionError(f"Expected a list of steps, got {documents!r}.")
    for position, document in enumerate(documents):
        name = document.get("Name") if isinstance(document, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DefinitionError(f"Step {position + 1} needs a Name of letters, digits, - and _, got {name!r}.")
        kind = document.get("Type")
        if not isinstance(kind, str) or kind not in STEP_TYPES:
            known = ", ".join(STEP_TYPES)
            why = f" ({ELSEWHERE[str(kind)]})" if str(kind) in ELSEWHERE else ""
            raise DefinitionError(f"Step {name!r} has the type {kind!r}{why}; the stand-in account runs: {known}.")
        if problem := misshapen_member(document):
            raise DefinitionError(f"Step {name!r}: {problem}.")
        arguments = document.get("Arguments") or {}
        yield PipelineStep(name, kind, document, _needs(name, document, branch), branch)
        if kind == "Condition":
            yield from _steps(arguments.get("IfSteps") or [], (name, True))
            yield from _steps(arguments.get("ElseSteps") or [], (name, False))


def _needs(name: str, document: StepDocument, branch: tuple[str, bool] | None) -> frozenset[str]:
    depends_on = document.get("DependsOn") or []
    try:
        referred = {r.name for r in references(own_document(document)) if r.kind == "Steps"}
    except PipelineExpressionError as error:
        raise DefinitionError(f"Step {name!r}: {error}.") from error
    return frozenset(referred | set(depends_on) | ({branch[0]} if branch else set()))


def _in_order(steps: dict[str, PipelineStep]) -> dict[str, PipelineStep]:
    """The steps so that each comes after what it needs; raises DefinitionError when they wait for each other."""
    ordered: dict[str, PipelineStep] = {}
    waiting = dict(steps)
    while waiting:
        ready = [step for step in waiting.values() if step.needs <= ordered.keys()]
        if not ready:
            raise DefinitionError(f"The steps {', '.join(map(repr, waiting))} wait for each other (a cycle).")
        for step in ready:
            ordered[step.name] = waiting.pop(step.name)
    return ordered
