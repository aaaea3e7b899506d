"""Names in state files that outlive every move of the code: a stored class or function is kept under one namespace.

Used in the server process by ``moto_bridge.state_pickle``. A pickle names what it holds by module and name; a module
that moves would make every account of yesterday unreadable. So what is stored says it lives in ``NAMESPACE``, which is
no file, and what the version before wrote is looked up there as well.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import TypeVar

NAMESPACE = "account_state"
# Where version 0.1.0 had what it stored.
EARLIER_MODULES = frozenset(
    {"local_account.moto_state", "local_account.state_pickle", "local_account.stepfunctions_records"}
)
# What was stored under the name of a class of moto's, and is now of one of ours that derives from it.
EARLIER_CLASSES = {("moto.stepfunctions.parser.backend.execution", "Execution"): "AccountExecution"}

_MODULE = types.ModuleType(NAMESPACE, "What state files may name of ours; filled by ``stored``.")
sys.modules[NAMESPACE] = _MODULE  # where pickle looks for it

_Stored = TypeVar("_Stored", bound=Callable[..., object])


def stored(thing: _Stored) -> _Stored:
    """Keep a class or a function under its own name in state files, wherever its module moves."""
    name = thing.__name__
    if name in vars(_MODULE):
        raise ValueError(f"two things that are stored have the name {name}")
    thing.__module__ = NAMESPACE
    setattr(_MODULE, name, thing)
    return thing


def current_place(module: str, name: str) -> tuple[str, str]:
    """The module and the name under which something of a state file is found today."""
    if (module, name) in EARLIER_CLASSES:
        return NAMESPACE, EARLIER_CLASSES[module, name]
    return (NAMESPACE if module in EARLIER_MODULES else module), name
