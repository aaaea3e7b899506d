"""What is kept of drift, in the names of the API."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class PropertyDifference(TypedDict):
    """A property that is not as the template states it."""

    PropertyPath: str
    ExpectedValue: str
    ActualValue: str
    DifferenceType: str


class ResourceDrift(TypedDict):
    """How a resource differed from what its template states, when that was looked at."""

    StackResourceDriftStatus: str
    Timestamp: str
    ExpectedProperties: NotRequired[str]
    ActualProperties: NotRequired[str]
    PropertyDifferences: NotRequired[list[PropertyDifference]]


class StackDrift(TypedDict):
    """What the last detection of a stack's drift came to."""

    StackDriftStatus: str
    LastCheckTimestamp: str


class DriftDetection(TypedDict):
    """One detection of a stack's drift."""

    StackId: str
    StackDriftDetectionId: str
    StackDriftStatus: str
    DetectionStatus: str
    DetectionStatusReason: NotRequired[str]
    DriftedStackResourceCount: int
    Timestamp: str
