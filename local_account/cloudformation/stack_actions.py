"""The actions of CloudFormation on stacks: create, update, delete, describe.

Runs in the server process; state: the table ``stacks``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from local_account.cloudformation.record import now
from local_account.cloudformation.stack import Stack, named_role, settle
from local_account.cloudformation.template import parameter_values, parse
from local_account.protocol.actions import ServiceError, action
from local_account.protocol.service import Resource, Service

FINISH_S = 2.0
MAX_BODY_BYTES = 51_200  # a longer template has to lie in S3 (API reference, CreateStack)
_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
_UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}

Request = dict[str, Any]


class StackActions:
    """The stacks and what the API does to them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.account, self.lock = service.account, service.lock
        self._started = threading.local()
        self.records = service.table("stacks", Resource)  # by stack id, also the deleted ones
        for record in self.records.values():
            settle(record)

    @action("CreateStack")
    def create_stack(self, request: Request) -> Request:
        name = request["StackName"]
        if self.find(name):
            raise ServiceError(f"Stack [{name}] already exists", "AlreadyExistsException")
        wanted = self.wanted(request, None)
        stack = self.new(name)
        self.operate(stack, "CREATE_IN_PROGRESS", lambda: stack.create(wanted))
        return {"StackId": stack.record["StackId"]}

    @action("UpdateStack")
    def update_stack(self, request: Request) -> Request:
        stack = self.updatable(request["StackName"])
        wanted = self.wanted(request, stack)
        if not self.differs(stack, wanted):
            raise ServiceError("No updates are to be performed.")
        self.operate(stack, "UPDATE_IN_PROGRESS", lambda: stack.update(wanted))
        return {"StackId": stack.record["StackId"]}

    @action("DeleteStack")
    def delete_stack(self, request: Request) -> Request:
        stack = self.find(request["StackName"])
        if stack:
            self.refuse_while_busy(stack)
            stack.record |= named_role(self.account, request)
            self.operate(stack, "DELETE_IN_PROGRESS", stack.delete)
        return {}

    @action("DescribeStacks")
    def describe_stacks(self, request: Request) -> Request:
        if "StackName" in request:
            found = [self.existing(request["StackName"], deleted=True).record]
        else:
            found = [r for r in self.records.values() if r["StackStatus"] != "DELETE_COMPLETE"]
        return {"Stacks": [_described(record) for record in found]}

    @action("ListStacks")
    def list_stacks(self, request: Request) -> Request:
        wanted = request.get("StackStatusFilter")
        found = [r for r in self.records.values() if not wanted or r["StackStatus"] in wanted]
        return {"StackSummaries": [_described(record) for record in reversed(found)]}

    @action("DescribeStackEvents")
    def describe_stack_events(self, request: Request) -> Request:
        return {"StackEvents": self.existing(request["StackName"], deleted=True).record["Events"][::-1]}

    @action("DescribeStackResources")
    def describe_stack_resources(self, request: Request) -> Request:
        stack = self.existing(request["StackName"], deleted=True)
        found = _resource_list(stack)
        wanted = request.get("LogicalResourceId")
        return {"StackResources": [r for r in found if wanted in (None, r["LogicalResourceId"])]}

    @action("DescribeStackResource")
    def describe_stack_resource(self, request: Request) -> Request:
        for resource in self.describe_stack_resources(request)["StackResources"]:
            return {"StackResourceDetail": resource | {"LastUpdatedTimestamp": resource["Timestamp"]}}
        name, logical = request["StackName"], request["LogicalResourceId"]
        raise ServiceError(f"Resource {logical} does not exist for stack {name}")

    @action("ListStackResources")
    def list_stack_resources(self, request: Request) -> Request:
        found = _resource_list(self.existing(request["StackName"], deleted=True))
        return {"StackResourceSummaries": [r | {"LastUpdatedTimestamp": r["Timestamp"]} for r in found]}

    @action("ListExports")
    def list_exports(self, request: Request) -> Request:
        return {"Exports": list(self._exports().values())}

    @action("GetTemplate")
    def get_template(self, request: Request) -> Request:
        if "StackName" not in request:
            raise ServiceError("The stand-in account gives the templates of stacks, not of change sets.")
        template = self.existing(request["StackName"], deleted=True).record["Template"]
        return {"TemplateBody": template, "StagesAvailable": ["Original", "Processed"]}

    @action("GetTemplateSummary", "ValidateTemplate")
    def get_template_summary(self, request: Request) -> Request:
        if "StackName" in request:
            document = parse(self.existing(request["StackName"]).record["Template"])
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

    def changed(self) -> None:
        self._service.changed()

    def _exports(self) -> dict[str, dict[str, Any]]:
        return {
            output["ExportName"]: {
                "ExportingStackId": record["StackId"],
                "Name": output["ExportName"],
                "Value": output["OutputValue"],
            }
            for record in self.records.values()
            if record["StackStatus"] != "DELETE_COMPLETE"
            for output in record["Outputs"]
            if "ExportName" in output
        }

    def new(self, name: str) -> Stack:
        """A stack of this name, kept. Raises ServiceError for a name that CloudFormation does not take."""
        if not _NAME.fullmatch(name):
            raise ServiceError(
                f"1 validation error detected: Value '{name[:200]}' at 'stackName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]* and have at most 128 characters"
            )
        stack = Stack.new(self.account, name, self._exports)
        self.records[stack.record["StackId"]] = stack.record
        return stack

    def find(self, name_or_id: str, deleted: bool = False) -> Stack | None:
        for record in self.records.values():
            by_name = record["StackName"] == name_or_id and record["StackStatus"] != "DELETE_COMPLETE"
            by_id = record["StackId"] == name_or_id and (deleted or record["StackStatus"] != "DELETE_COMPLETE")
            if by_name or by_id:
                return Stack(self.account, record, self._exports)
        return None

    def existing(self, name_or_id: str, deleted: bool = False) -> Stack:
        stack = self.find(name_or_id, deleted)
        if stack is None:
            raise ServiceError(f"Stack with id {name_or_id} does not exist")
        return stack

    def updatable(self, name: str) -> Stack:
        stack = self.find(name)
        if stack is None:
            raise ServiceError(f"Stack [{name}] does not exist")
        self.refuse_while_busy(stack)
        if stack.record["StackStatus"] not in _UPDATABLE:
            status = stack.record["StackStatus"]
            raise ServiceError(f"Stack:{stack.record['StackId']} is in {status} state and can not be updated.")
        return stack

    @staticmethod
    def refuse_while_busy(stack: Stack) -> None:
        status = stack.record["StackStatus"]
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise ServiceError(f"Stack:{stack.record['StackId']} is in {status} state and can not be updated.")

    def operate(self, stack: Stack, status: str, work: Callable[[], None]) -> None:
        """Run an operation in its own thread; from here on the stack is busy."""
        with self.lock:
            stack.record["LastUpdatedTime"] = now()
            stack.set_status(status, "User Initiated")
        thread = threading.Thread(target=work, name=f"stack-{stack.record['StackName']}", daemon=True)
        thread.start()
        self._started.thread = thread

    def let_finish(self) -> None:
        """Wait a little for the operation that this request started: the aws CLI looks once, then after 30 s only."""
        thread = self._started.__dict__.pop("thread", None)
        if thread:
            thread.join(FINISH_S)

    def wanted(self, request: Request, stack: Stack | None) -> Request:
        """The template and its parameters, checked."""
        template = self._template(request, stack)
        document = parse(template)
        previous = stack.record["Parameters"] if stack else {}
        given = {}
        for parameter in request.get("Parameters", []):
            key = parameter["ParameterKey"]
            if parameter.get("UsePreviousValue"):
                if key not in previous:
                    raise ServiceError(
                        f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true"
                    )
                given[key] = previous[key]
            else:
                given[key] = parameter.get("ParameterValue", "")
        capabilities = request.get("Capabilities", [])
        has_identities = any(r["Type"].startswith("AWS::IAM::") for r in document["Resources"].values())
        if has_identities and not {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"} & set(capabilities):
            raise ServiceError("Requires capabilities : [CAPABILITY_NAMED_IAM]", "InsufficientCapabilitiesException")
        return {
            "Template": template,
            "Parameters": parameter_values(document, given),
            "Tags": request.get("Tags", stack.record["Tags"] if stack else []),
            "Capabilities": capabilities,
            "OnFailure": "DO_NOTHING" if request.get("DisableRollback") else request.get("OnFailure", "ROLLBACK"),
            **named_role(self.account, request),
        }

    def _template(self, request: Request, stack: Stack | None) -> str:
        if "TemplateBody" in request:
            body = str(request["TemplateBody"])
            if len(body.encode()) > MAX_BODY_BYTES:
                raise ServiceError(
                    "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
                    f"Member must have length less than or equal to {MAX_BODY_BYTES}"
                )
            return body
        if "TemplateURL" in request:
            path = unquote(urlsplit(request["TemplateURL"]).path).lstrip("/")
            host = urlsplit(request["TemplateURL"]).netloc
            bucket, _, key = path.partition("/")
            if ".s3" in host and not host.startswith("s3"):
                bucket, key = host.split(".s3")[0], path
            template: bytes = self.account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            return template.decode()
        if request.get("UsePreviousTemplate") and stack:
            return str(stack.record["Template"])
        raise ServiceError("Either Template URL or Template Body must be specified.")

    def differs(self, stack: Stack, wanted: Request) -> bool:
        document = parse(wanted["Template"])
        if not stack.record["Template"] or wanted["Tags"] != stack.record["Tags"]:
            return True
        if stack.changes(document, wanted["Parameters"]):
            return True
        outputs = stack.outputs(document, wanted["Parameters"], preview=True)
        return bool(outputs != stack.record["Outputs"])


def _described(record: dict[str, Any]) -> dict[str, Any]:
    hidden = ("Template", "Resources", "Events", "Replaced", "Parameters")
    shown = {name: value for name, value in record.items() if name not in hidden and value is not None}
    description = parse(record["Template"]).get("Description") if record["Template"] else None
    shown |= {"Description": description} if description else {}
    return shown | {"Parameters": pairs(record["Parameters"])}


def pairs(parameters: dict[str, str]) -> list[dict[str, str]]:
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
