"""The actions of CloudFormation that detect and tell drift.

Runs in the server process. Detection is over when its call answers; on AWS it takes a while. It reads as the stack's
role, or as the owner.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local_account.cloudformation.drift.detection import drift_of
from local_account.cloudformation.drift.records import DriftDetection, ResourceDrift
from local_account.cloudformation.record import now
from local_account.cloudformation.stack import DeployedStack
from local_account.cloudformation.stacks import Stacks
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import Service

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        DescribeStackDriftDetectionStatusInputTypeDef,
        DescribeStackResourceDriftsInputTypeDef,
        DetectStackDriftInputTypeDef,
        DetectStackResourceDriftInputTypeDef,
    )

_CHECKED_IN = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED")


class DriftActions:
    """What the API tells of drift; state: the table ``drift_detections``, and the drift that stacks keep."""

    def __init__(self, service: Service, stacks: Stacks) -> None:
        self._stacks = stacks
        self._detections = service.table("drift_detections", DriftDetection)

    @action("DetectStackDrift")
    def detect_stack_drift(self, request: DetectStackDriftInputTypeDef) -> Reply:
        """Compare the resources of a stack, or some of them, with what they are.

        Raises ServiceError for an unknown stack or resource, and while an operation runs on the stack.
        """
        stack = self._checkable(request["StackName"])
        found, failure = self._detected(stack, request.get("LogicalResourceIds", stack.resources))
        drifted = sum(each["StackResourceDriftStatus"] in {"DELETED", "MODIFIED"} for each in found)
        detection: DriftDetection = {
            "StackId": stack.record["StackId"],
            "StackDriftDetectionId": str(uuid.uuid4()),
            "StackDriftStatus": "DRIFTED" if drifted else "UNKNOWN" if failure else "IN_SYNC",
            "DetectionStatus": "DETECTION_FAILED" if failure else "DETECTION_COMPLETE",
            "DriftedStackResourceCount": drifted,
            "Timestamp": now(),
        }
        if failure:
            detection["DetectionStatusReason"] = failure
        self._detections[detection["StackDriftDetectionId"]] = detection
        stack.record["Drift"] = {
            "StackDriftStatus": detection["StackDriftStatus"],
            "LastCheckTimestamp": detection["Timestamp"],
        }
        self._stacks.changed()
        return {"StackDriftDetectionId": detection["StackDriftDetectionId"]}

    def _checkable(self, name: str) -> DeployedStack:
        stack = self._stacks.of_change(name)
        status = stack.record["StackStatus"]
        if status not in _CHECKED_IN:
            raise ServiceError(
                f"Drift detection cannot be performed on stack [{stack.record['StackId']}] while in {status} state."
            )
        return stack

    def _detected(self, stack: DeployedStack, names: Iterable[str]) -> tuple[list[ResourceDrift], str]:
        """The drift of these resources, which the stack keeps, and why a service did not tell one."""
        found, failure = [], ""
        for name in names:
            try:
                drift = self._detect(stack, name)
            except ClientError as error:
                failure = f"Failed to detect drift on resource [{name}]: {error}"
                continue
            if drift is not None:
                found.append(drift)
        return found, failure

    def _detect(self, stack: DeployedStack, name: str) -> ResourceDrift | None:
        if name not in stack.resources:
            raise ServiceError(f"Resource {name} does not exist for stack {stack.record['StackName']}")
        role = stack.record.get("RoleARN", "")
        drift = drift_of(lambda service: self._stacks.account.client(service, role), stack.resources[name], now())
        if drift is not None:
            stack.resources[name]["Drift"] = drift
        return drift

    @action("DetectStackResourceDrift")
    def detect_stack_resource_drift(self, request: DetectStackResourceDriftInputTypeDef) -> Reply:
        """Compare one resource with what it is.

        Raises ServiceError for an unknown stack or resource, and for a type whose drift is not detected.
        """
        stack, name = self._checkable(request["StackName"]), request["LogicalResourceId"]
        drift = self._detect(stack, name)
        if drift is None:
            kind = stack.resources[name]["ResourceType"]
            raise ServiceError(f"Resource type {kind} does not support drift detection in the stand-in account.")
        self._stacks.changed()
        return {"StackResourceDrift": _told(stack, name, drift)}

    @action("DescribeStackDriftDetectionStatus")
    def describe_status(self, request: DescribeStackDriftDetectionStatusInputTypeDef) -> Reply:
        """Tell what a detection found.

        Raises ServiceError for an unknown one.
        """
        found = self._detections.get(request["StackDriftDetectionId"])
        if found is None:
            raise ServiceError(f"Drift detection {request['StackDriftDetectionId']} does not exist")
        return {**found}

    @action("DescribeStackResourceDrifts")
    def describe_resource_drifts(self, request: DescribeStackResourceDriftsInputTypeDef) -> Reply:
        """List the resources whose drift was detected, or those in some states.

        Raises ServiceError for an unknown stack.
        """
        stack = self._stacks.of_change(request["StackName"])
        wanted = request.get("StackResourceDriftStatusFilters")
        kept = {name: each["Drift"] for name, each in stack.resources.items() if "Drift" in each}
        return {
            "StackResourceDrifts": [
                _told(stack, name, drift)
                for name, drift in kept.items()
                if not wanted or drift["StackResourceDriftStatus"] in wanted
            ]
        }


def _told(stack: DeployedStack, name: str, drift: ResourceDrift) -> dict[str, object]:
    resource = stack.resources[name]
    return {
        "StackId": stack.record["StackId"],
        "LogicalResourceId": name,
        "PhysicalResourceId": resource["PhysicalResourceId"],
        "ResourceType": resource["ResourceType"],
        **drift,
    }
