"""What Step Functions answers about machines, their versions and aliases.

Runs in the server process. Every public method answers the action of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.exceptions import ResourceNotFound, StateMachineDoesNotExist, ValidationException

from local_account.base.arns import last_part, without_last
from local_account.base.replacements import extends
from local_account.stepfunctions.api import machines
from local_account.stepfunctions.api.aliases import check_routes, create_alias, no_such_resource
from local_account.stepfunctions.api.base import CheckedResponses, page_of
from local_account.stepfunctions.api.included import included
from local_account.stepfunctions.backend import CHANGES

if TYPE_CHECKING:
    from moto.stepfunctions.models import StateMachine, StateMachineAlias, StateMachineVersion


@extends
class MachineResponses(CheckedResponses):
    """The actions of machines."""

    def describe_state_machine(self) -> ActionResult:
        """DescribeStateMachine, also of a version."""
        machine = self.stepfunction_backend.describe_state_machine(machine_arn(self))
        return ActionResult(included(self, machines.described(machine)))

    def list_state_machines(self) -> ActionResult:
        """ListStateMachines, by name."""
        found = sorted(self.stepfunction_backend.state_machines, key=lambda machine: machine.name)
        return page_of(self, "stateMachines", found, _listed)

    def update_state_machine(self) -> ActionResult:
        """UpdateStateMachine: another revision where something changes, and a version where one is asked for."""
        changes = {name: self._get_param(member) for name, member in CHANGES.items()}
        publish, description = self._get_param("publish"), self._get_param("versionDescription")
        if description and not publish:
            raise ValidationException("Version description can only be set when publish is true")
        machine = self.stepfunction_backend.update_state_machine(machine_arn(self), **changes)
        answer: dict[str, object] = {"updateDate": machine.update_date}
        if revision := machines.revision_of(machine):
            answer["revisionId"] = revision
        if publish:
            answer["stateMachineVersionArn"] = machines.publish(machine, description).arn
        return ActionResult(answer)

    def publish_state_machine_version(self) -> ActionResult:
        """PublishStateMachineVersion; ConflictException where the revision is another one."""
        machine = self.stepfunction_backend.machine(machine_arn(self))
        machines.check_revision(machine, self._get_param("revisionId"))
        version = machines.publish(machine, self._get_param("description"))
        return ActionResult({"creationDate": version.creation_date, "stateMachineVersionArn": version.arn})

    def list_state_machine_versions(self) -> ActionResult:
        """ListStateMachineVersions, newest first."""
        machine = self.stepfunction_backend.machine(machine_arn(self))
        found = [machine.versions[number] for number in sorted(machine.versions, reverse=True)]
        return page_of(self, "stateMachineVersions", found, _listed_version)

    def delete_state_machine_version(self) -> ActionResult:
        """DeleteStateMachineVersion, which may be gone; ConflictException where an alias refers to it."""
        arn = self._get_param("stateMachineVersionArn")
        self.stepfunction_backend._validate_machine_arn(arn)
        if found := machines.version_named(self.stepfunction_backend.state_machines, arn):
            machines.delete_version(*found)
        return EmptyResult()

    def create_state_machine_alias(self) -> ActionResult:
        """CreateStateMachineAlias, which may be there; ConflictException where it is another one."""
        routes = self._get_param("routingConfiguration")
        machine = check_routes(self.stepfunction_backend.state_machines, routes)
        alias = create_alias(machine, self._get_param("name"), routes, self._get_param("description"))
        return ActionResult({"creationDate": alias.creation_date, "stateMachineAliasArn": alias.arn})

    def update_state_machine_alias(self) -> ActionResult:
        """UpdateStateMachineAlias; ResourceNotFound."""
        routes, description = self._get_param("routingConfiguration"), self._get_param("description")
        if routes is None and description is None:
            raise ValidationException("You must provide at least one of routingConfiguration or description")
        try:
            alias = self.stepfunction_backend.describe_state_machine_alias(self._get_param("stateMachineAliasArn"))
        except (ResourceNotFound, StateMachineDoesNotExist) as error:
            raise no_such_resource() from error
        if routes is not None:
            check_routes(self.stepfunction_backend.state_machines, routes)
        alias.update(description=description, routing_configuration=routes)
        return ActionResult({"updateDate": alias.update_date})

    def delete_state_machine_alias(self) -> ActionResult:
        """DeleteStateMachineAlias, which may be gone."""
        arn = self._get_param("stateMachineAliasArn")
        source, name = without_last(arn), last_part(arn)
        self.stepfunction_backend._validate_machine_arn(source)
        for machine in self.stepfunction_backend.state_machines:
            if machine.arn == source:
                machine.aliases.pop(name, None)
        return EmptyResult()

    def list_state_machine_aliases(self) -> ActionResult:
        """ListStateMachineAliases of a machine, or of a version; oldest first."""
        arn = machine_arn(self)
        version = machines.version_named(self.stepfunction_backend.state_machines, arn)
        machine = version[0] if version else self.stepfunction_backend.machine(arn)
        found = [alias for alias in machine.aliases.values() if version is None or _routes_to(alias, arn)]
        return page_of(self, "stateMachineAliases", found, _listed_alias)


def machine_arn(request: CheckedResponses) -> str:
    """The ARN of the machine that a request names."""
    return str(request._get_param("stateMachineArn"))


def _listed(machine: StateMachine) -> dict[str, object]:
    return {
        "creationDate": machine.creation_date,
        "name": machine.name,
        "stateMachineArn": machine.arn,
        "type": machine.type,
    }


def _listed_version(version: StateMachineVersion) -> dict[str, object]:
    return {"creationDate": version.creation_date, "stateMachineVersionArn": version.arn}


def _listed_alias(alias: StateMachineAlias) -> dict[str, object]:
    return {"creationDate": alias.creation_date, "stateMachineAliasArn": alias.arn}


def _routes_to(alias: StateMachineAlias, arn: str) -> bool:
    return any(route["stateMachineVersionArn"] == arn for route in alias.routing_configuration)
