"""All state machines by the names under which they are uploaded, shown and kept as samples.

Runs on a laptop or in CodeBuild and makes no AWS call.
"""

from __future__ import annotations

from inference_workflow.batch import batch_workflow
from inference_workflow.workflow import WorkflowOptions, image_workflow

IMAGE, EXPRESS, BATCH = "inference-workflow", "inference-express", "batch-workflow"


def definitions(query_language: str = "JSONPath", on_low_confidence: str = "fail") -> dict[str, str]:
    """Name -> Amazon States Language, for a stage's choices."""
    options = WorkflowOptions(query_language, on_low_confidence)
    return {
        IMAGE: image_workflow(options),
        EXPRESS: image_workflow(WorkflowOptions(query_language, on_low_confidence, express=True)),
        BATCH: batch_workflow(),
    }
