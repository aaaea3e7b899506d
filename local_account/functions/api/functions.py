"""Functions themselves: CreateFunction to DeleteFunction, lists and tags.

Runs in the server process. Sources: lambda/latest/api; what an answer describes is in `described`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from local_account.base.arns import last_part
from local_account.base.replacements import extends
from local_account.functions.api.answers import ApiAnswers, answered, done, page
from local_account.functions.api.described import described, just_changed, just_made, listed
from local_account.functions.api.names import LATEST, FunctionName, check_revision, named, not_found
from local_account.functions.api.runtimes import check_runtime
from local_account.functions.errors import client_error

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

MOST_TAGS, MOST_LAYERS = 50, 5
"""Of one function (lambda/latest/dg/gettingstarted-limits.html)."""


@extends
class FunctionApiAnswers(ApiAnswers):
    """Answers about functions."""

    def create_function(self) -> TYPE_RESPONSE:
        """CreateFunction; raises moto's LambdaClientError for what Lambda does not take."""
        request = dict(self.request)
        request["FunctionName"] = name = named(str(request["FunctionName"])).name
        check_runtime(request.get("Runtime"))
        _check_layers(request)
        if request.get("PackageType", "Zip") == "Zip":
            _check_zip(request)
        if self.kept.has(name):
            raise client_error("ResourceConflictException", f"Function already exist: {name}", 409)
        self.backend.create_function({**request, "Publish": False})
        made = self.kept.version_of(FunctionName(name))
        version = str(self.kept.published(made).version) if request.get("Publish") else LATEST
        return answered(just_made(made, version), 201)

    def get_function(self) -> TYPE_RESPONSE:  # type: ignore[override]  # an answer with its status
        """GetFunction, with an address of the code that can be fetched."""
        named, function, latest = self.named(), self.function(), self.latest()
        reserved = latest.reserved_concurrency
        return answered(
            {
                "Configuration": described(function, named.under(latest.unqualified_arn)),
                "Code": {"RepositoryType": "S3", "Location": function.functions.code_address(function)},
                "Tags": latest.tags or None,
                "Concurrency": None if reserved is None else {"ReservedConcurrentExecutions": int(reserved)},
            }
        )

    def get_function_configuration(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """GetFunctionConfiguration."""
        function = self.function()
        return answered(described(function, self.named().under(self.latest().unqualified_arn)))

    def update_function_code(self) -> TYPE_RESPONSE:
        """UpdateFunctionCode; raises moto's LambdaClientError for another revision than the latest."""
        function, request = self.latest(), dict(self.request)
        check_revision(request.get("RevisionId"), function.revision_id)
        if request.get("DryRun"):
            return answered(described(function, function.unqualified_arn))
        function.update_function_code(request)
        if not request.get("Publish"):
            return answered(just_changed(function))
        just_changed(function)
        version = self.kept.published(function)
        return answered(described(version, version.function_arn))

    def update_function_configuration(self) -> TYPE_RESPONSE:
        """UpdateFunctionConfiguration; raises moto's LambdaClientError for another revision than the latest."""
        function, request = self.latest(), dict(self.request)
        check_revision(request.get("RevisionId"), function.revision_id)
        check_runtime(request.get("Runtime"))
        _check_layers(request)
        function.update_configuration(request)
        return answered(just_changed(function))

    def delete_function(self) -> TYPE_RESPONSE:
        """DeleteFunction; a version that is not there is gone already."""
        named = self.named()
        self.latest()
        if named.qualifier is None or self.kept.has_qualifier(named.name, named.qualifier):
            self.backend.delete_function(named.name, named.qualifier)
        return done()

    def list_functions(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """ListFunctions: the latest of each, or all versions."""
        latest = sorted(self.kept.everything(), key=lambda each: each.function_name)
        if self.asked("FunctionVersion") != "ALL":
            return page(self, "Functions", [listed(each, each.unqualified_arn) for each in latest])
        versions = [each for one in latest for each in (one, *self.kept.versions_of(one.function_name))]
        rows = [listed(each, f"{each.unqualified_arn}:{each.version}") for each in versions]
        return page(self, "Functions", rows)

    def list_tags(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """ListTags of a function."""
        return answered({"Tags": self.tagged()})

    def tag_resource(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """TagResource; raises moto's LambdaClientError for no tags, and for too many."""
        tags, given = self.tagged(), cast("Mapping[str, str]", self.request["Tags"])
        if not given:
            message = "An error occurred and the request cannot be processed."
            raise client_error("InvalidParameterValueException", message, 400)
        if len({*tags, *given}) > MOST_TAGS:
            message = "Number of tags exceeds resource tag limit."
            raise client_error("InvalidParameterValueException", message, 400)
        tags.update(given)
        return done()

    def untag_resource(self) -> TYPE_RESPONSE:
        """UntagResource; keys that are not there are gone already."""
        tags = self.tagged()
        for key in self.querystring.get("tagKeys", []):
            tags.pop(key, None)
        return done()

    def tagged(self) -> dict[str, str]:
        """The tags of what the address names; raises moto's LambdaClientError for what is not there."""
        arn = unquote(self.path.split("/tags/", 1)[1])
        if ":event-source-mapping:" in arn:
            return self.kept.mapping(last_part(arn)).tags
        found = named(arn)
        if found.qualifier:
            message = "Tags on function aliases and versions are not supported. Please specify a function ARN."
            raise client_error("InvalidParameterValueException", message, 400)
        if not self.kept.has(found.name):
            raise not_found(arn)
        return cast("dict[str, str]", self.kept.version_of(FunctionName(found.name)).tags)


def _check_layers(request: Mapping[str, object]) -> None:
    """Raises moto's LambdaClientError for too many."""
    layers = request.get("Layers")
    if isinstance(layers, list) and len(layers) > MOST_LAYERS:
        message = f"Cannot reference more than {MOST_LAYERS} layers."
        raise client_error("InvalidParameterValueException", message, 400)


def _check_zip(request: Mapping[str, object]) -> None:
    """Raises moto's LambdaClientError where a zip lacks what runs it."""
    if not request.get("Runtime") or not request.get("Handler"):
        message = "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        raise client_error("InvalidParameterValueException", message, 400)
    code = cast("Mapping[str, object]", request.get("Code") or {})
    if not code.get("ZipFile") and not (code.get("S3Bucket") and code.get("S3Key")):
        raise client_error("InvalidParameterValueException", "Please provide a source for function code.", 400)
