"""What the runs' page draws of the lines that a training prints."""

from __future__ import annotations

import re

from console.pages.runs.views import CurvesView, curves

LINE = "epoch={}/{} member=0 train_loss=0.5 validation_loss=0.{} validation_accuracy=0.9"


def view(epochs: int, ended: int) -> CurvesView:
    return CurvesView(curves([LINE.format(number, epochs, number) for number in range(1, ended + 1)]), "")


def test_a_training_of_one_epoch_is_told_in_figures() -> None:
    assert view(1, 1).figures == [("train loss", 0.5), ("validation loss", 0.1), ("validation accuracy", 0.9)]


def test_a_training_that_has_more_to_come_is_drawn_over_all_its_epochs() -> None:
    begun = view(3, 1)
    assert begun.figures == []
    assert re.findall(r">([\d.]+)</text>", str(begun.charts[0].svg()))[-3:] == ["1", "2", "3"]


def test_before_the_first_epoch_ends_there_is_nothing() -> None:
    assert (view(3, 0).charts, view(3, 0).figures) == ([], [])
