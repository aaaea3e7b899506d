"""What CloudFormation keeps: templates as documents, stacks with their resources, change sets; times as ISO text.

Runs in the server process. A template comes from a user: `template.parse` has checked that there are resources and
that each has a type; what else stands in it is of the form below, or fails where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict


class DeclaredParameter(TypedDict, total=False):
    """A parameter of a template."""

    Type: str
    Default: object
    NoEcho: object
    Description: str
    AllowedValues: list[object]
    AllowedPattern: str
    MinValue: float | str
    MaxValue: float | str
    MinLength: int | str
    MaxLength: int | str
    ConstraintDescription: str


class DeclaredResource(TypedDict):
    """A resource of a template; its properties hold expressions."""

    Type: str
    Properties: NotRequired[object]
    Condition: NotRequired[str]
    DependsOn: NotRequired[str | list[str]]
    DeletionPolicy: NotRequired[str]


class DeclaredExport(TypedDict):
    """The name under which other stacks may import an output."""

    Name: object


class DeclaredOutput(TypedDict):
    """An output of a template."""

    Value: object
    Description: NotRequired[str]
    Condition: NotRequired[str]
    Export: NotRequired[DeclaredExport]


class TemplateDocument(TypedDict):
    """A template. A section that is there may still be empty (None)."""

    Resources: dict[str, DeclaredResource]
    Parameters: NotRequired[dict[str, DeclaredParameter] | None]
    Conditions: NotRequired[dict[str, object] | None]
    Mappings: NotRequired[Mapping[object, Mapping[object, Mapping[object, object]]]]
    Outputs: NotRequired[dict[str, DeclaredOutput] | None]
    Description: NotRequired[str]


class StackTag(TypedDict):
    """A tag, as CloudFormation and most services spell it."""

    Key: str
    Value: str


class StackOutput(TypedDict):
    """An output with its value."""

    OutputKey: str
    OutputValue: str
    Description: NotRequired[str]
    ExportName: NotRequired[str]


class Export(TypedDict):
    """An output that other stacks may import."""

    ExportingStackId: str
    Name: str
    Value: str


class StackEvent(TypedDict):
    """Something that happened to a stack or to one of its resources."""

    StackId: str
    EventId: str
    StackName: str
    LogicalResourceId: str
    PhysicalResourceId: str
    ResourceType: str
    Timestamp: str
    ResourceStatus: str
    ResourceStatusReason: NotRequired[str]


class StackResource(TypedDict):
    """A resource of a stack: the properties that it has, and what ``Fn::GetAtt`` may ask for."""

    PhysicalResourceId: str
    ResourceType: str
    Properties: Mapping[str, object]
    Attributes: Mapping[str, object]
    DeletionPolicy: str
    ResourceStatus: NotRequired[str]
    ResourceStatusReason: NotRequired[str | None]
    LastUpdatedTimestamp: NotRequired[str]


class StackRecord(TypedDict):
    """A stack. ``Replaced`` holds, during an update, the resources whose successors are there already."""

    StackId: str
    StackName: str
    CreationTime: str
    LastUpdatedTime: NotRequired[str]
    DeletionTime: NotRequired[str]
    StackStatus: str
    StackStatusReason: NotRequired[str | None]
    Template: str
    Parameters: dict[str, str]
    Tags: list[StackTag]
    Capabilities: list[str]
    DisableRollback: bool
    RoleARN: NotRequired[str]
    Outputs: list[StackOutput]
    Resources: dict[str, StackResource]
    Replaced: NotRequired[dict[str, StackResource]]
    Events: list[StackEvent]


class WantedStack(TypedDict):
    """What a request wants a stack to become, checked."""

    Template: str
    Parameters: dict[str, str]
    Tags: list[StackTag]
    Capabilities: list[str]
    OnFailure: str
    RoleARN: NotRequired[str]


class ChangeTarget(TypedDict):
    """What of a resource changes."""

    Attribute: str
    Name: str


class ChangeDetail(TypedDict):
    """One property that changes, as DescribeChangeSet says it."""

    Target: ChangeTarget
    Evaluation: str
    ChangeSource: str


class ChangeSetEntry(TypedDict):
    """What becomes of one resource, as DescribeChangeSet says it."""

    Action: str
    LogicalResourceId: str
    ResourceType: str
    PhysicalResourceId: NotRequired[str]
    Scope: NotRequired[list[str]]
    Replacement: NotRequired[str]
    Details: NotRequired[list[ChangeDetail]]


class StackChange(TypedDict):
    """A change of a change set."""

    Type: str
    ResourceChange: ChangeSetEntry


class ChangeSetRecord(TypedDict):
    """A change set; ``Kind`` is CREATE or UPDATE."""

    ChangeSetId: str
    ChangeSetName: str
    StackId: str
    StackName: str
    Description: str
    CreationTime: str
    Kind: str
    Wanted: WantedStack
    Changes: list[StackChange]
    Status: str
    StatusReason: NotRequired[str]
    ExecutionStatus: str
