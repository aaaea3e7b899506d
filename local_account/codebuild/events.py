"""CodeBuild's events on EventBridge. Runs in the server process."""

from __future__ import annotations

from local_account.codebuild.records import BuildRecord
from local_account.protocol.service import Service


def emit_state(service: Service, build: BuildRecord) -> None:
    """Send the event of a build that has begun or ended (CodeBuild user guide, build notifications input)."""
    details = {
        "build-status": build["buildStatus"],
        "project-name": build["projectName"],
        "build-id": build["arn"],
        "current-phase": build["currentPhase"],
        "additional-information": {"initiator": build["initiator"], "build-complete": build["buildComplete"]},
        "version": "1",
    }
    service.account.emit_event("aws.codebuild", "CodeBuild Build State Change", details, [build["arn"]])
