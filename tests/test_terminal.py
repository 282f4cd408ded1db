"""What strangers' files say must not command a terminal, nor fill it."""

import ast
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.table import Table

import generators.cli
import inference.cli
import schemas.cli
import training.cli
from schemas.runtime import terminal
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import (
    MAX_MESSAGE_LENGTH,
    Parser,
    count_text,
    one_line,
    run_command,
    say,
    say_rows,
    say_table,
    share,
    unit_of,
    whole_number,
)
from tests.conftest import ROOT, TOY_TASK, Command, refused
from tests.test_architecture import ROOMS, modules


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    line = one_line("a.zarr: \x1b[31mred\n" + "x" * 100_000 + "\u202e; give another path")
    assert line.isprintable()
    assert len(line) <= MAX_MESSAGE_LENGTH
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
    assert refusal(dataset, "import") == "--task is missing; see dataset import --help"
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
    say_table(table)
    say(text)
    assert capsys.readouterr().out.count(text) == 3


@pytest.mark.parametrize(("width", "turned"), [(21, False), (20, True), (13, True)])
def test_a_table_that_is_too_wide_is_turned(
    width: int, turned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "TABLE_WIDTH", 0)
    monkeypatch.setenv("COLUMNS", str(width))
    say_rows([["method", "nrms", "a score"], ["fbp", "0.1", "0.25"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == (["method", "fbp"] if turned else ["method", "nrms", "a", "score"])
    assert len(lines) == (3 if turned else 2), "folded"


PRINTING = {Path("schemas/runtime/terminal.py"), Path("schemas/formats/isolated_reader.py")}  # the second for a parent


def test_one_function_prints_everything() -> None:
    for path in (path for room in set(ROOMS) - {"benchmarks"} for path in modules(room)):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"print", "Console"} or path.relative_to(ROOT) in PRINTING, path


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "\u00e4\u2192?"), ("latin-1", "\u00e4??"), ("ascii", "???")])
def test_a_stream_gets_letters_that_it_can_hold(encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    say("\u00e4\u2192\udcfc")
    assert stream.buffer.getvalue() == f"{shown}\n".encode(encoding)


@pytest.mark.filterwarnings("always")
def test_warnings_and_logs_of_libraries_are_printed_alike(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: object) -> int:
        warnings.warn("\x1b[31mred", stacklevel=1)
        logging.Handler.handle(logging.lastResort, logging.makeLogRecord({"msg": "\x1b[32mgreen"}))  # type: ignore[arg-type]
        return 0

    before = logging.lastResort, warnings.showwarning
    try:
        run_command(main, [], "")
    finally:
        logging.lastResort, warnings.showwarning = before
    assert capsys.readouterr().err == "warning: ?[31mred\n?[32mgreen\n"


def test_what_strangers_wrote_is_printed_and_exported_without_control_characters(
    generate: Command, dataset: Command
) -> None:
    assert generate(*TOY_TASK, "--n", 4, "--validation", 0, "--test", 0)[0] == 0
    root = json.loads(Path("toy.zarr/zarr.json").read_text())
    own = root["attributes"]["drybeam"]
    for field in own["task"]["fields"]:
        field |= {"units": "\x1b]0;owned\x07", "about": "\x9b31m"}
    own |= {"root_digest": "\x1b[2J", "platform": "\x1b[2J"}
    Path("toy.zarr/zarr.json").write_text(json.dumps(root))
    Path("\x1b[1m.zarr").symlink_to("toy.zarr")
    for verb in (("info",), ("validate",), ("verify",), ("preview",), ("info", "--json")):
        code, out, err = dataset(*verb, "\x1b[1m.zarr")
        assert code in (0, 1, 2)
        assert (out + err).replace("\n", "").isprintable()
    assert dataset("export", "toy.zarr", "--format", "npy", "--split", "train", "--out", "e")[0] == 0
    assert Path("e/parameters.csv").read_text().replace("\n", "").isprintable()


HOSTILE = {  # settings that users make for other programs
    "MPLBACKEND": "nonsense",
    "MATPLOTLIBRC": "rc",
    "ZARR_DEFAULT_ZARR_FORMAT": "2",
    "ZARR_CODECS__BLOSC": "nonsense",
    "ZARR_ARRAY__WRITE_EMPTY_CHUNKS": "false",
    "DASK_DISTRIBUTED__NANNY__ENVIRON": "3",
    "NUMBA_CACHE_DIR": "/proc/none",
    "PYTHONIOENCODING": "latin-1",
}


@pytest.mark.slow(10)
def test_settings_for_other_programs_change_nothing(generate: Command) -> None:
    Path("rc").write_text("text.usetex: True\nsavefig.dpi: 1\n")
    small = (*TOY_TASK, "--n", 4, "--validation", 0, "--test", 0, "--shard-samples", 4)
    assert generate(*small)[0] == 0
    script = "import tests.conftest, sys; from generators.cli import main as a; from schemas.cli import main as b; "
    made = [str(word) for word in (*small, "--out", "b.zarr")]
    script += f"sys.exit(a({made}) or b(['preview', 'b.zarr']))"
    environment = {**os.environ, **HOSTILE, "PYTHONPATH": str(ROOT)}
    closed = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{script}" >&-'], env=environment, capture_output=True)
    assert (closed.returncode, closed.stderr) == (0, b"")
    assert Path("b.zarr/zarr.json").read_bytes() == Path("toy.zarr/zarr.json").read_bytes()
    assert Path("b.png").stat().st_size > 10_000


@pytest.mark.parametrize("content", ["a: [1\nb", "array: 3\ndistributed: 5", "array: {order: F}\nlogging: {a: 7}"])
def test_files_of_settings_for_other_programs_are_not_read(content: str) -> None:
    for library in ("zarr", "dask"):
        Path(f".config/{library}").mkdir(parents=True)
        Path(f".config/{library}/a.yaml").write_text(content)
    script = "import os; before = dict(os.environ); import schemas, zarr, generators.engine.dask_preload; "
    script += "assert zarr.config.get('array.order') == 'C' and dict(os.environ) == before"
    environment = {**os.environ, "HOME": os.getcwd(), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


@pytest.mark.parametrize("room", ["generators", "schemas", "training"])
def test_without_docstrings_nothing_runs(room: str) -> None:
    found = subprocess.run([sys.executable, "-OO", "-m", room, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("python -OO removes the texts")
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["0", "banana", "-1", ""])
def test_a_variable_that_is_no_number_of_threads_is_named(
    value: str, generate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", value)
    refused(generate(*TOY_TASK, "--n", 4), f"NUMBA_NUM_THREADS={value}: must be a whole number of at least 1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert generate(*TOY_TASK, "--n", 4)[0] == 0
