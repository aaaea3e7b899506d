"""What becomes of asynchronous invocations, and how many run at once: event invoke configurations and concurrency.

Runs in the server process. Sources: lambda/latest/dg/invocation-async-configuring.html and
configuration-concurrency.html.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from local_account.base.arns import read_arn
from local_account.base.replacements import extends
from local_account.functions.api.answers import ApiAnswers, answered, done, page
from local_account.functions.api.names import LATEST, FunctionName, named, unqualified
from local_account.functions.errors import client_error

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

ACCOUNT_CONCURRENCY, UNRESERVED_CONCURRENCY = 1000, 100
"""Executions at once that an account has, and that must stay for functions without a reservation (AWS's quotas)."""
_QUOTAS = {
    "TotalCodeSize": 80530636800,
    "CodeSizeUnzipped": 262144000,
    "CodeSizeZipped": 52428800,
    "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
}
"""lambda/latest/dg/gettingstarted-limits.html"""
_DESTINATIONS = {"lambda", "sqs", "sns", "events", "s3"}
Settings = dict[str, object]


@extends
class SettingAnswers(ApiAnswers):
    """Answers about the settings of invocations."""

    def put_function_event_invoke_config(self) -> TYPE_RESPONSE:  # type: ignore[override]  # an answer with its status
        """PutFunctionEventInvokeConfig: whatever was set before is gone."""
        return self.configure({})

    def update_function_event_invoke_config(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """UpdateFunctionEventInvokeConfig: what is not named stays; raises moto's LambdaClientError without one."""
        self.check_target()
        return self.configure(self.invoke_config())

    def get_function_event_invoke_config(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """GetFunctionEventInvokeConfig; raises moto's LambdaClientError without one."""
        return answered(self.shown_config(self.qualifier, self.invoke_config()))

    def delete_function_event_invoke_config(self) -> TYPE_RESPONSE:
        """DeleteFunctionEventInvokeConfig; raises moto's LambdaClientError without one."""
        self.invoke_config()
        self.latest().invoke_configs.pop(self.qualifier)
        return done()

    def list_function_event_invoke_configs(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """ListFunctionEventInvokeConfigs of all versions and aliases."""
        if not self.kept.has(self.named().name):
            raise client_error("ResourceNotFoundException", "The function doesn't exist.", 404)
        configs = self.latest().invoke_configs
        return page(
            self, "FunctionEventInvokeConfigs", [self.shown_config(name, each) for name, each in configs.items()]
        )

    def put_function_concurrency(self) -> TYPE_RESPONSE:
        """PutFunctionConcurrency; raises moto's LambdaClientError where too little would stay for the others."""
        function = self.kept.version_of(FunctionName(unqualified(self.function_text)))
        wanted = int(str(self.request["ReservedConcurrentExecutions"]))
        others = [each for each in self.kept.everything() if each.function_name != function.function_name]
        taken = sum(int(each.reserved_concurrency or 0) for each in others)
        if ACCOUNT_CONCURRENCY - taken - wanted < UNRESERVED_CONCURRENCY:
            message = (
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{UNRESERVED_CONCURRENCY}]."
            )
            raise client_error("InvalidParameterValueException", message, 400)
        function.reserved_concurrency = wanted
        return answered({"ReservedConcurrentExecutions": wanted})

    def get_function_concurrency(self) -> TYPE_RESPONSE:
        """GetFunctionConcurrency; empty where nothing is reserved."""
        function = self.kept.version_of(FunctionName(unqualified(self.function_text)))
        return answered({"ReservedConcurrentExecutions": function.reserved_concurrency})

    def delete_function_concurrency(self) -> TYPE_RESPONSE:
        """DeleteFunctionConcurrency."""
        self.kept.version_of(FunctionName(unqualified(self.function_text))).reserved_concurrency = None
        return done()

    def get_account_settings(self) -> TYPE_RESPONSE:
        """GetAccountSettings: AWS's quotas, and what the functions take of them."""
        functions = self.kept.everything()
        reserved = sum(int(each.reserved_concurrency or 0) for each in functions)
        size = sum(int(each.code_size) for each in functions)
        limit = {**_QUOTAS, "UnreservedConcurrentExecutions": ACCOUNT_CONCURRENCY - reserved}
        return answered(
            {"AccountLimit": limit, "AccountUsage": {"TotalCodeSize": size, "FunctionCount": len(functions)}}
        )

    def get_function_code_signing_config(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """GetFunctionCodeSigningConfig: there is none here."""
        self.latest()
        return answered({})

    def get_code_signing_config(self) -> TYPE_RESPONSE:
        """GetCodeSigningConfig: none can be made here, where nothing checks signatures."""
        raise self.no_signing_config()

    def delete_code_signing_config(self) -> TYPE_RESPONSE:
        """DeleteCodeSigningConfig, of which there is none."""
        raise self.no_signing_config()

    def list_functions_by_code_signing_config(self) -> TYPE_RESPONSE:
        """ListFunctionsByCodeSigningConfig, of which there is none."""
        raise self.no_signing_config()

    def list_code_signing_configs(self) -> TYPE_RESPONSE:
        """ListCodeSigningConfigs: an empty list."""
        return answered({"CodeSigningConfigs": []})

    def delete_function_code_signing_config(self) -> TYPE_RESPONSE:
        """DeleteFunctionCodeSigningConfig: there is none to take away."""
        self.latest()
        return done()

    def no_signing_config(self) -> Exception:
        """Lambda's error for the configuration that the address names."""
        arn = unquote(self.path.split("/code-signing-configs/", 1)[1].removesuffix("/functions"))
        message = f"The Lambda code signing configuration {arn} can not be found."
        return client_error("ResourceNotFoundException", message, 404)

    @property
    def qualifier(self) -> str:
        """The version or alias that is set up."""
        return self.named().qualifier or LATEST

    def invoke_config(self) -> Settings:
        """What was set; raises moto's LambdaClientError without."""
        name = self.named().name
        found = self.latest().invoke_configs.get(self.qualifier) if self.kept.has(name) else None
        if found is None:
            arn = f"arn:aws:lambda:{self.region}:{self.current_account}:function:{name}:{self.qualifier}"
            message = f"The function {arn} doesn't have an EventInvokeConfig"
            raise client_error("ResourceNotFoundException", message, 404)
        return found

    def check_target(self) -> None:
        """Raises moto's LambdaClientError where there is nothing to set up."""
        named = self.named()
        if not self.kept.has(named.name) or not self.kept.has_qualifier(named.name, self.qualifier):
            raise client_error("ResourceNotFoundException", "The function doesn't exist.", 404)

    def configure(self, before: Settings) -> TYPE_RESPONSE:
        """Set what a request says over what was before; raises moto's LambdaClientError for what cannot be."""
        request = self.request
        settings = ("DestinationConfig", "MaximumRetryAttempts", "MaximumEventAgeInSeconds")
        given = {name: request[name] for name in settings if request.get(name) is not None}
        if not given:
            message = "You must specify at least one of error handling or destination setting."
            raise client_error("InvalidParameterValueException", message, 400)
        self.check_target()
        destinations = cast("Mapping[str, Mapping[str, str]]", given.get("DestinationConfig") or {})
        for each in destinations.values():
            self.check_destination(each.get("Destination"), destinations)
        made: Settings = {"DestinationConfig": {}, **before, **given, "LastModified": time.time()}
        self.latest().invoke_configs[self.qualifier] = made
        return answered(self.shown_config(self.qualifier, made))

    def check_destination(self, target: str | None, config: Mapping[str, Mapping[str, str]]) -> None:
        """Raises moto's LambdaClientError for a destination that cannot be one."""
        arn = read_arn(target) if target else None
        if arn is None:
            return
        message = ""
        own = self.named()
        if arn.service not in _DESTINATIONS:
            said = ", ".join(f"on{part}={_java(part, config.get(f'On{part}'))}" for part in ("Success", "Failure"))
            message = f"The provided destination config DestinationConfig({said}) is invalid."
        elif not arn.is_in(self.current_account, self.region):
            message = f"The destination ARN {target} is invalid: it is of another account or region."
        elif arn.service == "lambda" and named(str(arn)).name == own.name:
            message = "You can't specify the function as a destination for itself."
        elif arn.service == "lambda" and not self.kept.has(named(str(arn)).name):
            message = f"The destination ARN {target} is invalid."
        if message:
            raise client_error("InvalidParameterValueException", message, 400)

    def shown_config(self, qualifier: str, config: Mapping[str, object]) -> dict[str, object]:
        """A configuration as it is answered."""
        destinations = cast("Mapping[str, Mapping[str, str]]", config.get("DestinationConfig") or {})
        shown = {name: destinations.get(name) or {} for name in ("OnSuccess", "OnFailure")}
        arn = f"{self.latest().unqualified_arn}:{qualifier}"
        return {**config, "FunctionArn": arn, "DestinationConfig": shown}


def _java(part: str, destination: Mapping[str, str] | None) -> str:
    """A destination as AWS's message writes it."""
    return f"On{part}(destination={destination['Destination']})" if destination else "null"
