"""Versions and aliases of functions, with weights: PublishVersion to ListAliases.

Runs in the server process. Sources: lambda/latest/dg/configuration-versions.html and configuration-aliases.html.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from moto.awslambda.models import LambdaAlias
from moto.moto_api._internal import mock_random

from local_account.base.replacements import extends
from local_account.functions.api.answers import ApiAnswers, answered, done, page
from local_account.functions.api.described import described, listed
from local_account.functions.api.names import LATEST, FunctionName, check_revision
from local_account.functions.configuration import AccountFunction
from local_account.functions.errors import client_error
from local_account.functions.storage import FunctionStorage

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

Weights = Mapping[str, float]


@extends
class VersionAnswers(ApiAnswers):
    """Answers about versions and aliases."""

    def publish_version(self) -> TYPE_RESPONSE:
        """PublishVersion; raises moto's LambdaClientError where code or revision are others than expected."""
        function, request = self.latest(), self.request
        expected = request.get("CodeSha256")
        if expected and expected != function.code_sha_256:
            message = (
                f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({function.code_sha_256}). "
                "Please try again with the CodeSHA256 in $LATEST."
            )
            raise client_error("InvalidParameterValueException", message, 400)
        check_revision(request.get("RevisionId"), function.revision_id)
        description = request.get("Description")
        version = self.kept.published(function, None if description is None else str(description))
        return answered(described(version, version.function_arn), 201)

    def list_versions_by_function(self) -> TYPE_RESPONSE:  # type: ignore[override]  # an answer with its status
        """ListVersionsByFunction: the latest first, then each version."""
        latest = self.latest()
        rows = [latest, *self.kept.versions_of(latest.function_name)]
        return page(self, "Versions", [listed(each, f"{latest.unqualified_arn}:{each.version}") for each in rows])

    def create_alias(self) -> TYPE_RESPONSE:
        """CreateAlias; raises moto's LambdaClientError for a version that is not there, or a name that is."""
        name, request = self.named().name, self.request
        alias, version = str(request["Name"]), str(request["FunctionVersion"])
        target = self.kept.version_of(FunctionName(name, version))
        aliases = self.kept.aliases_of(name)
        if alias in aliases:
            message = f"Alias already exists: {aliases[alias].arn}"
            raise client_error("ResourceConflictException", message, 409)
        weights = _checked(self.kept, target, request)
        made = LambdaAlias(
            target.account_id, target.region, alias, name, version, str(request.get("Description") or ""), ""
        )
        _set_weights(made, weights or {})
        aliases[alias] = made
        return answered(_shown(made), 201)

    def get_alias(self) -> TYPE_RESPONSE:
        """GetAlias; raises moto's LambdaClientError when it is not there."""
        return answered(_shown(self.alias("Cannot find alias arn")))

    def update_alias(self) -> TYPE_RESPONSE:
        """UpdateAlias; raises moto's LambdaClientError when it is not there, or its revision is another."""
        alias, request = self.alias("Alias not found"), self.request
        check_revision(request.get("RevisionId"), alias.revision_id)
        version = str(request.get("FunctionVersion") or alias.function_version)
        target = self.kept.version_of(FunctionName(self.named().name, version))
        weights = _checked(self.kept, target, request)
        alias.function_version = version
        if request.get("Description") is not None:
            alias.description = str(request["Description"])
        if weights is not None:
            _set_weights(alias, weights)
        alias.revision_id = str(mock_random.uuid4())
        return answered(_shown(alias))

    def delete_alias(self) -> TYPE_RESPONSE:
        """DeleteAlias; one that is not there is gone already."""
        name, alias = self.named().name, self.alias_name()
        if self.kept.aliases_of(name).pop(alias, None) is not None:
            latest = self.kept.version_of(FunctionName(name))
            for beside in (latest.addresses, latest.provisioned):
                beside.pop(alias, None)
        return done()

    def list_aliases(self) -> TYPE_RESPONSE:
        """ListAliases, all or those of one version; raises moto's LambdaClientError without the function."""
        aliases, version = self.kept.aliases_of(self.latest().function_name), self.asked("FunctionVersion")
        rows = [_shown(aliases[name]) for name in sorted(aliases) if version in {None, aliases[name].function_version}]
        return page(self, "Aliases", rows)

    def alias_name(self) -> str:
        """The alias that the address names."""
        return unquote(self.path.rsplit("/", 1)[-1])

    def alias(self, otherwise: str) -> LambdaAlias:
        """The alias that is meant; raises moto's LambdaClientError when it is not there."""
        name = self.named().name
        found = self.kept.aliases_of(name).get(self.alias_name())
        if found is None:
            arn = f"arn:aws:lambda:{self.region}:{self.current_account}:function:{name}:{self.alias_name()}"
            raise client_error("ResourceNotFoundException", f"{otherwise}: {arn}", 404)
        return found


def _shown(alias: LambdaAlias) -> dict[str, object]:
    answer: dict[str, object] = {
        "AliasArn": alias.arn,
        "Description": alias.description,
        "FunctionVersion": alias.function_version,
        "Name": alias.name,
        "RevisionId": alias.revision_id,
    }
    weights = weights_of(alias)
    return answer | ({"RoutingConfig": {"AdditionalVersionWeights": dict(weights)}} if weights else {})


def weights_of(alias: LambdaAlias) -> Weights:
    """The share of each further version of an alias."""
    routing = cast("Mapping[str, Weights] | str | None", alias.routing_config)
    return routing.get("AdditionalVersionWeights", {}) if isinstance(routing, Mapping) else {}


def _set_weights(alias: LambdaAlias, weights: Weights) -> None:
    alias.routing_config = {"AdditionalVersionWeights": dict(weights)} if weights else ""  # type: ignore[assignment]


def chosen_version(alias: LambdaAlias) -> str:
    """The version that an invocation of an alias goes to, by the weights."""
    for version, weight in weights_of(alias).items():
        if random.random() < weight:  # noqa: S311  # a share of the traffic, no secret
            return version
    return str(alias.function_version)


def _checked(kept: FunctionStorage, target: AccountFunction, request: Mapping[str, object]) -> Weights | None:
    """The weights that a request brings; None without. Raises moto's LambdaClientError for what they may not be."""
    routing = cast("Mapping[str, Weights] | None", request.get("RoutingConfig"))
    if routing is None:
        return None
    weights = routing.get("AdditionalVersionWeights") or {}
    problem = ""
    if len(weights) > 1:
        problem = "Number of items in AdditionalVersionWeights cannot be greater than 1"
    elif str(target.version) in weights:
        version = target.version
        problem = (
            f"Invalid function version {version}. Function version {version} is already included in routing "
            "configuration."
        )
    elif weights and str(target.version) == LATEST:
        problem = "$LATEST is not supported for an alias pointing to more than 1 version"
    if problem:
        raise client_error("InvalidParameterValueException", problem, 400)
    for version in weights:
        kept.version_of(FunctionName(target.function_name, version))
    return weights
