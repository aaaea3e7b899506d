"""The JSON of a Distributed Map state, after ``definition`` has checked it.

Members whose values are templates or expressions are ``object``: what they come to is known when they are evaluated.
(step-functions/latest/dg/state-map-distributed.html)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict


class ProcessorConfig(TypedDict, total=False):
    """How the children run."""

    Mode: str
    ExecutionType: str


class ItemProcessor(TypedDict, total=False):
    """The definition of the children."""

    ProcessorConfig: ProcessorConfig
    StartAt: str
    States: dict[str, object]
    Comment: str


class ReaderConfig(TypedDict, total=False):
    """The format of the items."""

    InputType: str
    ItemsPointer: str
    CSVDelimiter: str
    CSVHeaders: list[str]
    CSVHeaderLocation: str
    MaxItems: object
    MaxItemsPath: str


class ItemReader(TypedDict, total=False):
    """Where in S3 the items are."""

    Resource: str
    Arguments: object
    Parameters: object
    ReaderConfig: ReaderConfig


class ItemBatcher(TypedDict, total=False):
    """How many items a child takes."""

    BatchInput: object
    MaxItemsPerBatch: object
    MaxItemsPerBatchPath: str
    MaxInputBytesPerBatch: object
    MaxInputBytesPerBatchPath: str


class WriterConfig(TypedDict, total=False):
    """The format of the results."""

    OutputType: str
    Transformation: str


class ResultWriter(TypedDict, total=False):
    """Where in S3 the results go."""

    Resource: str
    Arguments: object
    Parameters: object
    WriterConfig: WriterConfig


class MapDocument(TypedDict, total=False):
    """A Distributed Map state."""

    ItemProcessor: ItemProcessor
    ItemReader: ItemReader
    ItemBatcher: ItemBatcher
    ResultWriter: ResultWriter
    ItemSelector: object
    Parameters: object
    Items: object
    ItemsPath: str
    MaxConcurrency: object
    MaxConcurrencyPath: str
    ToleratedFailureCount: object
    ToleratedFailureCountPath: str
    ToleratedFailurePercentage: object
    ToleratedFailurePercentagePath: str
    Label: str


@dataclass(frozen=True)
class DistributedMap:
    """A Distributed Map state, and the definition of its children."""

    state: MapDocument
    language: str
    definition: str

    @property
    def kind(self) -> str:
        """STANDARD or EXPRESS, as the children run."""
        return self.state["ItemProcessor"]["ProcessorConfig"].get("ExecutionType", "STANDARD")
