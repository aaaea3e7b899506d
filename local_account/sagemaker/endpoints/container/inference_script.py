"""A user's inference script: its hooks, those that it leaves out, and one inference through them.

Runs inside the container of an endpoint's variant, on the standard library alone (numpy only where a script leaves
``input_fn`` or ``output_fn`` out). The hooks are those of SageMaker's script mode, called as the inference toolkit does
(https://github.com/aws/sagemaker-inference-toolkit).
"""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"


class UnsupportedContentError(Exception):
    """The default ``input_fn`` or ``output_fn`` does not know a content type."""

    status_code = 415


class InvalidContentError(Exception):
    """The script's ``input_fn`` refused the request."""

    status_code = 400


class HookContext:
    """What the toolkit hands to hooks that take one argument more: one for each request."""

    def __init__(self, model_dir: Path, request_headers: Mapping[str, str] | None = None) -> None:
        self._request_headers = {name.lower(): value for name, value in (request_headers or {}).items()}
        self.system_properties = {"model_dir": str(model_dir), "gpu_id": None}
        self.response_headers: dict[str, str] = {}

    def get_request_header(self, idx: int, key: str) -> str | None:  # noqa: ARG002  # the toolkit's signature
        """``idx`` counts the requests of a batch; there is one."""
        return self._request_headers.get(key.lower())

    def set_response_header(self, idx: int, key: str, value: str) -> None:  # noqa: ARG002  # the toolkit's signature
        """``idx`` counts the requests of a batch; there is one."""
        self.response_headers[key] = value


class HookAnswer(NamedTuple):
    """What the hooks made of a request; ``attributes`` goes out as the header CustomAttributes."""

    body: bytes
    content_type: str
    attributes: str = ""


def media_type(content_type: str) -> str:
    """A content type without its parameters, in small letters."""
    return content_type.partition(";")[0].strip().lower()


def default_input_fn(body: bytes, content_type: str) -> object:
    """Decode JSON, CSV and NPY into an array. Raises UnsupportedContentError."""
    import numpy  # only models without an input_fn of their own need it

    kind = media_type(content_type)
    if kind == "application/json":
        return numpy.array(json.loads(body))
    if kind == "text/csv":
        return numpy.genfromtxt(io.StringIO(body.decode()), delimiter=",")
    if kind == "application/x-npy":
        return numpy.load(io.BytesIO(body), allow_pickle=False)
    raise UnsupportedContentError(f"Content type {content_type} is not supported by this framework.")


def default_predict_fn(data: object, model: object) -> object:
    """Call the model. Raises NotImplementedError when it cannot be called."""
    if not callable(model):
        raise NotImplementedError("Please provide a predict_fn implementation: the model is not callable.")
    return model(data)


def default_output_fn(prediction: object, accept: str) -> str | bytes:
    """Encode an array as JSON, CSV or NPY. Raises UnsupportedContentError."""
    import numpy  # only models without an output_fn of their own need it

    array = numpy.asarray(prediction)
    kind = media_type(accept)
    if kind == "application/json":
        return json.dumps(array.tolist())
    stream = io.BytesIO()
    if kind == "text/csv":
        numpy.savetxt(stream, numpy.atleast_1d(array), delimiter=",", fmt="%s")
    elif kind == "application/x-npy":
        numpy.save(stream, array, allow_pickle=False)
    else:
        raise UnsupportedContentError(f"Accept type {accept} is not supported by this framework.")
    return stream.getvalue()


class InferenceScript:
    """The user's module with its hooks; load it once, call ``transform`` from many threads."""

    def __init__(self, hooks: dict[str, Callable[..., object]], model_dir: Path) -> None:
        if "model_fn" not in hooks:
            raise NotImplementedError("Please provide a model_fn implementation: the script defines none.")
        if "transform_fn" in hooks and hooks.keys() & {"input_fn", "predict_fn", "output_fn"}:
            raise ValueError("transform_fn excludes input_fn, predict_fn and output_fn: provide one or the others.")
        self._hooks = {
            "input_fn": default_input_fn,
            "predict_fn": default_predict_fn,
            "output_fn": default_output_fn,
        } | hooks
        self._model_dir = model_dir
        self._takes = {name: len(inspect.signature(hook).parameters) for name, hook in self._hooks.items()}
        self._model = self._call(HookContext(model_dir), "model_fn", str(model_dir))

    def _call(self, context: HookContext, name: str, *arguments: object) -> object:
        hook = self._hooks[name]
        return hook(*arguments, context) if self._takes[name] > len(arguments) else hook(*arguments)

    def transform(
        self, body: bytes, content_type: str, accept: str, headers: Mapping[str, str] | None = None
    ) -> HookAnswer:
        """One inference; an exception with ``status_code`` answers that status, any other one 500."""
        context = HookContext(self._model_dir, headers)
        if "transform_fn" in self._hooks:
            result = self._call(context, "transform_fn", self._model, body, content_type, accept)
        else:
            data = self._decode(context, body, content_type)
            result = self._call(context, "output_fn", self._call(context, "predict_fn", data, self._model), accept)
        content, answered_type = result if isinstance(result, tuple) else (result, accept)
        if isinstance(content, str):
            content = content.encode()
        if not isinstance(content, bytes | bytearray):
            raise TypeError(f"output_fn must return str or bytes, it returned {type(content).__name__}.")
        # InvokeEndpoint passes on no other header than this one, and of it only ASCII.
        named = {name.lower(): value for name, value in context.response_headers.items()}
        attributes = " ".join(named.get(ATTRIBUTES_HEADER.lower(), "").split()).encode("ascii", "replace").decode()
        return HookAnswer(bytes(content), answered_type, attributes)

    def _decode(self, context: HookContext, body: bytes, content_type: str) -> object:
        # Differs from the toolkit, which answers 500 here too: a request that cannot be read is the client's fault.
        try:
            return self._call(context, "input_fn", body, content_type)
        except (ValueError, TypeError) as error:
            if hasattr(error, "status_code"):  # the script knows better
                raise
            raise InvalidContentError(str(error)) from error
