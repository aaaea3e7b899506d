"""The items of a Distributed Map: read from the state's input or from S3, selected, batched.

Runs in the server process. Reads JSON, JSON Lines, CSV and listings; S3 inventories, Parquet and the contents of listed
objects are refused when the machine is created (step-functions/latest/dg/input-output-itemreader.html).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from local_account.account import Account
from local_account.stepfunctions.environment import ExecutionEnvironment
from local_account.stepfunctions.language.documents import DistributedMap, ReaderConfig
from local_account.stepfunctions.language.encoding import STATE_LIMIT_BYTES, dumps
from local_account.stepfunctions.language.expressions import json_type
from local_account.stepfunctions.language.failures import QUERY, RUNTIME, StateFailure, failure, missing_path
from local_account.stepfunctions.language.jsonata import body, is_expression
from local_account.stepfunctions.language.programs import parse

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import (
        GetObjectRequestTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestPaginateTypeDef,
    )

DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}


class MapFields:
    """Evaluates members of a Map state, where its environment stands."""

    def __init__(self, env: ExecutionEnvironment, spec: DistributedMap, data: object) -> None:
        self.env, self.spec, self.data = env, spec, data
        env.data.give(data)

    def value(self, name: str, template: object) -> object:
        """What a template comes to; strings are expressions in JSONata, and in JSONPath members that end in ``.$``."""
        component = _template(name, dumps({"value": template}), self.spec.language)
        return self.evaluate(component)

    def member(self, holder: Mapping[str, object], name: str, field: str) -> object:
        """A member, or what its ``...Path`` twin refers to; None when there is neither."""
        if f"{name}Path" in holder:
            return self.evaluate(_template(field, dumps({"value.$": holder[f"{name}Path"]}), self.spec.language))
        return self.value(field, holder[name]) if name in holder else None

    def number(
        self, holder: Mapping[str, object], name: str, field: str, highest: float | None = None, kind: str = "float"
    ) -> float | None:
        """A member that is a number, which a path may find as text; States.Runtime otherwise."""
        found = self.member(holder, name, field)
        if found is None:
            return None
        number = _number(found)
        if number is None:
            raise self._no_number(holder, name, field, found, kind)
        if number < 0 or (highest is not None and number > highest):
            raise failure(self.env, RUNTIME, _out_of_range(name, found, highest))
        return number

    def _no_number(self, holder: Mapping[str, object], name: str, field: str, found: object, kind: str) -> StateFailure:
        text = found if isinstance(found, str) else dumps(found)
        if f"{name}Path" in holder:
            cause = (
                f'The {name}Path field refers to value "{text}" which is not a valid {kind}: {holder[f"{name}Path"]}'
            )
            return failure(self.env, RUNTIME, cause)
        cause = (
            f"The JSONata expression '{body(str(holder[name]))}' specified for the field '{field}' returned an "
            f"unexpected result type. Expected 'number', but was '{json_type(found)}' for value: {dumps(found)}"
        )
        return failure(self.env, QUERY, cause, field)

    def whole(self, holder: Mapping[str, object], name: str, field: str) -> int | None:
        """A member that is a whole number; States.Runtime otherwise."""
        found = self.number(holder, name, field, kind="integer")
        return None if found is None else int(found)

    def evaluate(self, component: EvalComponent) -> object:
        """What the component of a template comes to."""
        self.env.stack.append(self.data)
        try:
            component.eval(self.env)
        except NoSuchJsonPathError as missing:
            raise missing_path(self.env, missing) from missing
        value: object = self.env.stack.pop()["value"]
        self.env.stack.clear()
        return value


def _number(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        return float(found)
    except ValueError:
        return None


def _out_of_range(name: str, found: object, highest: float | None) -> str:
    if highest is not None:
        return f"{name} must be between 0 and {highest:g}."
    return f"Expected non-negative integer for {name}, got '{found}' instead."


@lru_cache(maxsize=1024)
def _template(field: str, text: str, language: str) -> EvalComponent:
    """The interpreter's component of a template, by way of a state that has nothing else."""
    template = json.loads(text)
    member = "Output" if language == "JSONata" else "Parameters"
    machine = {
        "QueryLanguage": language,
        "StartAt": "T",
        "States": {"T": {"Type": "Pass", member: template, "End": True}},
    }
    parsed = parse(dumps(machine), {"T": {field: template.get("value")}}, {}).states.states["T"]
    found: EvalComponent = (
        vars(parsed.output)["jsonata_template_value"] if parsed.output else vars(parsed)["parameters"]
    )
    return found


def read_items(account: Account, fields: MapFields) -> list[object]:
    """The items that the state's reader finds, in their order. States.ItemReaderFailed."""
    spec, role = fields.spec, fields.env.aws_execution_details.role_arn
    reader = spec.state.get("ItemReader") or {}
    template = reader.get("Arguments", {}) if spec.language == "JSONata" else reader.get("Parameters", {})
    arguments = cast("dict[str, str]", fields.value("ItemReader", template))
    config: ReaderConfig = reader.get("ReaderConfig") or {}
    limit = fields.whole(config, "MaxItems", "ItemReader/ReaderConfig/MaxItems") or None
    try:
        if reader["Resource"].endswith(":listObjectsV2"):
            asked = cast("ListObjectsV2RequestPaginateTypeDef", arguments)
            pages = account.client("s3", role).get_paginator("list_objects_v2").paginate(**asked)
            items = _listed(pages, limit)
        else:
            wanted = cast("GetObjectRequestTypeDef", arguments)
            content = account.client("s3", role).get_object(**wanted)["Body"].read()
            items = _parsed(content, config)
    except ClientError as error:
        answer = error.response
        code, request = answer["ResponseMetadata"]["HTTPStatusCode"], answer["ResponseMetadata"].get("RequestId", "")
        told = f"{answer['Error']['Message']} (Service: S3, Status Code: {code}, Request ID: {request})"
        raise failure(fields.env, "States.ItemReaderFailed", told) from error
    except (BotoCoreError, ValueError, KeyError, csv.Error) as error:
        raise failure(fields.env, "States.ItemReaderFailed", str(error)) from error
    return items[:limit]


def given_items(fields: MapFields) -> list[object]:
    """The items of the state's input."""
    state, jsonata = fields.spec.state, fields.spec.language == "JSONata"
    given = state.keys() & {"Items", "ItemsPath"}
    items = fields.member(state, "Items", "Items") if given else fields.data
    if not isinstance(items, list):
        raise failure(fields.env, QUERY if jsonata else RUNTIME, no_array(fields.spec, items), "Items")
    return items


def no_array(spec: DistributedMap, items: object) -> str:
    """Why the Map cannot take these for items."""
    given, found = spec.state.get("Items"), json_type(items)
    if is_expression(given):
        return (
            f"The JSONata expression '{body(given)}' specified for the field 'Items' returned an unexpected result "
            f"type. Expected 'array', but was '{found}' for value: {dumps(items)}"
        )
    path = spec.state.get("ItemsPath", "$")
    path = path[1:] if path.startswith("$$") else path
    return f'Reference path "{path}" must point to array.'


def _listed(listings: Iterable[ListObjectsV2OutputTypeDef], limit: int | None) -> list[object]:
    items: list[object] = []
    for listing in listings:
        for found in listing.get("Contents", ()):
            items.append(
                {
                    "Etag": found["ETag"],
                    "Key": found["Key"],
                    "LastModified": int(found["LastModified"].timestamp()),
                    "Size": found["Size"],
                    "StorageClass": found.get("StorageClass", "STANDARD"),
                }
            )
        if limit is not None and len(items) >= limit:
            break
    return items


def _parsed(content: bytes, config: ReaderConfig) -> list[object]:
    kind = config.get("InputType", "JSON")
    text = content.decode("utf-8-sig")
    if kind == "JSONL":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    if kind == "CSV":
        return _rows(text, config)
    document = json.loads(text)
    for part in filter(None, str(config.get("ItemsPointer", "")).split("/")):
        document = _below(document, part.replace("~1", "/").replace("~0", "~"))
    if isinstance(document, dict) and config.get("ItemsPointer"):
        return [{"Key": key, "Value": value} for key, value in document.items()]
    if not isinstance(document, list):
        raise ValueError("Attempting to map over non-iterable node.")
    return document


def _below(document: object, part: str) -> object:
    if isinstance(document, dict) and part in document:
        return document[part]
    if isinstance(document, list) and part.isdigit() and int(part) < len(document):
        return document[int(part)]
    raise ValueError("The provided ReaderConfig.ItemsPointer does not match any valid path in the JSON structure.")


def _rows(text: str, config: ReaderConfig) -> list[object]:
    delimiter = DELIMITERS[config.get("CSVDelimiter", "COMMA")]
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    headers: list[str] = config.get("CSVHeaders") or []
    if config.get("CSVHeaderLocation", "FIRST_ROW") == "FIRST_ROW":
        headers, rows = (rows[0], rows[1:]) if rows else ([], [])
    if len(set(headers)) != len(headers):
        raise ValueError("CSV headers cannot contain duplicates.")
    # Fields without a header are dropped, headers without a field are empty, as the ItemReader page says.
    return [dict(zip(headers, row + [""] * (len(headers) - len(row)), strict=False)) for row in rows]


def inputs_of(fields: MapFields, items: list[object], running: Callable[[], bool]) -> Iterator[tuple[str, int]]:
    """The text of each child's input, and how many items it holds."""
    selected = selected_items(fields, items, running)
    batcher = fields.spec.state.get("ItemBatcher")
    if batcher is None:
        for item in selected:
            yield _fitting(fields, dumps(item)), 1
        return
    shared: dict[str, object] = {}
    if "BatchInput" in batcher:
        shared["BatchInput"] = fields.value("ItemBatcher/BatchInput", batcher["BatchInput"])
    most = fields.whole(batcher, "MaxItemsPerBatch", "ItemBatcher/MaxItemsPerBatch")
    limit = fields.whole(batcher, "MaxInputBytesPerBatch", "ItemBatcher/MaxInputBytesPerBatch") or STATE_LIMIT_BYTES
    empty = len(dumps({**shared, "Items": []}).encode())
    head = dumps({**shared, "Items": []})[:-2]
    batch: list[str] = []
    size = empty
    for item in selected:
        text = dumps(item)
        added = len(text.encode()) + 1
        if batch and (len(batch) == most or size + added > min(limit, STATE_LIMIT_BYTES)):
            yield _fitting(fields, f"{head}{','.join(batch)}]}}"), len(batch)
            batch, size = [], empty
        batch.append(text)
        size += added
    if batch:
        yield _fitting(fields, f"{head}{','.join(batch)}]}}"), len(batch)


def selected_items(fields: MapFields, items: list[object], running: Callable[[], bool]) -> Iterator[object]:
    """The items as the state's ItemSelector makes them."""
    selector = fields.spec.state.get("ItemSelector", fields.spec.state.get("Parameters"))
    if selector is None:
        yield from items
        return
    context = cast("dict[str, object]", fields.env.states.context_object.context_object_data)
    component = _template("ItemSelector", dumps({"value": selector}), fields.spec.language)
    for index, item in enumerate(items):
        if not running():
            return
        context["Map"] = {"Item": {"Index": index, "Value": item}}
        yield fields.evaluate(component)
    context.pop("Map", None)


def _fitting(fields: MapFields, text: str) -> str:
    if len(text.encode()) > STATE_LIMIT_BYTES:
        cause = f"The input of a child execution exceeds the maximum number of {STATE_LIMIT_BYTES} bytes"
        raise failure(fields.env, "States.DataLimitExceeded", cause)
    return text
