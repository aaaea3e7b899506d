"""All functions, versions, aliases and layers of a region, as state files hold them.

Runs in the server process. moto finds functions by weak references, which no state file can hold, and reads their names
in its own way; here they are found as Lambda finds them (`functions.api.names`).
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

from moto.awslambda.models import LambdaStorage, LayerStorage

from local_account.base.arns import read_function_name
from local_account.base.replacements import extends
from local_account.base.stored import stored
from local_account.functions.api.names import LATEST, FunctionName, named, not_found
from local_account.functions.configuration import AccountFunction
from local_account.functions.errors import client_error

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaAlias

    from local_account.functions.mappings import SourceMapping


@stored
@extends
class FunctionStorage(LambdaStorage):
    """All functions of a region."""

    @property
    def mappings(self) -> dict[str, SourceMapping]:
        """The event source mappings, by their UUID."""
        found: dict[str, SourceMapping] = vars(self).setdefault("source_mappings", {})
        return found

    def mapping(self, uuid: str) -> SourceMapping:
        """A mapping; raises moto's LambdaClientError when it is not there."""
        if uuid not in self.mappings:
            raise client_error("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return self.mappings[uuid]

    def has(self, name: str) -> bool:
        """Whether there is such a function."""
        return name in self._functions

    def has_qualifier(self, name: str, qualifier: str) -> bool:
        """Whether a function has such a version or alias."""
        numbers = {str(each.version) for each in self.versions_of(name)}
        return qualifier in {LATEST, *numbers, *self.aliases_of(name)}

    def version_of(self, wanted: FunctionName, *, aliased: str = "") -> AccountFunction:
        """The version that a name means; raises moto's LambdaClientError when it is not there.

        ``aliased`` is the version that an alias stands for, where that is known already.
        """
        arn = f"arn:{self.partition}:lambda:{self.region_name}:{self.account_id}:function:{wanted.name}"
        if wanted.name not in self._functions:
            raise not_found(wanted.under(arn))
        alias = self.aliases_of(wanted.name).get(wanted.qualifier or "")
        version = wanted.qualifier if alias is None else aliased or alias.function_version
        if version in {None, LATEST}:
            return cast("AccountFunction", self._functions[wanted.name]["latest"])
        found = self._get_version(wanted.name, str(version))
        if found is None:
            raise not_found(wanted.under(arn))
        return cast("AccountFunction", found)

    def versions_of(self, name: str) -> list[AccountFunction]:
        """The published versions of a function, the oldest first."""
        return list(self._functions[name]["versions"])

    def aliases_of(self, name: str) -> dict[str, LambdaAlias]:
        """The aliases of a function, by name."""
        return self._aliases[f"arn:{self.partition}:lambda:{self.region_name}:{self.account_id}:function:{name}"]

    def everything(self) -> list[AccountFunction]:
        """The latest version of every function."""
        return [group["latest"] for group in self._functions.values()]

    def published(self, latest: AccountFunction, description: str | None = None) -> AccountFunction:
        """A version of what the function is now; the last one where nothing has changed since."""
        versions = self._functions[latest.function_name]["versions"]
        made_of = latest.fingerprint()
        if versions and versions[-1].published_from == made_of:
            return cast("AccountFunction", versions[-1])
        numbers = [latest.last_version, *(int(each.version) for each in versions)]
        latest.last_version = max(numbers) + 1
        version = copy.copy(latest)
        version.set_version(latest.last_version)
        version.last_modified, version.published_from = latest.last_modified, made_of
        version.description = latest.description if description is None else description
        version.revise()
        versions.append(version)
        self._arns[version.function_arn] = version
        return version

    def get_function_by_name_or_arn_with_qualifier(
        self, name_or_arn: str, qualifier: str | None = None
    ) -> AccountFunction:
        """The version that a name means; raises moto's LambdaClientError when it is not there.

        Other services get here with ARNs of their own requests, which may be another account's or region's.
        """
        if not read_function_name(name_or_arn).is_in(self.account_id, self.region_name):
            raise not_found(name_or_arn)
        return self.version_of(named(name_or_arn, qualifier))

    def __getstate__(self) -> dict[str, object]:
        return _without_index(self)

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._aliases = defaultdict(dict, self._aliases)
        groups = self._functions.values()
        kept = (function for group in groups for function in (group["latest"], *group["versions"]))
        self._arns = WeakValueDictionary({function.function_arn: function for function in kept if function})


@stored
@extends
class LayerVersions(LayerStorage):
    """All layers of a region. moto has an index of them that it does not use."""

    def __getstate__(self) -> dict[str, object]:
        return _without_index(self)

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _arns=WeakValueDictionary())


def _without_index(storage: object) -> dict[str, object]:
    return {name: value for name, value in vars(storage).items() if name != "_arns"}
