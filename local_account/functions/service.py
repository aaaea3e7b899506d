"""Lambda: moto keeps the functions, versions, aliases and layers; we run them.

Runs in the server process. The classes here replace moto's invocation (which needs Docker, or echoes the payload) by
worker processes, see ``functions.functions``. Refused, never pretended: sources of events other than queues, runtimes
other than Python, and images. Differences from AWS are listed in ``functions.workers``, ``functions.functions`` and
``functions.events``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from moto.awslambda import models, urls
from moto.awslambda.models import LambdaBackend, LayerVersion, lambda_backends

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, replace, use_backend
from local_account.cloudwatch.telemetry import Telemetry
from local_account.functions.api.function_urls import FunctionUrlAnswers
from local_account.functions.api.functions import FunctionApiAnswers
from local_account.functions.api.layers import LayerAnswers
from local_account.functions.api.mappings import MappingAnswers
from local_account.functions.api.policies import PolicyAnswers
from local_account.functions.api.provisioned import ProvisionedAnswers
from local_account.functions.api.settings import SettingAnswers
from local_account.functions.api.versions import VersionAnswers, chosen_version
from local_account.functions.configuration import AccountFunction, refusing
from local_account.functions.errors import FunctionError, FunctionThrottledError, client_error
from local_account.functions.events import EventQueue
from local_account.functions.functions import Functions
from local_account.functions.layers import foreign_account, published_layer
from local_account.functions.mappings import SourcePollers
from local_account.functions.storage import FunctionStorage, LayerVersions
from local_account.protocol.members import register

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

    from local_account.base.replacements import Handlers

SYNC_LIMIT_BYTES = 6 * 1024 * 1024  # lambda/latest/dg/gettingstarted-limits.html
ASYNC_LIMIT_BYTES = 1024 * 1024
LOG_TAIL_BYTES = 4096
_FUNCTION_PATH = r"{0}/(?P<api_version>[^/]+)/functions/(?P<function_name>[\w_:%-]+)"
_OTHER_PATHS = (
    r"{0}/(?P<api_version>[^/]+)/account-settings/?$",
    r"{0}/(?P<api_version>[^/]+)/code-signing-configs/?$",
    r"{0}/(?P<api_version>[^/]+)/code-signing-configs/(?P<resource_arn>.+)$",
    *(
        f"{_FUNCTION_PATH}/{part}$"
        for part in ("urls", "provisioned-concurrency", "runtime-management-config", "recursion-config")
    ),
)
"""Addresses that moto does not know."""
InvokeAnswer = tuple[int, dict[str, str], bytes | str]


def install(account: Account) -> None:
    """Make moto's Lambda run functions. Called once, before the first request."""
    register(Path(__file__).with_name("members.toml"))
    telemetry = Telemetry(account)
    functions = Functions(account, telemetry)
    events = EventQueue(account, functions)
    SourcePollers(account, functions)
    telemetry.start()
    FunctionUrlAnswers.account_url = account.endpoint_url
    AccountFunction.functions = RunningFunctions.functions = functions
    AccountFunction.events = RunningFunctions.events = events
    use_backend(lambda_backends, RunningFunctions)
    dropped = "moto drops members of functions, checks neither code nor role, and runs them with Docker"
    replace(models, "LambdaFunction", AccountFunction, why=dropped)
    for name, ours in (("LambdaStorage", FunctionStorage), ("LayerStorage", LayerVersions)):
        why = "a state file cannot hold moto's index by weak references"
        replace(models, name, ours, why=why, upstream="103-pickle-functions-and-layers.md")


@extends
class RunningFunctions(LambdaBackend):
    """moto's functions, versions, aliases and layers; the functions run in worker processes."""

    functions: ClassVar[Functions]
    events: ClassVar[EventQueue]

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        handler = next(iter(urls.url_paths.values()))
        return answered_by(FunctionAnswers, {**urls.url_paths, **dict.fromkeys(_OTHER_PATHS, handler)})

    def get_function(self, function_name_or_arn: str, qualifier: str | None = None) -> AccountFunction:
        """A function, or the version of it that the qualifier names; raises moto's UnknownFunctionException."""
        function = super().get_function(function_name_or_arn, qualifier)
        assert isinstance(function, AccountFunction)  # noqa: S101  # `install` has seen to it
        return function

    def invoke(
        self,
        function_name: str,
        qualifier: str | None,
        body: str | bytes | None,
        headers: object,  # noqa: ARG002  # moto's signature
        response_headers: dict[str, str],
    ) -> bytes:
        """What moto's other services call when they want the result."""
        with _answerable():
            result = self.functions.invoke(self.get_function(function_name, qualifier), _bytes(body) or b"{}")
        if result.error is not None:
            response_headers["x-amz-function-error"] = result.error
        return result.payload

    def delete_function(self, function_name: str, qualifier: str | None = None) -> None:
        """DeleteFunction; its workers end."""
        if qualifier == "$LATEST":
            message = "$LATEST version cannot be deleted without deleting the function."
            raise client_error("InvalidParameterValueException", message, 400)
        function = self.get_function(function_name, qualifier)
        super().delete_function(function_name, qualifier)
        self.functions.forget(function.function_name)

    def publish_layer_version(self, spec: dict[str, object]) -> LayerVersion:
        """PublishLayerVersion: looks into the zip now, not when a function first asks for it."""
        if spec.get("LayerName") and spec.get("Content"):  # else moto says which is missing
            layer = LayerVersion(spec, self.account_id, self.region_name)  # type: ignore[abstract]  # it is not for moto
            with refusing():
                self.functions.check_layer(layer)
        return super().publish_layer_version(spec)

    def layers_versions_by_arn(self, layer_version_arn: str) -> LayerVersion | None:
        """A layer of this account, or one that AWS publishes; raises moto's LambdaClientError for any other."""
        owner = foreign_account(layer_version_arn, self.account_id)
        if owner is None:
            return super().layers_versions_by_arn(layer_version_arn)
        if published_layer(layer_version_arn) is None:
            message = (
                f"The stand-in account cannot fetch the layer {layer_version_arn} of account {owner}: publish its zip "
                "here with PublishLayerVersion"
            )
            raise client_error("InvalidParameterValueException", message, 400)
        return PublishedLayer(layer_version_arn)  # type: ignore[abstract]  # no more than moto's own class is


@extends
class PublishedLayer(LayerVersion):
    """A layer version that AWS publishes, whose content is installed beside the account."""

    def __init__(self, arn: str) -> None:
        """Nothing of what moto needs to fetch a zip."""
        self._arn, self.code_size = arn, 0

    @property
    def arn(self) -> str:
        """That of the version."""
        return self._arn


@extends
class FunctionAnswers(
    FunctionApiAnswers,
    VersionAnswers,
    PolicyAnswers,
    FunctionUrlAnswers,
    ProvisionedAnswers,
    SettingAnswers,
    MappingAnswers,
    LayerAnswers,
):
    """All answers of Lambda; what is not in those classes is moto's."""

    def __init__(self) -> None:
        super().__init__()
        self.request_id = ""

    @property
    def backend(self) -> RunningFunctions:
        """The functions of the request's account and region."""
        backend = lambda_backends[self.current_account][self.region]
        assert isinstance(backend, RunningFunctions)  # noqa: S101  # `install` has seen to it
        return backend

    def call_action(self) -> TYPE_RESPONSE:
        """Answer the request; an invocation's id takes the place of the one that moto gives every answer."""
        status, headers, body = super().call_action()
        return status, headers | {"x-amzn-requestid": self.request_id} if self.request_id else headers, body

    def invoke(self) -> InvokeAnswer:
        """Invoke: at once, later, or not at all, as the request says."""
        named = self.named()
        alias = self.kept.aliases_of(named.name).get(named.qualifier or "")
        function = self.kept.version_of(named, aliased=chosen_version(alias) if alias else "")
        arn = named.under(function.unqualified_arn)
        body, kind = _bytes(self.body), self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        _check_body(body, ASYNC_LIMIT_BYTES if kind == "Event" else SYNC_LIMIT_BYTES)
        if kind == "DryRun":
            return 204, {"status": "204"}, ""
        if kind == "Event":
            self.request_id = self.backend.events.accept(function, arn, body or b"{}").request_id
            return 202, {"status": "202"}, ""
        return _result(self, function, arn, body or b"{}")


def _result(answers: FunctionAnswers, function: AccountFunction, arn: str, event: bytes) -> InvokeAnswer:
    context = answers.headers.get("X-Amz-Client-Context")
    client_context = base64.b64decode(context).decode() if context else None
    with _answerable():
        result = answers.backend.functions.invoke(function, event, arn=arn, client_context=client_context)
    answers.request_id = result.request_id
    headers = {"content-type": "application/json", "X-Amz-Executed-Version": str(function.version)}
    if result.error is not None:
        headers["X-Amz-Function-Error"] = result.error
    if answers.headers.get("X-Amz-Log-Type") == "Tail":
        tail = "\n".join(result.lines).encode()[-LOG_TAIL_BYTES:]
        headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
    return 200, headers, result.payload


def _check_body(body: bytes, limit: int) -> None:
    if len(body) > limit:
        message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
        raise client_error("RequestTooLargeException", message, 413)
    try:
        json.loads(body or b"{}")
    except ValueError as error:
        message = f"Could not parse request body into json: {error}"
        raise client_error("InvalidRequestContentException", message, 400) from error


def _bytes(body: str | bytes | None) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body or b"")


@contextmanager
def _answerable() -> Iterator[None]:
    """Functions that could not be run, as errors of Lambda's API."""
    try:
        yield
    except FunctionThrottledError as error:
        raise client_error(error.code, str(error), error.status, Reason=error.reason) from error
    except FunctionError as error:
        raise client_error(error.code, str(error), error.status) from error
