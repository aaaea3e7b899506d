"""The register of what is replaced in moto refuses what would fail hours later."""

from __future__ import annotations

import pytest
from moto.budgets import urls
from moto.budgets.models import BudgetsBackend
from moto.budgets.responses import BudgetsResponse
from moto.core.base_backend import BackendDict
from moto.logs.models import LogsBackend

from local_account.base.errors import AccountError
from local_account.base.replacements import answered_by, replace, replacements, use_backend


class Theirs:
    """What stands for a class of moto's."""

    def greet(self, name: str) -> str:
        """A method."""
        return f"hello {name}"


class OurBudgets(BudgetsBackend):
    """A backend of ours."""


class OurAnswers(BudgetsResponse):
    """Answers of ours."""


def test_a_replacement_is_in_the_register_with_its_reason() -> None:
    def greet(self: Theirs, name: str) -> str:
        return f"{type(self).__name__} and {name}"

    replace(Theirs, "greet", greet, why="they are too short")
    assert Theirs().greet("you") == "Theirs and you"
    (found,) = [each for each in replacements() if each.owner.endswith("test_replacements.Theirs")]
    assert (found.name, found.why, found.private) == ("greet", "they are too short", False)
    with pytest.raises(AccountError, match="replaced twice"):
        replace(Theirs, "greet", greet, why="once more")


def test_a_name_that_is_gone_or_takes_something_else_ends_the_start() -> None:
    with pytest.raises(AccountError, match=r"no longer has .*Theirs.part, which is replaced here because it was there"):
        replace(Theirs, "part", print, why="it was there")

    class Changed:
        def greet(self, name: str, title: str) -> None:
            """With another parameter."""

    with pytest.raises(AccountError, match="takes self, name, title in this moto, and what replaces it self, name"):
        replace(Changed, "greet", Theirs.greet, why="of a test")


def test_moto_makes_backends_of_the_class_that_it_is_given() -> None:
    backends = BackendDict(BudgetsBackend, "budgets", use_boto3_regions=False, additional_regions=["aws"])
    use_backend(backends, OurBudgets)
    assert isinstance(backends["123456789012"]["aws"], OurBudgets)
    with pytest.raises(AccountError, match=r"moto's budgets was used before .*OurBudgets took its place"):
        use_backend(backends, OurBudgets)


def test_a_backend_of_another_service_is_refused() -> None:
    backends = BackendDict(LogsBackend, "logs")
    with pytest.raises(AccountError, match=r"OurBudgets is no subclass of moto's .*LogsBackend"):
        use_backend(backends, OurBudgets)


def test_the_addresses_of_a_service_are_answered_by_our_class() -> None:
    handlers = answered_by(OurAnswers, urls.url_paths)
    assert list(handlers) == ["/$"]
    assert getattr(handlers["/$"], "__self__", None) is OurAnswers
