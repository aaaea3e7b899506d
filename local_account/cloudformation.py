"""AWS CloudFormation of the account: the actions of the API over ``stacks``.

Runs in the server process. moto's is not used: it skips types that it does not know and still says CREATE_COMPLETE. Here
every resource is made through the account's own API, so that it behaves like one that a client made, and what is not
implemented fails the stack. Differences from AWS: no nested stacks, macros, drift, stack sets, policies or role checks.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from local_account.account import Account
from local_account.errors import ErrorAnswer, aws_error, not_implemented
from local_account.stack_template import TemplateError, parameter_values, parse
from local_account.stacks import Stack, now, settle

log = logging.getLogger(__name__)

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
_TIMES = {"CreationTime", "LastUpdatedTime", "DeletionTime", "Timestamp", "LastUpdatedTimestamp"}
_UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}

Parameters = dict[str, Any]


class StackFault(Exception):
    """An error that the API answers with."""

    def __init__(self, message: str, code: str = "ValidationError") -> None:
        super().__init__(message)
        self.code = code


def install(account: Account) -> CloudFormation:
    return CloudFormation(account)


class CloudFormation:
    """State and actions; also the WSGI application."""

    def __init__(self, account: Account) -> None:
        from moto.core.utils import get_service_model

        self.account = account
        self._lock = threading.RLock()
        self._records: dict[str, dict[str, Any]] = {}  # by stack id, also the deleted ones
        self._change_sets: dict[str, dict[str, Any]] = {}
        self._model = get_service_model("cloudformation")
        self._actions: dict[str, Callable[[Parameters], Parameters]] = {
            "CreateChangeSet": self.create_change_set,
            "CreateStack": self.create_stack,
            "DeleteChangeSet": self.delete_change_set,
            "DeleteStack": self.delete_stack,
            "DescribeChangeSet": self.describe_change_set,
            "DescribeStackEvents": self.describe_stack_events,
            "DescribeStackResource": self.describe_stack_resource,
            "DescribeStackResources": self.describe_stack_resources,
            "DescribeStacks": self.describe_stacks,
            "ExecuteChangeSet": self.execute_change_set,
            "GetTemplate": self.get_template,
            "GetTemplateSummary": self.get_template_summary,
            "ListChangeSets": self.list_change_sets,
            "ListExports": self.list_exports,
            "ListStackResources": self.list_stack_resources,
            "ListStacks": self.list_stacks,
            "UpdateStack": self.update_stack,
            "ValidateTemplate": self.get_template_summary,
        }
        account.snapshots.register("cloudformation", self._dump, self._load)

    # The wire.

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        from moto.core.parse import QueryParser
        from moto.core.serialize import get_serializer_class

        values = dict(parse_qsl(environ["wsgi.input"].read().decode(), keep_blank_values=True))
        name = values.get("Action", "")
        if name not in self._actions:
            return _send(not_implemented(environ, "cloudformation", f"cloudformation's {name}"), start_response)
        operation = self._model.operation_model(name)
        try:
            parsed = QueryParser(operation).parse({"values": values}) if operation.input_shape else {}
            answer = self._actions[name](_plain(parsed))
        except (StackFault, TemplateError) as error:
            code = error.code if isinstance(error, StackFault) else "ValidationError"
            return _send(aws_error(environ, "cloudformation", code, str(error)), start_response)
        except Exception as error:  # a fault of ours, shaped as the service's own; the log has the traceback
            log.exception("%s failed", name)
            message = f"{name}: {type(error).__name__}: {error}"
            return _send(aws_error(environ, "cloudformation", "InternalFailure", message, 500), start_response)
        serializer = get_serializer_class("cloudformation", "query")(operation)
        sent = serializer.serialize(_with_times(answer))
        start_response(f"{sent['status_code']} OK", list(sent["headers"].items()))
        body = sent["body"]
        return [body.encode() if isinstance(body, str) else body]

    def _dump(self) -> bytes:
        with self._lock:
            return json.dumps({"stacks": self._records, "change_sets": self._change_sets}).encode()

    def _load(self, content: bytes) -> None:
        loaded = json.loads(content)
        self._records, self._change_sets = loaded["stacks"], loaded["change_sets"]
        for record in self._records.values():
            settle(record)

    # Stacks.

    def create_stack(self, request: Parameters) -> Parameters:
        name = request["StackName"]
        if self._find(name):
            raise StackFault(f"Stack [{name}] already exists", "AlreadyExistsException")
        wanted = self._wanted(request, None)
        stack = self._new(name)
        self._operate(stack, "CREATE_IN_PROGRESS", lambda: stack.create(wanted))
        return {"StackId": stack.record["StackId"]}

    def update_stack(self, request: Parameters) -> Parameters:
        stack = self._updatable(request["StackName"])
        wanted = self._wanted(request, stack)
        if not self._differs(stack, wanted):
            raise StackFault("No updates are to be performed.")
        self._operate(stack, "UPDATE_IN_PROGRESS", lambda: stack.update(wanted))
        return {"StackId": stack.record["StackId"]}

    def delete_stack(self, request: Parameters) -> Parameters:
        stack = self._find(request["StackName"])
        if stack:
            self._refuse_while_busy(stack)
            self._operate(stack, "DELETE_IN_PROGRESS", stack.delete)
        return {}

    def describe_stacks(self, request: Parameters) -> Parameters:
        if "StackName" in request:
            found = [self._existing(request["StackName"], deleted=True).record]
        else:
            found = [r for r in self._records.values() if r["StackStatus"] != "DELETE_COMPLETE"]
        return {"Stacks": [_described(record) for record in found]}

    def list_stacks(self, request: Parameters) -> Parameters:
        wanted = request.get("StackStatusFilter")
        found = [r for r in self._records.values() if not wanted or r["StackStatus"] in wanted]
        return {"StackSummaries": [_described(record) for record in reversed(found)]}

    def describe_stack_events(self, request: Parameters) -> Parameters:
        return {"StackEvents": self._existing(request["StackName"], deleted=True).record["Events"][::-1]}

    def describe_stack_resources(self, request: Parameters) -> Parameters:
        stack = self._existing(request["StackName"], deleted=True)
        found = _resource_list(stack)
        wanted = request.get("LogicalResourceId")
        return {"StackResources": [r for r in found if wanted in (None, r["LogicalResourceId"])]}

    def describe_stack_resource(self, request: Parameters) -> Parameters:
        for resource in self.describe_stack_resources(request)["StackResources"]:
            return {"StackResourceDetail": resource | {"LastUpdatedTimestamp": resource["Timestamp"]}}
        name, logical = request["StackName"], request["LogicalResourceId"]
        raise StackFault(f"Resource {logical} does not exist for stack {name}")

    def list_stack_resources(self, request: Parameters) -> Parameters:
        found = _resource_list(self._existing(request["StackName"], deleted=True))
        return {"StackResourceSummaries": [r | {"LastUpdatedTimestamp": r["Timestamp"]} for r in found]}

    def list_exports(self, request: Parameters) -> Parameters:  # noqa: ARG002  # every action takes a request
        return {"Exports": list(self._exports().values())}

    def get_template(self, request: Parameters) -> Parameters:
        if "ChangeSetName" in request:
            template = self._change_set(request)["Wanted"]["Template"]
        else:
            template = self._existing(request["StackName"], deleted=True).record["Template"]
        return {"TemplateBody": template, "StagesAvailable": ["Original", "Processed"]}

    def get_template_summary(self, request: Parameters) -> Parameters:
        if "StackName" in request:
            document = parse(self._existing(request["StackName"]).record["Template"])
        else:
            document = parse(self._template(request, None))
        parameters = [
            {
                "ParameterKey": name,
                "ParameterType": declared.get("Type", "String"),
                "NoEcho": bool(declared.get("NoEcho", False)),
                **({"DefaultValue": str(declared["Default"])} if "Default" in declared else {}),
                **({"Description": declared["Description"]} if "Description" in declared else {}),
            }
            for name, declared in (document.get("Parameters") or {}).items()
        ]
        kinds = sorted({resource["Type"] for resource in document["Resources"].values()})
        named = any(kind.startswith("AWS::IAM::") for kind in kinds)
        answer = {"Parameters": parameters, "ResourceTypes": kinds}
        answer |= {"Capabilities": ["CAPABILITY_NAMED_IAM"]} if named else {}
        return answer | ({"Description": document["Description"]} if "Description" in document else {})

    # Change sets.

    def create_change_set(self, request: Parameters) -> Parameters:
        name, kind = request["StackName"], request.get("ChangeSetType", "UPDATE")
        stack = self._find(name)
        if kind == "CREATE":
            if stack and stack.record["StackStatus"] != "REVIEW_IN_PROGRESS":
                raise StackFault(f"Stack [{name}] already exists and cannot be created again with the changeSet")
        else:
            stack = self._updatable(name)
        wanted = self._wanted(request, stack)
        if stack is None:
            stack = self._new(name)
            stack.set_status("REVIEW_IN_PROGRESS", "User Initiated")
        if self._find_change_set(stack.record["StackId"], request["ChangeSetName"]):
            raise StackFault(f"ChangeSet {request['ChangeSetName']} already exists", "AlreadyExistsException")
        change_set = self._record_change_set(stack, request, kind, wanted)
        return {"Id": change_set["ChangeSetId"], "StackId": stack.record["StackId"]}

    def _record_change_set(self, stack: Stack, request: Parameters, kind: str, wanted: Parameters) -> Parameters:
        name = request["ChangeSetName"]
        document = parse(wanted["Template"])
        changed = self._differs(stack, wanted)
        change_set = {
            "ChangeSetId": self.account.arn("cloudformation", f"changeSet/{name}/{uuid.uuid4()}"),
            "ChangeSetName": name,
            "StackId": stack.record["StackId"],
            "StackName": stack.record["StackName"],
            "Description": request.get("Description", ""),
            "CreationTime": now(),
            "Kind": kind,
            "Wanted": wanted,
            "Changes": stack.changes(document, wanted["Parameters"]),
            "Status": "CREATE_COMPLETE" if changed else "FAILED",
            "ExecutionStatus": "AVAILABLE" if changed else "UNAVAILABLE",
            **({} if changed else {"StatusReason": NO_CHANGES}),
        }
        self._change_sets[change_set["ChangeSetId"]] = change_set
        self._changed()
        return change_set

    def describe_change_set(self, request: Parameters) -> Parameters:
        change_set = self._change_set(request)
        shown = {name: value for name, value in change_set.items() if name not in ("Kind", "Wanted")}
        wanted = change_set["Wanted"]
        return shown | {"Parameters": _pairs(wanted["Parameters"]), "Tags": wanted["Tags"]}

    def execute_change_set(self, request: Parameters) -> Parameters:
        change_set = self._change_set(request)
        if change_set["ExecutionStatus"] != "AVAILABLE":
            raise StackFault(
                f"ChangeSet [{change_set['ChangeSetId']}] cannot be executed in its current status of "
                f"[{change_set['Status']}]",
                "InvalidChangeSetStatus",
            )
        stack = self._existing(change_set["StackId"])
        wanted = change_set["Wanted"]
        if request.get("DisableRollback"):
            wanted |= {"OnFailure": "DO_NOTHING"}
        create = change_set["Kind"] == "CREATE"
        if not create:
            self._refuse_while_busy(stack)
        change_set["ExecutionStatus"] = "EXECUTE_COMPLETE"
        work = (lambda: stack.create(wanted)) if create else (lambda: stack.update(wanted))
        self._operate(stack, "CREATE_IN_PROGRESS" if create else "UPDATE_IN_PROGRESS", work)
        return {}

    def delete_change_set(self, request: Parameters) -> Parameters:
        self._change_sets.pop(self._change_set(request)["ChangeSetId"])
        self._changed()
        return {}

    def list_change_sets(self, request: Parameters) -> Parameters:
        stack_id = self._existing(request["StackName"]).record["StackId"]
        found = [c for c in self._change_sets.values() if c["StackId"] == stack_id]
        return {"Summaries": found}

    # What they share.

    def _changed(self) -> None:
        self.account.snapshots.mark_dirty("cloudformation")

    def _exports(self) -> dict[str, dict[str, Any]]:
        return {
            output["ExportName"]: {
                "ExportingStackId": record["StackId"],
                "Name": output["ExportName"],
                "Value": output["OutputValue"],
            }
            for record in self._records.values()
            if record["StackStatus"] != "DELETE_COMPLETE"
            for output in record["Outputs"]
            if "ExportName" in output
        }

    def _new(self, name: str) -> Stack:
        stack = Stack.new(self.account, name, self._exports)
        self._records[stack.record["StackId"]] = stack.record
        return stack

    def _find(self, name_or_id: str, deleted: bool = False) -> Stack | None:
        for record in self._records.values():
            by_name = record["StackName"] == name_or_id and record["StackStatus"] != "DELETE_COMPLETE"
            by_id = record["StackId"] == name_or_id and (deleted or record["StackStatus"] != "DELETE_COMPLETE")
            if by_name or by_id:
                return Stack(self.account, record, self._exports)
        return None

    def _existing(self, name_or_id: str, deleted: bool = False) -> Stack:
        stack = self._find(name_or_id, deleted)
        if stack is None:
            raise StackFault(f"Stack with id {name_or_id} does not exist")
        return stack

    def _updatable(self, name: str) -> Stack:
        stack = self._find(name)
        if stack is None:
            raise StackFault(f"Stack [{name}] does not exist")
        self._refuse_while_busy(stack)
        if stack.record["StackStatus"] not in _UPDATABLE:
            status = stack.record["StackStatus"]
            raise StackFault(f"Stack:{stack.record['StackId']} is in {status} state and can not be updated.")
        return stack

    @staticmethod
    def _refuse_while_busy(stack: Stack) -> None:
        status = stack.record["StackStatus"]
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise StackFault(f"Stack:{stack.record['StackId']} is in {status} state and can not be updated.")

    def _operate(self, stack: Stack, status: str, work: Callable[[], None]) -> None:
        """Run an operation in its own thread; from here on the stack is busy."""
        with self._lock:
            stack.record["LastUpdatedTime"] = now()
            stack.set_status(status, "User Initiated")
        threading.Thread(target=work, name=f"stack-{stack.record['StackName']}", daemon=True).start()

    def _wanted(self, request: Parameters, stack: Stack | None) -> Parameters:
        """The template and its parameters, checked."""
        template = self._template(request, stack)
        document = parse(template)
        previous = stack.record["Parameters"] if stack else {}
        given = {}
        for parameter in request.get("Parameters", []):
            key = parameter["ParameterKey"]
            if parameter.get("UsePreviousValue"):
                if key not in previous:
                    raise StackFault(f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true")
                given[key] = previous[key]
            else:
                given[key] = parameter.get("ParameterValue", "")
        capabilities = request.get("Capabilities", [])
        has_identities = any(r["Type"].startswith("AWS::IAM::") for r in document["Resources"].values())
        if has_identities and not {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"} & set(capabilities):
            raise StackFault("Requires capabilities : [CAPABILITY_NAMED_IAM]", "InsufficientCapabilitiesException")
        return {
            "Template": template,
            "Parameters": parameter_values(document, given),
            "Tags": request.get("Tags", stack.record["Tags"] if stack else []),
            "Capabilities": capabilities,
            "OnFailure": "DO_NOTHING" if request.get("DisableRollback") else request.get("OnFailure", "ROLLBACK"),
        }

    def _template(self, request: Parameters, stack: Stack | None) -> str:
        if "TemplateBody" in request:
            return str(request["TemplateBody"])
        if "TemplateURL" in request:
            path = unquote(urlsplit(request["TemplateURL"]).path).lstrip("/")
            host = urlsplit(request["TemplateURL"]).netloc
            bucket, _, key = path.partition("/")
            if ".s3" in host and not host.startswith("s3"):
                bucket, key = host.split(".s3")[0], path
            body: bytes = self.account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            return body.decode()
        if request.get("UsePreviousTemplate") and stack:
            return str(stack.record["Template"])
        raise StackFault("Either Template URL or Template Body must be specified.")

    def _differs(self, stack: Stack, wanted: Parameters) -> bool:
        document = parse(wanted["Template"])
        if not stack.record["Template"] or wanted["Tags"] != stack.record["Tags"]:
            return True
        if stack.changes(document, wanted["Parameters"]):
            return True
        return stack.outputs(document, wanted["Parameters"], preview=True) != stack.record["Outputs"]

    def _find_change_set(self, stack_id: str | None, name_or_id: str) -> Parameters | None:
        for change_set in self._change_sets.values():
            by_name = change_set["ChangeSetName"] == name_or_id and change_set["StackId"] == stack_id
            if change_set["ChangeSetId"] == name_or_id or by_name:
                return change_set
        return None

    def _change_set(self, request: Parameters) -> Parameters:
        stack = self._find(request["StackName"]) if "StackName" in request else None
        change_set = self._find_change_set(stack.record["StackId"] if stack else None, request["ChangeSetName"])
        if change_set is None:
            raise StackFault(f"ChangeSet [{request['ChangeSetName']}] does not exist", "ChangeSetNotFound")
        return change_set


def _described(record: dict[str, Any]) -> dict[str, Any]:
    hidden = ("Template", "Resources", "Events", "Replaced", "Parameters")
    shown = {name: value for name, value in record.items() if name not in hidden and value is not None}
    description = parse(record["Template"]).get("Description") if record["Template"] else None
    shown |= {"Description": description} if description else {}
    return shown | {"Parameters": _pairs(record["Parameters"])}


def _pairs(parameters: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


def _resource_list(stack: Stack) -> list[dict[str, Any]]:
    shown = ("PhysicalResourceId", "ResourceType", "ResourceStatus", "ResourceStatusReason")
    return [
        {
            "StackName": stack.record["StackName"],
            "StackId": stack.record["StackId"],
            "LogicalResourceId": logical,
            "Timestamp": resource["LastUpdatedTimestamp"],
            **{name: resource[name] for name in shown if resource.get(name) is not None},
        }
        for logical, resource in list(stack.resources.items())
        if "ResourceStatus" in resource
    ]


def _plain(value: Any) -> Any:
    """moto's parsed request as plain dictionaries and lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _with_times(value: Any, name: str = "") -> Any:
    """Times are kept as text and sent as the serializer's own."""
    if isinstance(value, dict):
        return {key: _with_times(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_times(item) for item in value]
    return datetime.datetime.fromisoformat(value) if name in _TIMES and isinstance(value, str) else value


def _send(answer: ErrorAnswer, start_response: Any) -> list[bytes]:
    start_response(answer.status_line, answer.headers)
    return [answer.body]
