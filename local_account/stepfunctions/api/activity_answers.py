"""What Step Functions answers about activities, and about the tasks that wait for a token.

Runs in the server process. Every public method answers the action of its name.
"""

from __future__ import annotations

import json

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.exceptions import ActivityDoesNotExist
from moto.stepfunctions.models import Activity

from local_account.base.replacements import extends
from local_account.stepfunctions.api.base import CheckedResponses, page_of
from local_account.stepfunctions.api.machines import check_encryption
from local_account.stepfunctions.language.encoding import json_fault


@extends
class ActivityResponses(CheckedResponses):
    """The actions of activities and task tokens."""

    def create_activity(self) -> ActionResult:
        """CreateActivity, which may be there."""
        name, backend = self._get_param("name"), self.stepfunction_backend
        check_encryption(self._get_param("encryptionConfiguration"))
        backend._validate_name(name)
        existing = next((each for each in backend.activities.values() if each.name == name), None)
        made = existing or backend.create_activity(
            name=name,
            tags=self._get_param("tags"),
            encryption_configuration=self._get_param("encryptionConfiguration"),
        )
        return ActionResult({"activityArn": made.arn, "creationDate": made.creation_date})

    def describe_activity(self) -> ActionResult:
        """DescribeActivity; ActivityDoesNotExist."""
        found = activity_of(self)
        key = found.encryption_configuration or {"type": "AWS_OWNED_KEY"}
        return ActionResult({**_listed(found), "encryptionConfiguration": key})

    def list_activities(self) -> ActionResult:
        """ListActivities, by name."""
        found = sorted(self.stepfunction_backend.activities.values(), key=lambda activity: activity.name)
        return page_of(self, "activities", found, _listed)

    def get_activity_task(self) -> ActionResult:
        """GetActivityTask: the next task of an activity, for which a worker may wait a minute."""
        task = self.stepfunction_backend.take_task(activity_of(self).arn, self._get_param("workerName"))
        return ActionResult({"taskToken": task.task_token, "input": task.task_input} if task else {"taskToken": None})

    def send_task_success(self) -> ActionResult:
        """SendTaskSuccess; InvalidOutput for what is no JSON."""
        output = self._get_param("output")
        try:
            json.loads(output)
        except ValueError as error:
            raise AWSError(f"Invalid Output: '{json_fault(output, error)}'", "InvalidOutput") from error
        self.stepfunction_backend.send_task_success(self._get_param("taskToken"), output)
        return EmptyResult()

    def send_task_failure(self) -> ActionResult:
        """SendTaskFailure; moto drops the cause."""
        self.stepfunction_backend.send_task_failure(
            self._get_param("taskToken"), self._get_param("error"), self._get_param("cause")
        )
        return EmptyResult()


def activity_of(request: ActivityResponses) -> Activity:
    """The activity that a request names; InvalidArn, ActivityDoesNotExist."""
    arn, backend = request._get_param("activityArn"), request.stepfunction_backend
    backend._validate_activity_arn(arn)
    found = backend.activities.get(arn)
    if found is None:
        raise ActivityDoesNotExist(f"Activity Does Not Exist: '{arn}'")
    return found


def _listed(activity: Activity) -> dict[str, object]:
    return {"activityArn": activity.arn, "creationDate": activity.creation_date, "name": activity.name}
