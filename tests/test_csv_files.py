"""Tables that people open in spreadsheets hold no formulas of strangers."""

import csv
import io

import pytest

from schemas.runtime.csv_files import csv_table


def cells(*row: object) -> list[str]:
    return next(csv.reader(io.StringIO(csv_table([row]).decode(), newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "＝1", "-name", "=\x1b[31m"])
def test_a_text_is_no_formula(text: str) -> None:
    assert cells(text)[0].startswith("'")
    assert cells(text)[0].isprintable()


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\x1b=1"])
def test_a_text_has_no_control_characters(text: str) -> None:
    assert cells(text) == ["?=1"]


@pytest.mark.parametrize("value", [-1.5, "-1.5", "+3", "-1e-07", "-inf", "nan", 7, "tie-unet.nrms", ""])
def test_numbers_and_names_stay_as_they_are(value: object) -> None:
    assert cells(value, "end") == [str(value), "end"]


def test_none_is_an_empty_cell() -> None:
    assert csv_table([["a", "b"], [None, 1]]) == b"a,b\n,1\n"
