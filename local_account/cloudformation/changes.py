"""What another template or other parameters would change of a stack, and why, as change sets tell it.

Runs in the server process. Source: API reference, ResourceChangeDetail and ResourceTargetDefinition; answers of AWS,
recorded by others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from local_account.cloudformation.language.expressions import TemplateScope
from local_account.cloudformation.language.functions import plain_text, shown_json
from local_account.cloudformation.language.references import TemplateReference, creation_order, references
from local_account.cloudformation.language.schemas import ALWAYS, NEVER, schema_of
from local_account.cloudformation.record import KnownStack
from local_account.cloudformation.records import (
    ChangeDetail,
    ChangeSetEntry,
    ChangeTarget,
    DeclaredResource,
    StackChange,
    StackResource,
    TemplateDocument,
)
from local_account.cloudformation.resources.kinds import is_replaced
from local_account.protocol.records import record_of, without

_IN_VALUES = ("BeforeContext", "AfterContext")
_OF_TARGET = ("Path", "BeforeValue", "AfterValue", "AttributeChangeType")


@dataclass
class Preview:
    """What a template would make of a stack. ``stored`` are the values of Parameter Store that parameters name."""

    stack: KnownStack
    document: TemplateDocument
    parameters: Mapping[str, str]
    stored: Mapping[str, str]
    _new: set[str] = field(default_factory=set)
    _replaced: set[str] = field(default_factory=set)
    _modified: set[str] = field(default_factory=set)

    def scope(self) -> TemplateScope:
        """What the template's expressions see, as far as it is known before it is executed."""
        unknown = self._new | self._replaced | (self.document["Resources"].keys() - self.stack.resources.keys())
        return self.stack.scope(self.document, self.parameters, self.stored, unknown, self._modified)

    def changes(self) -> list[StackChange]:
        """What executing the template would add, modify and remove.

        Raises InvalidTemplateError for an expression that cannot be evaluated, ResourceError for an unknown type.
        """
        wanted = self.scope().active_resources()
        found = [entry for logical in creation_order(wanted) if (entry := self._entry(logical, wanted[logical]))]
        found += [_removal(logical, each) for logical, each in self.stack.resources.items() if logical not in wanted]
        found.sort(key=lambda entry: entry["LogicalResourceId"])
        return [{"Type": "Resource", "ResourceChange": entry} for entry in found]

    def _entry(self, logical: str, declared: DeclaredResource) -> ChangeSetEntry | None:
        properties = self.scope().properties(declared)
        current = self.stack.resources.get(logical)
        if current is None or current["ResourceType"] != declared["Type"]:
            self._new.add(logical)
            return _addition(logical, declared["Type"], properties)
        changed = [
            n for n in sorted(current["Properties"].keys() | properties.keys()) if _differs(n, current, properties)
        ]
        if not changed:
            return None
        details = [each for name in changed for each in self._details(name, current, declared, properties)]
        retained = declared.get("UpdateReplacePolicy") == "Retain"
        entry = _modification(logical, current, properties, details, retained)
        (self._replaced if entry["Replacement"] == "True" else self._modified).add(logical)
        return entry

    def _details(
        self, name: str, current: StackResource, declared: DeclaredResource, properties: Mapping[str, object]
    ) -> list[ChangeDetail]:
        target = _target(name, current, properties)
        whole = declared.get("Properties")
        expression = whole.get(name) if isinstance(whole, Mapping) else None
        causes = {cause: None for each in references(expression) if (cause := self._cause(each))}
        direct: ChangeDetail = {"Target": target, "Evaluation": "Static", "ChangeSource": "DirectModification"}
        if not causes:
            return [direct]
        indirect: list[ChangeDetail] = [
            {"Target": target, "Evaluation": evaluation, "ChangeSource": source, "CausingEntity": entity}
            for evaluation, source, entity in causes
        ]
        return [*indirect, {**direct, "Evaluation": "Dynamic"}]

    def _cause(self, each: TemplateReference) -> tuple[str, str, str] | None:
        """Evaluation, source and entity, if what an expression refers to changes."""
        if each.kind == "Ref" and each.name in self.parameters:
            same = self.parameters[each.name] == self.stack.record["Parameters"].get(each.name)
            return None if same else ("Static", "ParameterReference", each.name)
        replaced = each.name in self._replaced | self._new
        if each.kind == "Ref" and replaced:
            return "Static", "ResourceReference", each.name
        if each.kind == "GetAtt" and (replaced or each.name in self._modified):
            evaluation = "Static" if replaced else "Dynamic"
            return evaluation, "ResourceAttribute", f"{each.name}.{each.attribute}"
        return None


def without_values(changes: Sequence[StackChange]) -> list[StackChange]:
    """The changes as they are told to who did not ask for the values of properties."""
    return [{"Type": each["Type"], "ResourceChange": _bare(each["ResourceChange"])} for each in changes]


def _bare(entry: ChangeSetEntry) -> ChangeSetEntry:
    left_out = (*_IN_VALUES, *(["Replacement"] if entry["Action"] == "Add" else []))
    details = [_bare_detail(each) for each in entry["Details"] if not _is_only_of_values(each, entry)]
    return record_of(ChangeSetEntry, without(entry, *left_out), {"Details": details})


def _bare_detail(detail: ChangeDetail) -> ChangeDetail:
    return record_of(ChangeDetail, detail, {"Target": without(detail["Target"], *_OF_TARGET)})


def _is_only_of_values(detail: ChangeDetail, entry: ChangeSetEntry) -> bool:
    """Whether only a parameter's change says that the property itself may change, too; a resource's does not."""
    if detail["ChangeSource"] != "DirectModification" or detail["Evaluation"] == "Static":
        return False
    same = [each for each in entry["Details"] if each["Target"]["Path"] == detail["Target"]["Path"]]
    return not any(each["ChangeSource"] == "ParameterReference" for each in same)


def _differs(name: str, current: StackResource, properties: Mapping[str, object]) -> bool:
    return name not in properties or current["Properties"].get(name) != properties[name]


def _context(properties: Mapping[str, object]) -> str:
    return shown_json({"Properties": properties})


def _addition(logical: str, kind: str, properties: Mapping[str, object]) -> ChangeSetEntry:
    return {
        "Action": "Add",
        "LogicalResourceId": logical,
        "ResourceType": kind,
        "Replacement": "True",
        "Scope": [],
        "Details": [],
        "AfterContext": _context(properties),
    }


def _removal(logical: str, current: StackResource) -> ChangeSetEntry:
    return {
        "Action": "Remove",
        "LogicalResourceId": logical,
        "ResourceType": current["ResourceType"],
        "PhysicalResourceId": current["PhysicalResourceId"],
        "PolicyAction": "Retain" if current["DeletionPolicy"].startswith("Retain") else "Delete",
        "Scope": [],
        "Details": [],
        "BeforeContext": _context(current["Properties"]),
    }


def _modification(
    logical: str, current: StackResource, properties: Mapping[str, object], details: list[ChangeDetail], retained: bool
) -> ChangeSetEntry:
    replacement = _replacement(current, properties, details)
    entry: ChangeSetEntry = {
        "Action": "Modify",
        "LogicalResourceId": logical,
        "ResourceType": current["ResourceType"],
        "PhysicalResourceId": current["PhysicalResourceId"],
        "Scope": sorted({each["Target"]["Attribute"] for each in details}),
        "Details": details,
        "Replacement": replacement,
        "BeforeContext": _context(current["Properties"]),
        "AfterContext": _context(properties),
    }
    if replacement != "False":
        entry["PolicyAction"] = "ReplaceAndRetain" if retained else "ReplaceAndDelete"
    return entry


def _replacement(current: StackResource, properties: Mapping[str, object], details: Sequence[ChangeDetail]) -> str:
    """Whether the resource is replaced: surely, if a change that is not known yet is one, or not."""
    recreating = [each for each in details if each["Target"]["RequiresRecreation"] == ALWAYS]
    sure = any(each["Evaluation"] == "Static" for each in recreating)
    if recreating:
        return "True" if sure else "Conditional"
    return "True" if is_replaced(current["ResourceType"], current["Properties"], properties) else "False"


def _target(name: str, current: StackResource, properties: Mapping[str, object]) -> ChangeTarget:
    target: ChangeTarget = {
        "Attribute": "Tags" if name == "Tags" else "Properties",
        "RequiresRecreation": _recreation(name, current["ResourceType"]),
        "Path": f"/Properties/{name}",
        "AttributeChangeType": _change_type(name, current, properties),
    }
    if name != "Tags":
        target["Name"] = name
    if name in current["Properties"]:
        target["BeforeValue"] = _value(current["Properties"][name])
    if name in properties:
        target["AfterValue"] = _value(properties[name])
    return target


def _recreation(name: str, kind: str) -> str:
    known = schema_of(kind)
    return known.recreation(name) if known else NEVER


def _change_type(name: str, current: StackResource, properties: Mapping[str, object]) -> str:
    if name not in properties:
        return "Remove"
    return "Modify" if name in current["Properties"] else "Add"


def _value(value: object) -> str:
    return shown_json(value) if isinstance(value, Mapping | list) else plain_text(value)
