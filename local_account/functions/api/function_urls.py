"""Addresses of functions: CreateFunctionUrlConfig to ListFunctionUrlConfigs.

Runs in the server process. On AWS an address is a host of its own; here it is a path of the account, since names below
``localhost`` do not resolve everywhere. `function_calls` answers there. Source: lambda/latest/dg/lambda-urls.html.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypedDict, cast

from local_account.base.replacements import extends
from local_account.functions.api.answers import ApiAnswers, answered, done, moment, page
from local_account.functions.api.names import LATEST, FunctionName
from local_account.functions.errors import client_error

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

PATH = "/lambda-url/"
_SETTINGS = ("AuthType", "Cors", "InvokeMode")


class FunctionAddress(TypedDict, total=False):
    """What is kept of an address; times as Lambda writes them."""

    FunctionUrl: str
    AuthType: str
    Cors: Mapping[str, object]
    InvokeMode: str
    CreationTime: str
    LastModifiedTime: str


def address_id(url: str) -> str:
    """The part of an address that tells functions apart."""
    return url.rstrip("/").removeprefix("http://").partition(PATH)[2]


@extends
class FunctionUrlAnswers(ApiAnswers):
    """Answers about the addresses of functions; a function has one, and each alias may have one."""

    account_url: ClassVar[str] = ""

    def create_function_url_config(self) -> TYPE_RESPONSE:
        """CreateFunctionUrlConfig; raises moto's LambdaClientError where there is one."""
        self.check_function()
        if self.qualifier_of_url in self.latest().addresses:
            message = (
                f"Failed to create function url config for [functionArn = {self.arn_of_url}]. Error message:  "
                "FunctionUrlConfig exists for this Lambda function"
            )
            raise client_error("ResourceConflictException", message, 409)
        made = moment()
        unique = hashlib.sha256(uuid.uuid4().bytes).hexdigest()[:32]
        address = FunctionAddress(
            FunctionUrl=f"{self.account_url}{PATH}{unique}/",
            AuthType=str(self.request["AuthType"]),
            InvokeMode="BUFFERED",
            CreationTime=made,
            LastModifiedTime=made,
        )
        address.update(self.settings_of_url())
        self.latest().addresses[self.qualifier_of_url] = address
        shown = {name: value for name, value in self.shown_url(address).items() if name != "LastModifiedTime"}
        return answered(shown, 201)

    def get_function_url_config(self) -> TYPE_RESPONSE:
        """GetFunctionUrlConfig; raises moto's LambdaClientError without one."""
        return answered(self.shown_url(self.url_config()))

    def update_function_url_config(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """UpdateFunctionUrlConfig: what is not named stays; raises moto's LambdaClientError without one."""
        address = self.url_config()
        address.update(self.settings_of_url())
        address["LastModifiedTime"] = moment()
        return answered(self.shown_url(address))

    def delete_function_url_config(self) -> TYPE_RESPONSE:
        """DeleteFunctionUrlConfig; raises moto's LambdaClientError without one."""
        self.url_config()
        del self.latest().addresses[self.qualifier_of_url]
        return done()

    def list_function_url_configs(self) -> TYPE_RESPONSE:
        """ListFunctionUrlConfigs of the function and its aliases; raises moto's LambdaClientError without it."""
        self.check_function()
        arn = self.latest().unqualified_arn
        rows = [
            {**address, "FunctionArn": FunctionName("", name or None).under(arn)}
            for name, address in self.latest().addresses.items()
        ]
        return page(self, "FunctionUrlConfigs", rows)

    @property
    def qualifier_of_url(self) -> str:
        """The alias whose address it is; empty for the function's own."""
        qualifier = self.named().qualifier
        return "" if qualifier in {None, LATEST} else str(qualifier)

    @property
    def arn_of_url(self) -> str:
        """What is called at the address."""
        return FunctionName("", self.qualifier_of_url or None).under(self.latest().unqualified_arn)

    def check_function(self) -> None:
        """Raises moto's LambdaClientError without the function, or without its alias."""
        name, alias = self.named().name, self.qualifier_of_url
        if not self.kept.has(name) or (alias and alias not in self.kept.aliases_of(name)):
            raise client_error("ResourceNotFoundException", "Function does not exist", 404)

    def url_config(self) -> FunctionAddress:
        """What is kept; raises moto's LambdaClientError without."""
        name = self.named().name
        found = self.latest().addresses.get(self.qualifier_of_url) if self.kept.has(name) else None
        if found is None:
            raise client_error("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return found

    def settings_of_url(self) -> FunctionAddress:
        """What a request sets."""
        request = self.request
        return cast("FunctionAddress", {name: request[name] for name in _SETTINGS if request.get(name)})

    def shown_url(self, address: FunctionAddress) -> dict[str, object]:
        """An address as it is answered."""
        return {**address, "FunctionArn": self.arn_of_url}
