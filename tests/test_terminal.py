"""What strangers' files say must not command a terminal, nor fill it."""

from argparse import ArgumentTypeError
from collections.abc import Sequence

import pytest
from rich.table import Table

import generators.cli
import inference.cli
import schemas.cli
import training.cli
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import MAX_MESSAGE_LENGTH, Parser, one_line, plain_console, share, whole_number


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


PARSERS = {
    "generate": generators.cli._parser,
    "train": training.cli._parser,
    "infer": inference.cli._infer_parser,
    "evaluate": inference.cli._evaluate_parser,
    "dataset": schemas.cli._parser,
}
WORDS_OF_ARGPARSE = (
    "invalid choice",
    "choose from",
    "unrecognized",
    "expected",
    "are required",
    "argument -",
    "ignored",
)


def refusal(parser: Parser, *words: str) -> str:
    """Return the message with which a parser refuses some words."""
    with pytest.raises(UserError) as caught:
        parser.parse_args(words)
    assert not [word for word in WORDS_OF_ARGPARSE if word in str(caught.value)], caught.value
    return str(caught.value)


@pytest.mark.parametrize("name", PARSERS)
def test_all_fixed_lists_are_refused_in_one_way_with_the_nearest_word(name: str) -> None:
    def check(parser: Parser, before: Sequence[str]) -> None:
        for action in parser._actions:
            if not action.choices:
                continue
            for word in action.choices:
                option = [action.option_strings[0]] if action.option_strings else []
                said = refusal(parser, *option, f"{word}x")
                listed = (
                    f"{word}x: must be one of {', '.join(action.choices)}; did you mean {word}?; see {parser.prog} --"
                )
                assert said.startswith(" ".join([*option, listed]))
                assert "did you mean" not in refusal(parser, *option, "0")
                if isinstance(action.choices, dict):
                    check(action.choices[word], [*before, word])

    check(PARSERS[name](), [])


@pytest.mark.parametrize("name", PARSERS)
def test_other_refusals_are_ours_too(name: str) -> None:
    parser, verb = PARSERS[name](), ["info", "x.zarr"] if name == "dataset" else []
    needed = ["--predictions", "x.zarr", "--data", "x.zarr"] if name == "evaluate" else verb
    flag, valued = ("--json", "--recompute") if verb else ("--overwrite", "--out")
    assert refusal(parser, *needed, "--neither").startswith("--neither: no such option")
    assert refusal(parser, *needed, "more").startswith("more: no such argument; see ")
    assert refusal(parser, *verb, f"{flag}=no").startswith(f"{flag} no: takes no value; leave it out")
    verb = ["verify", "x.zarr"] if verb else []
    assert refusal(parser, *verb, valued).startswith(f"{valued}: needs a value; see ")


def test_the_nearest_option_and_missing_ones_are_named() -> None:
    dataset = schemas.cli._parser()
    assert refusal(dataset, "info", "x.zarr", "--jsn") == (
        "--jsn: no such option; did you mean --json?; see dataset info --help"
    )
    assert refusal(dataset, "import") == "--task and --from are missing; see dataset import --help"
    assert refusal(dataset, "info") == "path is missing; see dataset info --help"
    assert refusal(dataset, "import", "--counts", "--amplitudes").startswith(
        "--amplitudes: excludes --counts; leave one"
    )
    assert refusal(generators.cli._parser(), "--shard-samples", "0").startswith("--shard-samples 0: must be a whole")
    assert refusal(dataset, "info", "s3://x/y").startswith("s3://x/y: addresses are not supported")


def test_printed_texts_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich takes `:x:` for an emoji and [nm] for markup."""
    text = "a :x: of [nm], [red]b[/red]"
    table = Table(text)
    table.add_row(text)
    plain_console().print(table)
    plain_console().print(text)
    assert capsys.readouterr().out.count(text) == 3
