"""What is left out of an answer to a caller who asks for METADATA_ONLY: all that a customer's key may encrypt.

Runs in the server process. Of a machine that is its definition, which AWS's reference says is then ``{}``; of an
execution its data and its error, which the reference of StopExecution names among what is encrypted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moto.stepfunctions.responses import StepFunctionResponse

ENCRYPTED = {"input", "output", "error", "cause", "variableReferences"}
DETAILS = {"inputDetails", "outputDetails"}


def included(request: StepFunctionResponse, answer: Mapping[str, object]) -> dict[str, object]:
    """The answer as far as the request wants it."""
    if request._get_param("includedData") != "METADATA_ONLY":
        return dict(answer)
    kept = {name: value for name, value in answer.items() if name not in ENCRYPTED}
    emptied = {"definition": "{}"} if "definition" in kept else {}
    return {**kept, **emptied, **{name: {"included": False} for name in kept.keys() & DETAILS}}
