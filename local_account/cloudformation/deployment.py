"""A stack on its way to a template: one resource after the other is made, changed, replaced or removed.

Runs in the server process, in the thread of an operation. Events are AWS's: a resource that begins to exist has a
second CREATE_IN_PROGRESS with its physical id, and from then on a rollback removes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial

from local_account.base.arns import parse_arn
from local_account.cloudformation.language.errors import InvalidTemplateError
from local_account.cloudformation.language.expressions import TemplateScope
from local_account.cloudformation.language.references import creation_order, references
from local_account.cloudformation.language.schemas import schema_of
from local_account.cloudformation.language.values import check_properties
from local_account.cloudformation.record import outputs
from local_account.cloudformation.records import DeclaredResource, StackResource
from local_account.cloudformation.removal import Course, ShrinkingStack
from local_account.cloudformation.resources.base import Made
from local_account.cloudformation.resources.kinds import is_known, is_replaced, kind_of
from local_account.cloudformation.resources.values import Properties, ResourceError
from local_account.cloudformation.template import parse
from local_account.protocol.records import change

log = logging.getLogger(__name__)

_REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."
_INITIATED = "Resource creation Initiated"


class FailedResourceError(ResourceError):
    """A resource that could not be made or changed, as the stack's own event says it."""


class DeployingStack(ShrinkingStack):
    """A stack and the steps by which it becomes what its record wants."""

    def bring_to_template(self, course: Course) -> None:
        """Make, change and replace resources until they are what the record's template wants.

        Raises InvalidTemplateError for what cannot be evaluated, ResourceError for a resource that failed.
        """
        document = parse(self.record["Template"])
        scope = self.current_scope(document)
        wanted = scope.active_resources()
        _check_attributes(scope, wanted)
        self._check_removals(course, wanted)
        for logical in creation_order(wanted):
            self._bring(course, logical, wanted[logical], scope.properties(wanted[logical]))
        self._check_exports(scope)
        self.record["Outputs"] = outputs(scope)

    def _check_removals(self, course: Course, wanted: Collection[str]) -> None:
        for logical, resource in self.resources.items():
            denied = "" if logical in wanted else course.policy.refusal("Delete", logical, resource["ResourceType"])
            if denied:
                self.mark(logical, "UPDATE_FAILED", denied)
                raise FailedResourceError(f"The following resource(s) failed to update: [{logical}]")

    def _check_exports(self, scope: TemplateScope) -> None:
        taken = {
            name: each for name, each in self._exports().items() if each["ExportingStackId"] != self.record["StackId"]
        }
        for output in outputs(scope):
            name = output.get("ExportName")
            if name in taken:
                owner = parse_arn(taken[name]["ExportingStackId"]).steps[1]
                raise InvalidTemplateError(f"Export with name {name} is already exported by stack {owner}")

    def _bring(self, course: Course, logical: str, declared: DeclaredResource, properties: Properties) -> None:
        current = self.resources.get(logical)
        policies = _policies(declared)
        if current is None or current["ResourceType"] != declared["Type"]:
            self._create_one(course, logical, declared["Type"], properties, policies)
            if current:
                self.record.setdefault("Replaced", {})[logical] = current
            return
        failed = current.get("ResourceStatus", "").endswith("FAILED")
        if current["Properties"] == properties and not failed:
            change(current, policies)
        elif is_replaced(declared["Type"], current["Properties"], properties):
            self._check_policy(course, "Replace", logical)
            self._replace_one(course, logical, current, properties, policies)
        else:
            self._check_policy(course, "Modify", logical)
            change(current, policies)
            self._update_one(course, logical, properties)

    def _check_policy(self, course: Course, action: str, logical: str) -> None:
        if denied := course.policy.refusal(action, logical, self.resources[logical]["ResourceType"]):
            self.mark(logical, "UPDATE_FAILED", denied)
            raise FailedResourceError(f"The following resource(s) failed to update: [{logical}]")

    def _create_one(
        self, course: Course, logical: str, kind_name: str, properties: Properties, policies: Mapping[str, str]
    ) -> None:
        self.resources[logical] = _fresh(kind_name, properties, policies)
        course.made.add(logical)
        self.mark(logical, "CREATE_IN_PROGRESS")
        self._step(logical, "CREATE", partial(self._make, course, logical, "CREATE"))

    def _replace_one(
        self,
        course: Course,
        logical: str,
        current: StackResource,
        properties: Properties,
        policies: Mapping[str, str],
    ) -> None:
        _refuse_same_name(current, properties)
        successor = _fresh(current["ResourceType"], properties, policies)
        self.resources[logical] = {**successor, "PhysicalResourceId": current["PhysicalResourceId"]}
        self.mark(logical, "UPDATE_IN_PROGRESS", _REPLACING)
        self.resources[logical]["PhysicalResourceId"] = ""
        try:
            self._step(logical, "UPDATE", partial(self._make, course, logical, "UPDATE"))
        except ResourceError:
            if self.resources[logical]["PhysicalResourceId"]:
                self.record.setdefault("Abandoned", {})[logical] = self.resources[logical]
            self.resources[logical] = current
            raise
        old: StackResource = {**current}
        old["UpdateReplacePolicy"] = policies["UpdateReplacePolicy"]
        self.record.setdefault("Replaced", {})[logical] = old

    def _make(self, course: Course, logical: str, verb: str) -> None:
        resource = self.resources[logical]
        kind = kind_of(resource["ResourceType"])
        if problem := check_properties(logical, resource["ResourceType"], resource["Properties"]):
            raise ResourceError(problem)
        place = self._place(logical, course, partial(self._begun, logical, verb))
        made = kind.create(place, kind.tagged(resource["Properties"], self.record["Tags"]))
        place.begun(made.physical_id)
        self._made(logical, made)
        kind.wait(place, {**resource["Properties"], **made.attributes})

    def _begun(self, logical: str, verb: str, physical_id: str) -> None:
        """Once: the resource exists from now on."""
        if not self.resources[logical]["PhysicalResourceId"]:
            self.resources[logical]["PhysicalResourceId"] = physical_id
            self.mark(logical, f"{verb}_IN_PROGRESS", _INITIATED)

    def _update_one(self, course: Course, logical: str, properties: Properties) -> None:
        resource = self.resources[logical]
        old = resource["Properties"]
        # From here on a rollback has to undo what these properties say.
        resource["Properties"] = properties
        self.mark(logical, "UPDATE_IN_PROGRESS")
        kind, place = kind_of(resource["ResourceType"]), self._place(logical, course)

        def step() -> None:
            if problem := check_properties(logical, resource["ResourceType"], properties):
                raise ResourceError(problem)
            made = kind.update(place, resource["PhysicalResourceId"], old, properties)
            if made.physical_id != resource["PhysicalResourceId"]:  # it is another one, and the first is to go
                self.record.setdefault("Replaced", {})[logical] = {**resource, "Properties": old}
            self._made(logical, made)
            kind.wait(place, {**properties, **resource["Attributes"]})

        self._step(logical, "UPDATE", step)

    def _step(self, logical: str, verb: str, step: Callable[[], object]) -> None:
        reason = self.attempt(step)
        if reason is not None:
            self.mark(logical, f"{verb}_FAILED", reason)
            raise FailedResourceError(f"The following resource(s) failed to {verb.lower()}: [{logical}]")
        self.mark(logical, f"{verb}_COMPLETE")

    def _made(self, logical: str, made: Made) -> None:
        self.resources[logical] |= {"PhysicalResourceId": made.physical_id, "Attributes": made.attributes}


def _fresh(kind_name: str, properties: Properties, policies: Mapping[str, str]) -> StackResource:
    return {
        "PhysicalResourceId": "",
        "ResourceType": kind_name,
        "Properties": properties,
        "Attributes": {},
        "DeletionPolicy": policies["DeletionPolicy"],
        "UpdateReplacePolicy": policies["UpdateReplacePolicy"],
    }


def _policies(declared: DeclaredResource) -> dict[str, str]:
    return {
        "DeletionPolicy": declared.get("DeletionPolicy", "Delete"),
        "UpdateReplacePolicy": declared.get("UpdateReplacePolicy", "Delete"),
    }


def _refuse_same_name(current: StackResource, properties: Properties) -> None:
    name = kind_of(current["ResourceType"]).name
    if name and properties.get(name) and properties[name] == current["Properties"].get(name):
        raise ResourceError(
            "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
            f"Rename {properties[name]} and update the stack again."
        )


def _check_attributes(scope: TemplateScope, wanted: Mapping[str, DeclaredResource]) -> None:
    """Raises InvalidTemplateError for a Fn::GetAtt of an attribute that the type does not have."""
    active = {name: output for name, output in (scope.document.get("Outputs") or {}).items()
              if "Condition" not in output or scope.condition(output["Condition"])}  # fmt: skip
    blocks: Mapping[str, Mapping[str, object]] = {
        "Resources": {name: {"Properties": each.get("Properties") or {}} for name, each in wanted.items()},
        "Outputs": active,
    }
    for each in references(blocks):
        if each.kind != "GetAtt" or not each.attribute or each.name not in wanted:
            continue
        kind = wanted[each.name]["Type"]
        known = schema_of(kind)
        if (
            known
            and not (is_known(kind) and kind_of(kind).has_own_attributes)
            and not known.has_attribute(each.attribute)
        ):
            raise InvalidTemplateError(
                f"[Error] {each.path}: Resource type {kind} does not support attribute {{{each.attribute}}}"
            )
