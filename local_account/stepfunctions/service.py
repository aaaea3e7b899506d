"""Step Functions: moto's interpreter of the States Language, made to behave as Step Functions does.

Runs in the server process. ``install`` turns the interpreter on and tells moto's registry our backend and our answers.
What is ours derives from moto's classes: see ``language.definition`` (checks at creation), ``stepfunctions.states``
(evaluation), ``flow`` (attempts, branches, trials), ``stepfunctions.executions`` (names, results, Express, redriving),
``maps.map_runs`` (Distributed Map), ``stepfunctions.tasks`` (clients and errors of tasks) and ``api`` (machines, their
versions, activities, TestState). Refused, never pretended: waiting (``.sync``) for anything but
jobs of SageMaker and executions.
docs/local_account.md lists the differences from AWS.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.base.replacements import replace
from local_account.cloudwatch.telemetry import Telemetry
from local_account.protocol.members import register
from local_account.stepfunctions import clients

if TYPE_CHECKING:
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.eval.environment import Environment

PATHS_KEPT = 4096  # parsed JSONPaths


def install(account: Account) -> None:
    """Make moto's Step Functions run. Called once, before the first request."""
    from moto.core.config import default_user_config

    register(Path(__file__).with_name("members.toml"))
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    with _batch_unread():
        clients.install(account)
        _spare_the_interpreter()
        _install_backend(account)


@contextmanager
def _batch_unread() -> Iterator[None]:
    """Keep moto's Step Functions from importing its Batch and with that EC2: a third of the account's start.

    It needs the names of a job's states only, which are in a module of that package.
    """
    name = "moto.batch"
    if name in sys.modules:
        yield
        return
    (folder,) = importlib.import_module("moto").__path__
    package = ModuleType(name)
    package.__path__ = [f"{folder}/batch"]
    sys.modules[name] = package
    try:
        yield
    finally:
        del sys.modules[name]


def _spare_the_interpreter() -> None:
    from jsonpath_ng.ext.parser import parse
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.utils import json_path

    replace(
        json_path,
        "parse",
        lru_cache(maxsize=PATHS_KEPT)(parse),
        why="parsing one path takes half a millisecond, each time that it is evaluated",
        upstream="004-parse-a-path-once.md",
    )
    replace(
        EvalComponent,
        "eval",
        _evaluate,
        why="it describes the whole state machine, for the log, with each error that passes a component",
        upstream="008-describe-a-component-only-for-the-log.md",
    )


def _evaluate(self: EvalComponent, env: Environment) -> None:
    """Evaluate a component, unless the execution has ended."""
    if env.is_running():
        field = self._field_name()
        if field is not None:
            env.next_field_name = field
        self._eval_body(env)


def _install_backend(account: Account) -> None:
    """Tell moto's registry which backend it makes, and where its dispatcher brings requests."""
    from moto.stepfunctions.models import stepfunctions_backends
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    from local_account.stepfunctions.answers import AccountResponses
    from local_account.stepfunctions.api.base import backend_of
    from local_account.stepfunctions.backend import AccountBackend, Workflows
    from local_account.stepfunctions.executions import WorkflowExecutions
    from local_account.stepfunctions.integrations.activities import ActivityQueues
    from local_account.stepfunctions.maps.iterations import MapState
    from local_account.stepfunctions.maps.map_runs import MapRuns

    telemetry = Telemetry(account)
    telemetry.start()
    map_runs = MapRuns(account, telemetry)
    MapState.runner = map_runs
    activities = ActivityQueues(lambda arn: arn in backend_of(account.account_id, account.region).activities)
    executions = WorkflowExecutions(account, telemetry, activities)
    AccountBackend.workflows = Workflows(account, executions, map_runs, activities)
    AccountBackend.handler = AccountResponses.dispatch
    stepfunctions_parser_backends.backend = AccountBackend
    stepfunctions_backends.backend = AccountBackend  # of this one only the paths are asked
