"""What strangers' files say must not command a terminal, nor fill it."""

from argparse import ArgumentTypeError

import pytest

from schemas.runtime.errors import UserError
from schemas.runtime.terminal import LINE, Parser, console, count_text, one_line, share, unit_of, whole_number


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    line = one_line("a.zarr: \x1b[31mred\n" + "x" * 100_000 + "\u202e; give another path")
    assert line.isprintable()
    assert len(line) <= LINE
    assert line.startswith("a.zarr: ?[31mred ")
    assert line.endswith("?; give another path")


def test_a_short_message_stays_whole() -> None:
    assert one_line("x: must be\n 1") == "x: must be 1"


def test_counts_in_words() -> None:
    counts = [count_text(n, noun) for noun in ("sample", "patch") for n in (0, 1, 2, 1000)]
    assert counts[:4] == ["0 samples", "1 sample", "2 samples", "1,000 samples"]
    assert counts[4:] == ["0 patches", "1 patch", "2 patches", "1,000 patches"]


def test_words_have_no_unit_and_numbers_have() -> None:
    words: list[object] = ["none", ["a", "b"], True, None, {}]
    numbers: list[object] = [0, 0.5, [1, 2], ()]
    assert {unit_of(value, "1") for value in words} == {""}
    assert {unit_of(value, "1") for value in numbers} == {"1"}
    assert unit_of(None, "pixel") == "pixel"


def test_texts_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("a:x:b [red] [1/nm]")
    assert capsys.readouterr().out == "a:x:b [red] [1/nm]\n"


def test_a_wrong_word_of_a_list_gets_the_nearest() -> None:
    parser = Parser()
    parser.add_argument("--mode", choices=["resident", "stream"])
    with pytest.raises(UserError, match=r"invalid choice: 'strem' .*; did you mean stream\?; see"):
        parser.parse_args(["--mode", "strem"])
    with pytest.raises(UserError, match=r"unrecognized arguments: --moode; see"):
        parser.parse_args(["--moode"])


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
