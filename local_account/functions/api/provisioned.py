"""Provisioned concurrency, versions of runtimes and recursion: kept and answered as Lambda does.

Runs in the server process. Sources: lambda/latest/dg/provisioned-concurrency.html and the API reference. A worker
starts in less time here than AWS takes to provide one, so that none is started before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.base.replacements import extends
from local_account.functions.api.answers import ApiAnswers, answered, done, moment, page
from local_account.functions.api.names import LATEST
from local_account.functions.api.settings import ACCOUNT_CONCURRENCY, UNRESERVED_CONCURRENCY
from local_account.functions.errors import client_error

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

_INVALID = "InvalidParameterValueException"


@extends
class ProvisionedAnswers(ApiAnswers):
    """Answers about concurrency that is provided beforehand."""

    def put_provisioned_concurrency_config(self) -> TYPE_RESPONSE:
        """PutProvisionedConcurrencyConfig; raises moto's LambdaClientError for what cannot be provided."""
        qualifier, wanted = str(self.named().qualifier), int(str(self.request["ProvisionedConcurrentExecutions"]))
        if qualifier == LATEST:
            message = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
            raise client_error(_INVALID, message, 400)
        self.check_qualifier(qualifier)
        self.check_amount(wanted)
        self.check_overlap(qualifier)
        made = {"requested": wanted, "at": moment()}
        self.latest().provisioned[qualifier] = made
        return answered({**_shown(made), **_nothing_yet()}, 202)

    def get_provisioned_concurrency_config(self) -> TYPE_RESPONSE:
        """GetProvisionedConcurrencyConfig, or the list; raises moto's LambdaClientError without one."""
        if self.asked("List"):
            return self.list_provisioned_concurrency_configs()
        qualifier = str(self.named().qualifier)
        if qualifier == LATEST:
            message = "The function resource provided must be an alias or a published version."
            raise client_error(_INVALID, message, 400)
        self.check_qualifier(qualifier)
        found = self.latest().provisioned.get(qualifier)
        if found is None:
            message = "No Provisioned Concurrency Config found for this function"
            raise client_error("ProvisionedConcurrencyConfigNotFoundException", message, 404)
        return answered(_shown(found))

    def list_provisioned_concurrency_configs(self) -> TYPE_RESPONSE:
        """ListProvisionedConcurrencyConfigs; raises moto's LambdaClientError without the function."""
        arn = self.latest().unqualified_arn
        rows = [{**_shown(each), "FunctionArn": f"{arn}:{name}"} for name, each in self.latest().provisioned.items()]
        return page(self, "ProvisionedConcurrencyConfigs", rows)

    def delete_provisioned_concurrency_config(self) -> TYPE_RESPONSE:
        """DeleteProvisionedConcurrencyConfig; one that is not there is gone already."""
        qualifier = str(self.named().qualifier)
        self.check_qualifier(qualifier)
        self.latest().provisioned.pop(qualifier, None)
        return done()

    def get_runtime_management_config(self) -> TYPE_RESPONSE:
        """GetRuntimeManagementConfig: versions of runtimes follow the Python that is installed."""
        return answered({"UpdateRuntimeOn": "Auto", "FunctionArn": self.named().under(self.function().unqualified_arn)})

    def get_function_recursion_config(self) -> TYPE_RESPONSE:
        """GetFunctionRecursionConfig: AWS's default."""
        self.latest()
        return answered({"RecursiveLoop": "Terminate"})

    def check_amount(self, wanted: int) -> None:
        """Raises moto's LambdaClientError for more than the function, or the account, has."""
        reserved = self.latest().reserved_concurrency
        message = ""
        if reserved is not None and wanted > int(reserved):
            message = (
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                "function"
            )
        elif reserved is None and ACCOUNT_CONCURRENCY - wanted < UNRESERVED_CONCURRENCY:
            message = (
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{UNRESERVED_CONCURRENCY}]."
            )
        if message:
            raise client_error(_INVALID, message, 400)

    def check_overlap(self, qualifier: str) -> None:
        """Raises moto's LambdaClientError where an alias and its version would both have it."""
        held, aliases = self.latest().provisioned, self.kept.aliases_of(self.named().name)
        message = ""
        if qualifier in aliases and str(aliases[qualifier].function_version) in held:
            message = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        elif any(str(alias.function_version) == qualifier for name, alias in aliases.items() if name in held):
            message = "Version is pointed by a Provisioned Concurrency alias"
        if message:
            raise client_error("ResourceConflictException", message, 409)


def _shown(kept: dict[str, object]) -> dict[str, object]:
    number = kept["requested"]
    return {
        "RequestedProvisionedConcurrentExecutions": number,
        "AvailableProvisionedConcurrentExecutions": number,
        "AllocatedProvisionedConcurrentExecutions": number,
        "Status": "READY",
        "LastModified": kept["at"],
    }


def _nothing_yet() -> dict[str, object]:
    """What AWS says before the first environment is there."""
    return {
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
    }
