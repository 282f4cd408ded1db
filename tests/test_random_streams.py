"""Randomness belongs to a sample, and to nothing else."""

import hashlib

import numpy as np

from generators.random_streams import Streams


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
    name = int.from_bytes(hashlib.sha256(b"noise").digest()[:8], "little")
    counter = np.array([0, 0, 5, name], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter)).standard_normal(4)
    assert np.array_equal(Streams(3, "test", 5).noise.standard_normal(4), expected)


def test_neighbouring_samples_are_not_correlated() -> None:
    """5 standard errors of a correlation over 20,000 pairs."""
    rows = np.array([Streams(0, "train", i).noise.standard_normal(20) for i in range(1001)])
    correlation = np.mean(rows[1:] * rows[:-1])
    assert abs(correlation) < 5 / np.sqrt(20_000)


def test_the_samples_of_a_group_share_its_streams_and_no_others() -> None:
    shared = [Streams(0, "train", sample).group(3).object.random(4) for sample in (0, 9)]
    assert np.array_equal(shared[0], shared[1])
    assert np.array_equal(Streams(0, "dataset", 0).group(3, "train").object.random(4), shared[0])
    others = [Streams(0, "train", 3), Streams(0, "test", 0).group(3), Streams(1, "train", 0).group(3)]
    others += [Streams(0, "train", 0).group(4)]
    assert len({tuple(other.object.random(4)) for other in others} | {tuple(shared[0])}) == len(others) + 1
    assert (others[-1].split, others[-1].sample) == ("train", 4)


def test_the_key_of_a_group_is_that_documented() -> None:
    key = np.random.SeedSequence(3, spawn_key=tuple(b"test/group")).generate_state(2, np.uint64)
    name = int.from_bytes(hashlib.sha256(b"noise").digest()[:8], "little")
    counter = np.array([0, 0, 5, name], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter)).standard_normal(4)
    assert np.array_equal(Streams(3, "test", 0).group(5).noise.standard_normal(4), expected)
