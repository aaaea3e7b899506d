"""Parallel: its branches in threads, of which the first that fails ends the others.

Runs in the server process.
"""

from __future__ import annotations

import threading

from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branches_decl import BranchesDecl
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.state_parallel import StateParallel
from moto.stepfunctions.parser.asl.eval.environment import Environment

from local_account.stepfunctions.environment import ExecutionEnvironment, own
from local_account.stepfunctions.flow.aborting import end_branches
from local_account.stepfunctions.flow.attempts import attempt
from local_account.stepfunctions.flow.outcomes import failure_of
from local_account.stepfunctions.language.components import component
from local_account.stepfunctions.language.encoding import copy_json
from local_account.stepfunctions.language.failures import RUNTIME, StateFailure, error_of


@component
class ParallelState(StateParallel):
    """A Parallel state."""

    def _eval_state(self, env: Environment) -> None:
        attempt(self, own(env), failed="ParallelStateFailed")

    def _eval_execution(self, env: Environment) -> None:
        if self.parargs is not None:
            self.parargs.eval(env=env)
        super()._eval_execution(env)


@component
class Branches(BranchesDecl):
    """The branches of a Parallel state."""

    def _eval_body(self, env: Environment) -> None:
        given = env.stack.pop()
        running = _Branches(own(env), self.programs, given)
        env.stack.append(running.outputs())


class _Branches:
    """The branches while they run."""

    def __init__(self, env: ExecutionEnvironment, programs: list[Program], given: object) -> None:
        self.env, self.given = env, given
        self._changed = threading.Condition()
        self._frames = {index: env.open_inner_frame() for index in range(len(programs))}
        self._active = set(self._frames)
        self._failure: StateFailure | None = None
        for (index, frame), program in zip(list(self._frames.items()), programs, strict=True):
            threading.Thread(target=self._run, args=(index, frame, program), daemon=True).start()

    def outputs(self) -> list[object]:
        """What the branches came to, once all have ended; StateFailure when one failed."""
        with self._changed:
            while self._active and self._failure is None:
                self._changed.wait()
        for index in sorted(self._frames):
            self.env.close_frame(self._frames[index])
        if self._failure is not None:
            raise self._failure
        return [self._frames[index].states.get_input() for index in sorted(self._frames)]

    def _run(self, index: int, frame: ExecutionEnvironment, program: Program) -> None:
        frame.states.reset(input_value=copy_json(self.given))
        program.eval(frame)
        failed = failure_of(frame)
        with self._changed:
            self._active.discard(index)
            if failed is not None and self._failure is None:
                self._fail(frame, failed)
            self._changed.notify_all()

    def _fail(self, frame: ExecutionEnvironment, failed: StateFailure) -> None:
        self._failure = failed
        rest = [self._frames.pop(index) for index in sorted(self._active)]
        end_branches(rest, frame, told=error_of(failed.failure_event) != RUNTIME)
