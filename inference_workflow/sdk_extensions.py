"""What the Step Functions Data Science SDK 2.3.0 lacks and the workflows need. Runs on a laptop or in CodeBuild.

The SDK dates from 2022 and refuses fields that it does not know. Each class here adds some and changes nothing else:
longest delay and jitter of a retry, computed causes, JSONata, and Distributed Map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepfunctions.steps import Catch, Choice, Fail, Graph, Map, Pass, Retry, Task
from stepfunctions.steps.choice_rule import BaseRule

if TYPE_CHECKING:
    from stepfunctions.steps.states import State

INVOKE_FUNCTION = "arn:aws:states:::lambda:invoke"
_JSONATA_FIELDS = frozenset({"arguments", "output"})


class _More:
    """Allows the fields in ``more`` beside those of the SDK's class."""

    more: frozenset[str] = frozenset()

    def is_field_allowed(self, field_name: str) -> bool:
        """Whether a state may have the field: one of ``more``, or one that the SDK knows."""
        return field_name in self.more or bool(super().is_field_allowed(field_name))  # type: ignore[misc]  # a mixin


class JitteredRetry(_More, Retry):  # type: ignore[misc]  # the SDK has no types
    """A retrier whose delays have a longest value and vary at random (`MaxDelaySeconds`, `JitterStrategy`)."""

    more = frozenset({"max_delay_seconds", "jitter_strategy"})


class OutputCatch(_More, Catch):  # type: ignore[misc]  # the SDK has no types
    """A catcher of JSONata, which computes its output."""

    more = frozenset({"output"})


class ComputedFail(_More, Fail):  # type: ignore[misc]  # the SDK has no types
    """A Fail state whose error or cause is read from its input (`ErrorPath`, `CausePath`)."""

    more = frozenset({"error_path", "cause_path"})


class FunctionTask(Task):  # type: ignore[misc]  # the SDK has no types
    """Invokes a function and goes on with its answer.

    Not a LambdaStep, whose resource depends on the region in this machine's AWS configuration.
    """

    def __init__(self, name: str, **options: object) -> None:
        super().__init__(name, resource=INVOKE_FUNCTION, output_path="$.Payload", **options)


class JsonataTask(_More, Task):  # type: ignore[misc]  # the SDK has no types
    """A Task with `Arguments` and `Output`."""

    more = _JSONATA_FIELDS


class JsonataPass(_More, Pass):  # type: ignore[misc]  # the SDK has no types
    """A Pass with `Output`."""

    more = _JSONATA_FIELDS


class Condition(BaseRule):  # type: ignore[misc]  # the SDK has no types
    """A rule of a Choice in JSONata."""

    def __init__(self, condition: str) -> None:
        self.condition = condition

    def to_dict(self) -> dict[str, object]:
        """Return the rule as Amazon States Language."""
        return {"Condition": self.condition}


class Machine(_More, Graph):  # type: ignore[misc]  # the SDK has no types
    """A state machine with a query language."""

    more = frozenset({"query_language"})


class DistributedMapState(_More, Map):  # type: ignore[misc]  # the SDK has no types
    """A Map whose items come from S3 and whose iterations are executions of their own."""

    more = frozenset(
        {
            "item_reader",
            "item_batcher",
            "item_selector",
            "label",
            "max_concurrency_path",
            "result_writer",
            "tolerated_failure_percentage_path",
        }
    )

    def __init__(self, state_id: str, *, processor: State, execution_type: str, **fields: object) -> None:
        super().__init__(state_id, **fields)
        self.attach_iterator(processor)
        self.execution_type = execution_type

    def to_dict(self) -> dict[str, object]:
        """Return the state as Amazon States Language, with its iterations under ``ItemProcessor``."""
        result: dict[str, object] = super().to_dict()
        config = {"Mode": "DISTRIBUTED", "ExecutionType": self.execution_type}
        inner: dict[str, object] = Graph(self.iterator).to_dict()
        del result["Iterator"]
        result["ItemProcessor"] = {"ProcessorConfig": config, **inner}
        return result


__all__ = [
    "Choice",
    "ComputedFail",
    "Condition",
    "DistributedMapState",
    "JitteredRetry",
    "JsonataPass",
    "JsonataTask",
    "Machine",
    "OutputCatch",
]
