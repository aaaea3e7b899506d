"""What is wrong with a template: ValidationError on the wire, or why an operation on a stack ended."""

from __future__ import annotations

from local_account.protocol.actions import ServiceError


class InvalidTemplateError(ServiceError):
    """A template, or parameters for it, that cannot be used: ValidationError on the wire."""


class UnresolvedError(InvalidTemplateError):
    """A reference to a resource that the stack does not have, because its condition does not hold."""

    def __init__(self, logical_id: str) -> None:
        super().__init__(f"Unresolved resource dependencies [{logical_id}] in the Outputs block of the template")
        self.logical_id = logical_id


class MissingExportError(InvalidTemplateError):
    """A value that no stack exports. AWS tells it in the stack's events, not at the call."""


def format_error(message: str) -> InvalidTemplateError:
    """An error about how a template is written."""
    return InvalidTemplateError(f"Template format error: {message}")


def template_error(message: str) -> InvalidTemplateError:
    """An error about what a template says."""
    return InvalidTemplateError(f"Template error: {message}")


class TransformError(InvalidTemplateError):
    """A transform that is not there, or fails: it fails the stack or the change set, not the call."""
