"""Small functions and state machines that the project does not contain, and how a user deploys and runs them."""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.local.roles import make_role

ROLE_NAME = "foreign"
POLL_S = 0.01


def make_zip(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@dataclass
class Workshop:
    """Deploys functions and state machines to an account and runs them."""

    account: Any
    role: str = field(init=False)

    def __post_init__(self) -> None:
        iam = self.account.client("iam")
        try:
            self.role = iam.get_role(RoleName=ROLE_NAME)["Role"]["Arn"]
        except iam.exceptions.NoSuchEntityException:
            self.role = make_role(self.account, ROLE_NAME)

    def function(self, code: str, **options: Any) -> str:
        """Deploy ``code`` as main.py with a function ``handler``; the function's name."""
        name = f"foreign-{uuid4().hex[:12]}"
        settings = {
            "Runtime": "python3.11",
            "Handler": "main.handler",
            "Code": {"ZipFile": make_zip({"main.py": code})},
        }
        self.account.client("lambda").create_function(FunctionName=name, Role=self.role, **(settings | options))
        return name

    def arn(self, function: str) -> str:
        return f"arn:aws:lambda:us-east-1:123456789012:function:{function}"

    def invoke(self, function: str, event: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
        """The payload and the whole answer."""
        payload = b"" if event is None else json.dumps(event).encode()
        answer = self.account.client("lambda").invoke(FunctionName=function, Payload=payload, **options)
        content = answer["Payload"].read()
        return (json.loads(content) if content else None), answer

    def task(self, function: str, **members: Any) -> dict[str, Any]:
        """A Task state that calls the function."""
        state = {"Type": "Task", "Resource": self.arn(function), **members}
        return state if "Next" in state else {**state, "End": True}

    def machine(self, states: dict[str, Any], **options: Any) -> str:
        """Create a state machine that starts at the first of ``states``; its ARN."""
        definition = {"StartAt": next(iter(states)), "States": states, **options}
        answer = self.account.client("stepfunctions").create_state_machine(
            name=f"foreign-{uuid4().hex[:12]}", definition=json.dumps(definition), roleArn=self.role
        )
        arn: str = answer["stateMachineArn"]
        return arn

    def run(self, machine: str, data: Any = None, timeout_s: float = 300, **options: Any) -> dict[str, Any]:
        """Start an execution and wait for its end; what DescribeExecution says."""
        client = self.account.client("stepfunctions")
        text = json.dumps({} if data is None else data)
        arn = client.start_execution(stateMachineArn=machine, input=text, **options)["executionArn"]
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            execution: dict[str, Any] = client.describe_execution(executionArn=arn)
            if execution["status"] != "RUNNING":
                return execution
            time.sleep(POLL_S)
        raise AssertionError(f"{arn} still runs after {timeout_s} s")

    def output(self, machine: str, data: Any = None) -> Any:
        """The output of an execution that must succeed."""
        execution = self.run(machine, data)
        assert execution["status"] == "SUCCEEDED", execution
        return json.loads(execution["output"])

    def log_of(self, group: str, text: str, timeout_s: float = 300, times: int = 1) -> list[str]:
        """The messages of a log group, once as many of them hold ``text``."""
        deadline = time.monotonic() + timeout_s
        messages: list[str] = []
        while time.monotonic() < deadline and sum(text in message for message in messages) < times:
            time.sleep(0.05)
            try:
                events = self.account.client("logs").filter_log_events(logGroupName=group)["events"]
            except self.account.client("logs").exceptions.ResourceNotFoundException:
                continue
            messages = [event["message"] for event in events]
        return messages
