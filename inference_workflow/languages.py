"""The states of the inference workflow in both query languages, so that the workflow is put together once.

Runs on a laptop or in CodeBuild. The two classes have the same methods; each returns states of the SDK. What differs is
how a state reaches into its input: JSONPath selects, and needs states of its own to read the JSON text in an error's
cause; JSONata computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepfunctions.steps import Catch, Choice, ChoiceRule, Pass, Task

from inference_workflow.faults import LOW_CONFIDENCE, TIME_OUTS
from inference_workflow.sdk_extensions import (
    INVOKE_FUNCTION,
    ComputedFail,
    Condition,
    FunctionTask,
    JsonataPass,
    JsonataTask,
    OutputCatch,
)

if TYPE_CHECKING:
    from stepfunctions.steps.states import State

SEND_MESSAGE = "arn:aws:states:::sqs:sendMessage"
CHOICES = ("review", "fail")
BODY = ("s3_bucket", "s3_key", "inferences", "classes", "inference_id", "model_package_arn")
VERDICT = ("predicted_label", "confidence", "threshold")


class JsonPath:
    """States in JSONPath, the language of most state machines."""

    name = "JSONPath"

    def function(self, name: str, **options: object) -> FunctionTask:
        """A task that invokes the function ``${<name>Arn}`` with the state's input and the execution's name."""
        payload = {"body.$": "$", "execution.$": "$$.Execution.Name"}
        parameters = {"FunctionName": f"${{{name}Arn}}", "Payload": payload}
        return FunctionTask(name, parameters=parameters, **options)

    def catch(self, errors: list[str], next_step: State) -> Catch:
        """The error joins the state's input as ``error``."""
        return Catch(error_equals=errors, result_path="$.error", next_step=next_step)

    def fail(self, error: str) -> ComputedFail:
        """Ends under the name of a function's exception; its cause names the image."""
        return ComputedFail(error, error=error, cause_path="$.error.Cause")

    def fail_for_image(self, state: str, message: str, error: str | None = None) -> ComputedFail:
        """Ends with a cause of our own, which names the image; without ``error`` under the name that was caught."""
        cause = f"States.Format('s3://{{}}/{{}}: {message}: {{}}', $.s3_bucket, $.s3_key, States.JsonToString($.error))"
        name = {"error": error} if error else {"error_path": "$.error.Error"}
        return ComputedFail(state, cause_path=cause, **name)

    def before_the_body(self, timed_out: State, failed: State) -> tuple[State, State]:
        """Where time-outs and failures of the first function go: its input may not name an image as the body does."""
        named = ChoiceRule.And([ChoiceRule.IsPresent(f"$.{name}", True) for name in ("s3_bucket", "s3_key")])
        late = ChoiceRule.Or([ChoiceRule.StringEquals("$.error.Error", error) for error in TIME_OUTS])
        choice = Choice("IsAnImageNamed")
        choice.add_choice(ChoiceRule.And([*named.rules, late]), timed_out)
        choice.add_choice(named, failed)
        unnamed = ComputedFail("FunctionFailedUnnamed", error_path="$.error.Error", cause_path="$.error.Cause")
        choice.default_choice(unnamed)
        return choice, choice

    def catch_low_confidence(self, following: State) -> Catch:
        """Adds ``verdict`` to the body on the way: Lambda wraps the verdict's JSON text in an object of its own."""
        exception = self._parsed("ReadException", "$.error.Cause", "$.exception")
        verdict = self._parsed("ReadVerdict", "$.exception.json.errorMessage", "$.verdict")
        exception.next(verdict)
        verdict.next(following)
        return self.catch([LOW_CONFIDENCE], exception)

    def _parsed(self, name: str, source: str, target: str) -> Pass:
        return Pass(name, parameters={"json.$": f"States.StringToJson({source})"}, result_path=target)

    def send_to_review(self, name: str, **options: object) -> Task:
        """Queues all that it takes to label the image; the state's input goes on."""
        message = {
            **{f"{field}.$": f"$.{field}" for field in BODY},
            **{f"{field}.$": f"$.verdict.json.{field}" for field in VERDICT},
            "execution_arn.$": "$$.Execution.Id",
            "queued_at.$": "$$.State.EnteredTime",
        }
        parameters = {"QueueUrl": "${ReviewQueueUrl}", "MessageBody": message}
        return Task(name, resource=SEND_MESSAGE, parameters=parameters, result_path=None, **options)

    def on_low_confidence(self, name: str, answers: dict[str, State], default: str) -> Choice:
        """What the execution's input asks for, else what the stage does."""
        choice = Choice(name)
        variable = "$$.Execution.Input.on_low_confidence"
        for answer in CHOICES:
            asked = [ChoiceRule.IsPresent(variable, True), ChoiceRule.StringEquals(variable, answer)]
            choice.add_choice(ChoiceRule.And(asked), answers[answer])
        choice.default_choice(answers[default])
        return choice

    def needs_review(self, name: str) -> Pass:
        """The result of an image that somebody has to look at."""
        result = {
            **{f"{field}.$": f"$.{field}" for field in BODY},
            **{f"{field}.$": f"$.verdict.json.{field}" for field in VERDICT},
            "image_data": "",
            "status": "needs_review",
        }
        return Pass(name, parameters=result)

    def too_low(self, name: str) -> ComputedFail:
        """Ends as Failed; the cause is the verdict's JSON."""
        return ComputedFail(name, error=LOW_CONFIDENCE, cause_path="$.exception.json.errorMessage")


class Jsonata:
    """The same states in JSONata."""

    name = "JSONata"

    def function(self, name: str, **options: object) -> JsonataTask:
        """Invokes the function ``${<name>Arn}`` with the state's input and the execution's name."""
        payload = {"body": "{% $states.input %}", "execution": "{% $states.context.Execution.Name %}"}
        arguments = {"FunctionName": f"${{{name}Arn}}", "Payload": payload}
        output = "{% $states.result.Payload %}"
        return JsonataTask(name, resource=INVOKE_FUNCTION, arguments=arguments, output=output, **options)

    def catch(self, errors: list[str], next_step: State) -> OutputCatch:
        """Adds the error to the state's input as ``error``."""
        output = "{% $merge([$states.input, {'error': $states.errorOutput}]) %}"
        return OutputCatch(error_equals=errors, output=output, next_step=next_step)

    def fail(self, error: str) -> ComputedFail:
        """Ends under the name of a function's exception; its cause names the image."""
        return ComputedFail(error, error=error, cause="{% $states.input.error.Cause %}")

    def fail_for_image(self, state: str, message: str, error: str | None = None) -> ComputedFail:
        """Ends with a cause of our own, which names the image; without ``error`` under the name that was caught."""
        image = "'s3://' & $states.input.s3_bucket & '/' & $states.input.s3_key"
        cause = f"{{% {image} & ': {message}: ' & $string($states.input.error) %}}"
        return ComputedFail(state, error=error or "{% $states.input.error.Error %}", cause=cause)

    def before_the_body(self, timed_out: State, failed: State) -> tuple[State, State]:
        """Text of what is missing is empty, so the same states serve."""
        return timed_out, failed

    def catch_low_confidence(self, following: State) -> OutputCatch:
        """Adds ``verdict`` to the body on the way."""
        verdict = "$parse($parse($states.errorOutput.Cause).errorMessage)"
        output = f"{{% $merge([$states.input, {{'verdict': {verdict}}}]) %}}"
        return OutputCatch(error_equals=[LOW_CONFIDENCE], output=output, next_step=following)

    def send_to_review(self, name: str, **options: object) -> JsonataTask:
        """Queues all that it takes to label the image; the state's input goes on."""
        message = {
            **{field: f"{{% $states.input.{field} %}}" for field in BODY},
            **{field: f"{{% $states.input.verdict.{field} %}}" for field in VERDICT},
            "execution_arn": "{% $states.context.Execution.Id %}",
            "queued_at": "{% $states.context.State.EnteredTime %}",
        }
        arguments = {"QueueUrl": "${ReviewQueueUrl}", "MessageBody": message}
        return JsonataTask(name, resource=SEND_MESSAGE, arguments=arguments, output="{% $states.input %}", **options)

    def on_low_confidence(self, name: str, answers: dict[str, State], default: str) -> Choice:
        """Chooses what the execution's input asks for, else what the stage does."""
        choice = Choice(name)
        for answer in CHOICES:
            asked = f"{{% $states.context.Execution.Input.on_low_confidence = '{answer}' %}}"
            choice.add_choice(Condition(asked), answers[answer])
        choice.default_choice(answers[default])
        return choice

    def needs_review(self, name: str) -> JsonataPass:
        """Makes the result of an image that somebody has to look at."""
        result = {
            **{field: f"{{% $states.input.{field} %}}" for field in BODY},
            **{field: f"{{% $states.input.verdict.{field} %}}" for field in VERDICT},
            "image_data": "",
            "status": "needs_review",
        }
        return JsonataPass(name, output=result)

    def too_low(self, name: str) -> ComputedFail:
        """Ends as Failed; the cause is the verdict's JSON."""
        return ComputedFail(name, error=LOW_CONFIDENCE, cause="{% $string($states.input.verdict) %}")


LANGUAGES: dict[str, JsonPath | Jsonata] = {language.name: language for language in (JsonPath(), Jsonata())}
