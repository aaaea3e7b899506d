"""The tables of members that the account acts on, held against botocore's models: what they leave out is refused."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_account.protocol.members import MemberTable, expanded, paths_of, read_table

if TYPE_CHECKING:
    from botocore.model import Shape

ROOT = Path(__file__).resolve().parents[3] / "local_account"
FILES = sorted([*ROOT.glob("*/members.toml"), *ROOT.glob("*/members/*.toml")])
TABLES = [read_table(file) for file in FILES]
each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.service)


def asking(shape: Shape, names: list[str]) -> object:
    """A request that holds one member of a structure, by its path, and nothing else."""
    if shape.type_name == "list":
        return [asking(shape.member, names)]
    if shape.type_name == "map":
        return {"some": asking(shape.value, names)}
    if shape.type_name == "structure" and names:
        return {names[0]: asking(shape.members[names[0]], names[1:])}
    return {"boolean": True, "integer": 7, "structure": {"some": "thing"}}.get(shape.type_name, "something")


@each_table
def test_a_table_names_members_that_the_model_has(table: MemberTable) -> None:
    assert table.problems() == []


@each_table
def test_every_member_that_a_table_leaves_out_is_refused_by_name(table: MemberTable) -> None:
    for operation in table.acts:
        for path in table.untouched(operation):
            refusals = list(table.refusals(operation, asking(table.shape(operation), path.split("."))))
            assert [refusal.member for refusal in refusals] == [path]
            assert path in refusals[0].why


@each_table
def test_every_member_that_is_acted_on_passes(table: MemberTable) -> None:
    assert all(list(table.refusals(operation, {})) == [] for operation in table.acts)
    limited = [*table.values, *table.reasons]
    for operation, paths in table.acts.items():
        for path in paths:
            if path.endswith("**") or any(fnmatch.fnmatchcase(f"{operation}.{path}", key) for key in limited):
                continue
            request = asking(table.shape(operation), path.split("."))
            assert list(table.refusals(operation, request)) == [], f"{operation}.{path}"


@each_table
def test_every_reason_is_about_a_member(table: MemberTable) -> None:
    known = {f"{name}.{path}" for name in table.acts if (shape := table.shape(name)) for path in paths_of(shape)}
    for key in (*table.harmless, *table.values):
        whole = key.removesuffix(".**")
        assert any(fnmatch.fnmatchcase(member, f"{whole}*") for member in known), key


def test_a_member_that_asks_for_nothing_passes() -> None:
    table = MemberTable("sqs", "sqs", "InvalidParameterValue", {"SendMessage": ("QueueUrl",)})
    assert list(table.refusals("SendMessage", {"QueueUrl": "q", "MessageBody": "", "MessageAttributes": {}})) == []


def test_values_and_reasons_say_what_is_taken() -> None:
    table = MemberTable(
        "sqs",
        "sqs",
        "InvalidParameterValue",
        {"SendMessage": ("QueueUrl",)},
        values={"SendMessage.DelaySeconds": (0, 1)},
        reasons={"SendMessage.MessageGroupId": "there are no groups"},
    )
    assert list(table.refusals("SendMessage", {"DelaySeconds": 1})) == []
    (delay,) = table.refusals("SendMessage", {"DelaySeconds": 2})
    assert delay.why == "takes 0, 1 for SendMessage's DelaySeconds, not 2"
    (group,) = table.refusals("SendMessage", {"MessageGroupId": ""})
    assert group.why == "does not implement SendMessage's MessageGroupId: there are no groups"


def test_paths_are_written_short() -> None:
    assert expanded("A B.{C D.{E F}}\n  G.**") == ["A", "B.C", "B.D.E", "B.D.F", "G.**"]


def test_a_table_that_names_what_is_not_there_is_told() -> None:
    table = MemberTable("sqs", "sqs", "E", {"SendMessage": ("QueueURL", "MessageAttributes"), "Send": ()})
    assert sorted(table.problems()) == [
        "Send is no operation of sqs",
        "SendMessage has no member QueueURL",
        "SendMessage.MessageAttributes is a structure: name its members, or MessageAttributes.** for whatever it holds",
    ]
