"""What strangers' files say must not command a terminal, nor fill it."""

from schemas.runtime.terminal import LINE, one_line


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    line = one_line("a.zarr: \x1b[31mred\n" + "x" * 100_000 + "\u202e; give another path")
    assert line.isprintable()
    assert len(line) <= LINE
    assert line.startswith("a.zarr: ?[31mred ")
    assert line.endswith("?; give another path")


def test_a_short_message_stays_whole() -> None:
    assert one_line("x: must be\n 1") == "x: must be 1"
