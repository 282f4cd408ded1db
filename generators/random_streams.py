"""Random numbers that belong to a sample: they are the same for any n, layout, order, worker or restart.

Philox is a counter-based generator: its key holds the seed and the split, its counter the sample and the stream.

    key     = SeedSequence(seed, spawn_key=split).generate_state(2)
    counter = (0, 0, sample, stream), stream = first 8 bytes of sha256(name)

The two low words count the numbers drawn, so streams never overlap. Samples that share something, such as an object,
form a group, which has streams of its own: their key holds split + "/group" in place of the split, their counter the
number of the group.
"""

import hashlib
from functools import cache

import numpy as np


class Streams:
    """The named random streams of one sample: `streams.optics` is a NumPy Generator of its own.

    An attribute gives the same Generator each time, so draws continue where they stopped.
    """

    def __init__(self, seed: int, split: str, sample: int) -> None:
        """Name the sample.

        Args:
            seed: seed of the dataset
            split: `train`, `validation` or `test`
            sample: index of the sample in its split
        """
        self.split = split
        self.sample = sample
        self._seed = seed
        self._key = _philox_key(seed, split)

    def group(self, number: int, split: str | None = None) -> "Streams":
        """Return the streams that the samples of a group share; they differ from the streams of each sample.

        Args:
            number: index of the group
            split: split of the group; None: the split of this sample
        """
        streams = Streams(self._seed, split or self.split, number)
        streams._key = _philox_key(self._seed, f"{streams.split}/group")
        return streams

    def __getattr__(self, name: str) -> np.random.Generator:
        """Return the stream of that name, which is made at its first use."""
        if name.startswith("_"):
            raise AttributeError(name)
        counter = np.array([0, 0, self.sample, _stream_number(name)], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(counter=counter, key=self._key))
        setattr(self, name, generator)
        return generator


@cache
def _philox_key(seed: int, split: str) -> np.ndarray:
    return np.random.SeedSequence(seed, spawn_key=tuple(split.encode())).generate_state(2, np.uint64)


@cache
def _stream_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def image_generator(seed: int, image: int, part: int = 0) -> np.random.Generator:
    """Return random numbers of one image of a series, which do not depend on the other images.

    Args:
        seed: drawn seed of the series, which is stored with it
        image: index of the image
        part: number of the use, so that several uses of one seed do not share numbers
    """
    counter = np.array([0, 0, image, part], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))
