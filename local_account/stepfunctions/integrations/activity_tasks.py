"""The Task whose resource is an activity.

Runs in the server process.
"""

from __future__ import annotations

from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_activitiy import StateTaskActivity
from moto.stepfunctions.parser.asl.eval.environment import Environment

from local_account.stepfunctions.environment import own
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.failures import RUNTIME, failure


@component
class ActivityState(StateTaskActivity):
    """A Task that a worker does."""

    def _eval_execution(self, env: Environment) -> None:
        activity = self.resource.resource_arn
        if env.activity_store.get(activity) is None:
            raise failure(own(env), RUNTIME, f"The activity {activity} does not exist.")
        super()._eval_execution(env)
