"""Randomness belongs to a sample, and to nothing else."""

import numpy as np

from generators.streams import Streams


def test_a_stream_is_the_same_wherever_it_is_made() -> None:
    first = Streams(7, "train", 12).noise.random(5)
    other = Streams(7, "train", 12)
    other.optics.random(100)  # what is drawn elsewhere does not matter
    assert np.array_equal(other.noise.random(5), first)


def test_seed_split_sample_and_name_each_make_another_stream() -> None:
    draws = {
        tuple(getattr(Streams(seed, split, sample), name).integers(0, 2**63, 4))
        for seed in (0, 1)
        for split in ("train", "test")
        for sample in (0, 1, 2**40)
        for name in ("noise", "optics")
    }
    assert len(draws) == 2 * 2 * 3 * 2


def test_an_attribute_goes_on_where_it_stopped() -> None:
    streams = Streams(0, "train", 0)
    parts = np.concatenate([streams.noise.random(3), streams.noise.random(3)])
    assert np.array_equal(parts, Streams(0, "train", 0).noise.random(6))


def test_key_and_counter_are_those_documented() -> None:
    """An independent construction, so that others can draw the same numbers."""
    key = np.random.SeedSequence(3, spawn_key=tuple(b"test")).generate_state(2, np.uint64)
    # first 8 bytes, little-endian, of sha256(b"noise")
    import hashlib

    name = int.from_bytes(hashlib.sha256(b"noise").digest()[:8], "little")
    counter = np.array([0, 0, 5, name], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter)).standard_normal(4)
    assert np.array_equal(Streams(3, "test", 5).noise.standard_normal(4), expected)


def test_neighbouring_samples_are_not_correlated() -> None:
    """5 standard errors of a correlation over 20,000 pairs."""
    rows = np.array([Streams(0, "train", i).noise.standard_normal(20) for i in range(1001)])
    correlation = np.mean(rows[1:] * rows[:-1])
    assert abs(correlation) < 5 / np.sqrt(20_000)
