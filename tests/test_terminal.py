"""What strangers' files say must not command a terminal, nor fill it."""

from argparse import ArgumentTypeError

import pytest

from schemas.runtime.terminal import MAX_MESSAGE_LENGTH, one_line, share, whole_number


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    line = one_line("a.zarr: \x1b[31mred\n" + "x" * 100_000 + "\u202e; give another path")
    assert line.isprintable()
    assert len(line) <= MAX_MESSAGE_LENGTH
    assert line.startswith("a.zarr: ?[31mred ")
    assert line.endswith("?; give another path")


def test_a_short_message_stays_whole() -> None:
    assert one_line("x: must be\n 1") == "x: must be 1"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "1_0", "\u0661", "11", "9" * 40])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="must be a whole number, at least 1 and at most 10"):
        whole_number(1, 10)(text)
    assert whole_number(1, 10)("10") == 10


@pytest.mark.parametrize("text", ["-0.1", "0", "nan", "inf", "2", "101%", "%", "x"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"must be a share of it, above 0 to 1, such as 1% or 0\.01"):
        share("it")(text)
    assert share("it")("1%") == share("it")("0.01") == 0.01
    assert share("it", zero=True)("0") == 0
