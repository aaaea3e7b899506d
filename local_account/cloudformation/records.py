"""What CloudFormation keeps: templates as documents, stacks with their resources, change sets; times as ISO text.

Runs in the server process. A template comes from a user: `template.parse` has checked that there are resources and
that each has a type; what else stands in it is of the form below, or fails where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from local_account.cloudformation.drift.records import ResourceDrift, StackDrift


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
    UpdateReplacePolicy: NotRequired[str]
    Metadata: NotRequired[object]


class DeclaredAssertion(TypedDict):
    """What has to hold of the parameters."""

    Assert: object
    AssertDescription: NotRequired[str]


class DeclaredRule(TypedDict):
    """Assertions, and when they are made."""

    Assertions: list[DeclaredAssertion]
    RuleCondition: NotRequired[object]


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
    Mappings: NotRequired[Mapping[str, Mapping[str, Mapping[str, object]]] | None]
    Rules: NotRequired[dict[str, DeclaredRule] | None]
    Metadata: NotRequired[object]
    AWSTemplateFormatVersion: NotRequired[str]
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
    ResourceProperties: NotRequired[str]
    ClientRequestToken: NotRequired[str]


class RollbackTrigger(TypedDict):
    """An alarm that takes an operation back."""

    Arn: str
    Type: str


class RollbackConfiguration(TypedDict, total=False):
    """Alarms that are watched during an operation and so many minutes after it."""

    RollbackTriggers: list[RollbackTrigger]
    MonitoringTimeInMinutes: int


class StackResource(TypedDict):
    """A resource of a stack: the properties that it has, and what ``Fn::GetAtt`` may ask for."""

    PhysicalResourceId: str
    ResourceType: str
    Properties: Mapping[str, object]
    Attributes: Mapping[str, object]
    DeletionPolicy: str
    UpdateReplacePolicy: NotRequired[str]
    ResourceStatus: NotRequired[str]
    ResourceStatusReason: NotRequired[str | None]
    LastUpdatedTimestamp: NotRequired[str]
    Drift: NotRequired[ResourceDrift]


class StackRecord(TypedDict):
    """A stack. ``Replaced`` holds, during an update, the resources whose successors are there already,
    ``Abandoned`` what was made of successors that failed. ``Gone`` are the resources that a rollback
    or a deletion removed, ``Stored`` the values of Parameter Store that the
    parameters name. ``Original`` is the template before its transforms, empty where it has none.
    """

    StackId: str
    StackName: str
    CreationTime: str
    LastUpdatedTime: NotRequired[str]
    DeletionTime: NotRequired[str]
    StackStatus: str
    StackStatusReason: NotRequired[str | None]
    Template: str
    Original: NotRequired[str]
    Parameters: dict[str, str]
    Tags: list[StackTag]
    Capabilities: list[str]
    DisableRollback: bool
    RoleARN: NotRequired[str]
    Stored: NotRequired[dict[str, str]]
    ChangeSetId: NotRequired[str]
    ClientRequestToken: NotRequired[str]
    EnableTerminationProtection: NotRequired[bool]
    NotificationARNs: NotRequired[list[str]]
    RollbackConfiguration: NotRequired[RollbackConfiguration]
    StackPolicy: NotRequired[str]
    TimeoutInMinutes: NotRequired[int]
    Outputs: list[StackOutput]
    Resources: dict[str, StackResource]
    Drift: NotRequired[StackDrift]
    Replaced: NotRequired[dict[str, StackResource]]
    Abandoned: NotRequired[dict[str, StackResource]]
    Gone: NotRequired[dict[str, StackResource]]
    Events: list[StackEvent]


class WantedStack(TypedDict):
    """What a request wants a stack to become, checked. What is not there stays as the stack has it."""

    Template: str
    Original: NotRequired[str]
    Parameters: dict[str, str]
    Stored: NotRequired[dict[str, str]]
    Tags: list[StackTag]
    Capabilities: list[str]
    OnFailure: str
    RoleARN: NotRequired[str]
    ChangeSetId: NotRequired[str]
    ClientRequestToken: NotRequired[str]
    EnableTerminationProtection: NotRequired[bool]
    NotificationARNs: NotRequired[list[str]]
    RetainExceptOnCreate: NotRequired[bool]
    RollbackConfiguration: NotRequired[RollbackConfiguration]
    StackPolicy: NotRequired[str]
    StackPolicyDuringUpdate: NotRequired[str]
    TimeoutInMinutes: NotRequired[int]


class ChangeTarget(TypedDict):
    """What of a resource changes; values are told if DescribeChangeSet asks for them."""

    Attribute: str
    Name: NotRequired[str]
    RequiresRecreation: str
    Path: NotRequired[str]
    BeforeValue: NotRequired[str]
    AfterValue: NotRequired[str]
    AttributeChangeType: NotRequired[str]


class ChangeDetail(TypedDict):
    """One reason why a property changes, as DescribeChangeSet says it."""

    Target: ChangeTarget
    Evaluation: str
    ChangeSource: str
    CausingEntity: NotRequired[str]


class ChangeSetEntry(TypedDict):
    """What becomes of one resource, as DescribeChangeSet says it; contexts are properties as JSON."""

    Action: str
    LogicalResourceId: str
    ResourceType: str
    Scope: list[str]
    Details: list[ChangeDetail]
    PhysicalResourceId: NotRequired[str]
    PolicyAction: NotRequired[str]
    Replacement: NotRequired[str]
    BeforeContext: NotRequired[str]
    AfterContext: NotRequired[str]


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
    OnStackFailure: NotRequired[str]
