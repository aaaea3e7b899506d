"""Event source mappings in Lambda's API: CreateEventSourceMapping to ListEventSourceMappings, for queues.

Runs in the server process; `functions.mappings` polls. Source: lambda/latest/dg/with-sqs.html and the API reference.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from moto.moto_api._internal import mock_random
from moto.sqs.models import sqs_backends

from local_account.base.arns import Arn, read_arn
from local_account.base.replacements import extends
from local_account.events.pattern_grammar import PatternError, parse_pattern
from local_account.functions.api.answers import ApiAnswers, answered, page
from local_account.functions.api.names import named
from local_account.functions.errors import client_error
from local_account.functions.mappings import SourceMapping

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE
    from moto.sqs.models import Queue

    from local_account.functions.configuration import AccountFunction

WITHOUT_WINDOW = 10
"""Messages that a batch may have where nothing is waited for."""


@extends
class MappingAnswers(ApiAnswers):
    """Answers about event source mappings."""

    def create_event_source_mapping(self) -> TYPE_RESPONSE:
        """CreateEventSourceMapping; raises moto's LambdaClientError for what cannot be."""
        request = self.request
        source = read_arn(request.get("EventSourceArn"))
        if source is None:
            raise _invalid("Unrecognized event source.")
        wanted = named(str(request["FunctionName"]))
        if not self.kept.has(wanted.name):
            raise _invalid("Function does not exist")
        function = self.kept.version_of(wanted)
        queue = self.queue_of(source)
        arn = wanted.under(function.unqualified_arn)
        mapping = SourceMapping(str(mock_random.uuid4()), str(source), arn)
        self.check_new(mapping)
        _apply(mapping, request, queue, function)
        mapping.tags = dict(cast("Mapping[str, str]", request.get("Tags") or {}))
        self.kept.mappings[mapping.uuid] = mapping
        return answered(self.shown_mapping(mapping, "Creating"), 202)

    def get_event_source_mapping(self) -> TYPE_RESPONSE:
        """GetEventSourceMapping."""
        return answered(self.shown_mapping(self.mapping()))

    def update_event_source_mapping(self) -> TYPE_RESPONSE:
        """UpdateEventSourceMapping; raises moto's LambdaClientError for what cannot be."""
        mapping, request = self.mapping(), self.request
        if request.get("FunctionName"):
            wanted = named(str(request["FunctionName"]))
            mapping.function_arn = wanted.under(self.kept.version_of(wanted).unqualified_arn)
        function = self.kept.version_of(named(mapping.function_arn))
        source = read_arn(mapping.source_arn)
        assert source is not None  # noqa: S101  # it was read when the mapping was made
        _apply(mapping, request, self.queue_of(source), function)
        return answered(self.shown_mapping(mapping, "Updating"), 202)

    def delete_event_source_mapping(self) -> TYPE_RESPONSE:
        """DeleteEventSourceMapping; messages stay in the queue."""
        mapping = self.mapping()
        del self.kept.mappings[mapping.uuid]
        return answered(self.shown_mapping(mapping, "Deleting"), 202)

    def list_event_source_mappings(self) -> TYPE_RESPONSE:  # type: ignore[override]  # an answer with its status
        """ListEventSourceMappings, all or those of a source or a function."""
        source, text = self.asked("EventSourceArn"), self.asked("FunctionName")
        name = named(text).name if text else None
        rows = [
            self.shown_mapping(each)
            for each in self.kept.mappings.values()
            if source in {None, each.source_arn} and name in {None, named(each.function_arn).name}
        ]
        return page(self, "EventSourceMappings", rows)

    def mapping(self) -> SourceMapping:
        """The mapping that the address names."""
        return self.kept.mapping(self.path.rstrip("/").rpartition("/")[2])

    def queue_of(self, source: Arn) -> Queue:
        """The queue of a source; raises moto's LambdaClientError for what is none."""
        if source.service != "sqs":
            raise _invalid(
                f"The stand-in account polls queues of SQS, not {source.service}, so {source} would never invoke the "
                "function. Send its events to a queue."
            )
        queue = sqs_backends[self.current_account][self.region].queues.get(source.resource)
        if queue is None or not source.is_in(self.current_account, self.region):
            raise _invalid(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS "
                "Error Message: The specified queue does not exist."
            )
        return queue

    def check_new(self, made: SourceMapping) -> None:
        """Raises moto's LambdaClientError where the same is there."""
        for each in self.kept.mappings.values():
            if (each.source_arn, each.function_arn) == (made.source_arn, made.function_arn):
                name = named(made.function_arn).name
                message = (
                    f'An event source mapping with SQS arn (" {made.source_arn} ") and function (" {name} ") already '
                    f"exists. Please update or delete the existing mapping with UUID {each.uuid}"
                )
                raise client_error("ResourceConflictException", message, 409)

    def shown_mapping(self, mapping: SourceMapping, state: str = "") -> dict[str, object]:
        """A mapping as it is answered, in a state that passes or in its own."""
        arn = f"arn:aws:lambda:{self.region}:{self.current_account}:event-source-mapping:{mapping.uuid}"
        return {
            "UUID": mapping.uuid,
            "EventSourceMappingArn": arn,
            "BatchSize": mapping.batch_size,
            "MaximumBatchingWindowInSeconds": int(mapping.window_s),
            "EventSourceArn": mapping.source_arn,
            "FunctionArn": mapping.function_arn,
            "LastModified": mapping.modified,
            "State": state or ("Enabled" if mapping.enabled else "Disabled"),
            "StateTransitionReason": "USER_INITIATED",
            "FunctionResponseTypes": mapping.response_types,
            "FilterCriteria": {"Filters": [{"Pattern": each} for each in mapping.filters]} if mapping.filters else None,
            "ScalingConfig": mapping.scaling or None,
        }


def _apply(mapping: SourceMapping, request: Mapping[str, object], queue: Queue, function: AccountFunction) -> None:
    """Take over what a request says; raises moto's LambdaClientError for what cannot be, and changes nothing then."""
    size = int(str(request.get("BatchSize") or mapping.batch_size))
    window_s = float(str(request.get("MaximumBatchingWindowInSeconds", mapping.window_s)))
    _check_batches(queue, size, window_s)
    visibility_s = int(getattr(queue, "visibility_timeout", 0))
    if visibility_s < int(function.timeout):
        raise _invalid(
            f"Queue visibility timeout: {visibility_s} seconds is less than Function timeout: "
            f"{function.timeout} seconds"
        )
    filters = _filters(request, mapping.filters)
    mapping.batch_size, mapping.window_s, mapping.filters = size, window_s, filters
    mapping.enabled = bool(request.get("Enabled", mapping.enabled))
    mapping.response_types = list(cast("list[str]", request.get("FunctionResponseTypes", mapping.response_types)))
    mapping.scaling = dict(cast("Mapping[str, object]", request.get("ScalingConfig", mapping.scaling)))
    mapping.modified = time.time()


def _check_batches(queue: Queue, size: int, window_s: float) -> None:
    if queue.fifo_queue and window_s:
        raise _invalid("Batching window is not supported for FIFO queues.")
    if queue.fifo_queue and size > WITHOUT_WINDOW:
        raise _invalid(f"Maximum batch size for FIFO queues is {WITHOUT_WINDOW}.")
    if size > WITHOUT_WINDOW and not window_s:
        raise _invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than "
            f"{WITHOUT_WINDOW}"
        )


def _filters(request: Mapping[str, object], before: list[str]) -> list[str]:
    given = cast("Mapping[str, list[Mapping[str, str]]] | None", request.get("FilterCriteria"))
    if given is None:
        return before
    patterns = [str(each.get("Pattern", "")) for each in given.get("Filters") or []]
    for pattern in patterns:
        try:
            parse_pattern(pattern)
        except PatternError as error:
            raise _invalid("Invalid filter pattern definition.") from error
    return patterns


def _invalid(message: str) -> Exception:
    return client_error("InvalidParameterValueException", message, 400)
