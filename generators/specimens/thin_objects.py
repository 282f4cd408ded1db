"""Thin objects of one of several kinds: textures, pictures that the user has, atomic lattices. Their phases, in rad."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field

from generators.specimens.from_files.pictures import DrawnPicture, Pictures
from generators.specimens.planar import lattice, phase_object, texture
from generators.specimens.planar.lattice import DrawnLattice, Lattice
from generators.specimens.planar.phase_object import DrawnObject, PhaseObject
from generators.specimens.planar.texture import DrawnTexture, Texture
from generators.specimens.random_values import columns
from generators.streams import Streams
from schemas.runtime.settings import Settings, setting

type Drawn = DrawnTexture | DrawnPicture | DrawnLattice


class ThinObjects(Settings):
    """What objects are made of."""

    texture: Texture = Field(
        Texture(), **setting("with the statistics of natural images, unless something else is given")
    )
    pictures: Pictures | None = Field(None, **setting("that the user has, in place of textures"))
    lattice: Lattice | None = Field(None, **setting("of atoms, in place of textures: object.range says nothing then"))
    object: PhaseObject = Field(
        PhaseObject(), **setting("how strong textures or pictures are, and how much is absorbed")
    )


@dataclass(frozen=True)
class ThinObject:
    """One of them, drawn."""

    image: Drawn
    strength: DrawnObject

    def columns(self) -> dict[str, Any]:
        """Return the fields texture_..., picture_... or lattice_..., and object_..."""
        kind = next(kind for kind, drawn in KINDS.items() if isinstance(self.image, drawn))
        return columns(f"{kind}_", self.image) | columns("object_", self.strength)


KINDS = {"texture": DrawnTexture, "picture": DrawnPicture, "lattice": DrawnLattice}


def draw(settings: ThinObjects, rng: Streams) -> ThinObject:
    """An object, from the streams `specimen` and `object`."""
    if settings.pictures:
        image: Drawn = settings.pictures.draw(rng)
    else:
        drawn_from = lattice.draw(settings.lattice, rng.specimen) if settings.lattice else None
        image = drawn_from or texture.draw(settings.texture, rng.specimen)
    return ThinObject(image, phase_object.draw(settings.object, rng.object))


@lru_cache(maxsize=8)
def phase(
    settings: ThinObjects, drawn: ThinObject, shape: tuple[int, int], sampling: float, voltage: float
) -> np.ndarray:
    """The phase of an object (y, x) [rad], float32, not to be written to; the last ones are kept.

    sampling: [nm]. voltage: [V]; only lattices depend on these two.
    """
    found = _phase(settings, drawn, shape, sampling, voltage)
    found.flags.writeable = False
    return found


def _phase(
    settings: ThinObjects, drawn: ThinObject, shape: tuple[int, int], sampling: float, voltage: float
) -> np.ndarray:
    if isinstance(drawn.image, DrawnLattice):
        return lattice.phase(drawn.image, shape, (sampling, sampling), voltage)
    if isinstance(drawn.image, DrawnTexture):
        return phase_object.phase(drawn.strength, texture.render(drawn.image, shape))
    assert settings.pictures is not None
    return phase_object.phase(drawn.strength, settings.pictures.render(drawn.image, shape))
