"""Which Python a build runs with, where its buildspec asks for one."""

from __future__ import annotations

import sys

import pytest

from local_account.codebuild.buildspec import BuildspecError
from local_account.codebuild.environment import instead_of

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize("wanted", ["", OWN, "3.x", "latest"])
def test_the_accounts_own_python_needs_no_word(wanted: str) -> None:
    assert instead_of(wanted) == ""


def test_another_python_3_is_told() -> None:
    assert instead_of("3.7") == f"Python 3.7 is asked for; builds in the stand-in account run with its own, {OWN}"


@pytest.mark.parametrize("wanted", ["2.7", "3", "three", "3.11.1"])
def test_what_is_no_python_3_is_refused(wanted: str) -> None:
    with pytest.raises(BuildspecError, match="unknown runtime version"):
        instead_of(wanted)
