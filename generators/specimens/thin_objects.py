"""Thin objects of several kinds: textures, pictures of the user, atomic lattices; and their phases in rad."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field

from generators.random_streams import Streams
from generators.specimens.from_files.pictures import DrawnPicture, Pictures
from generators.specimens.planar import lattice, phase_object, texture
from generators.specimens.planar.lattice import DrawnLattice, Lattice
from generators.specimens.planar.phase_object import DrawnObject, PhaseObject
from generators.specimens.planar.texture import DrawnTexture, Texture
from generators.specimens.random_values import columns
from schemas.runtime.settings import Settings, setting

type Drawn = DrawnTexture | DrawnPicture | DrawnLattice


class ThinObjects(Settings):
    """Settings of thin objects of all kinds."""

    texture: Texture = Field(Texture(), **setting("random textures with the statistics of natural images"))
    pictures: Pictures | None = Field(None, **setting("pictures read from files, in place of textures"))
    lattice: Lattice | None = Field(
        None, **setting("atomic lattices, in place of textures; object.range then has no effect")
    )
    object: PhaseObject = Field(
        PhaseObject(), **setting("phase range of textures or pictures, and absorption of all objects")
    )


@dataclass(frozen=True)
class ThinObject:
    """A drawn object."""

    image: Drawn
    strength: DrawnObject

    def columns(self) -> dict[str, Any]:
        """Return the fields texture_..., picture_... or lattice_..., and object_..."""
        name = next(name for name, drawn in KINDS.items() if isinstance(self.image, drawn))
        return columns(f"{name}_", self.image) | columns("object_", self.strength)


KINDS = {"texture": DrawnTexture, "picture": DrawnPicture, "lattice": DrawnLattice}


def draw(settings: ThinObjects, rng: Streams) -> ThinObject:
    """Draw an object, from the streams `specimen` and `object`.

    Args:
        settings: the settings
        rng: the streams of a group
    """
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
    """Return the phase of an object (y, x) [rad], float32, read-only; the latest ones are cached.

    Args:
        settings: the settings
        drawn: the object
        shape: pixels (y, x)
        sampling: width of a pixel [nm], used by lattices only
        voltage: accelerating voltage [V], used by lattices only
    """
    values = _compute_phase(settings, drawn, shape, sampling, voltage)
    values.flags.writeable = False
    return values


def _compute_phase(
    settings: ThinObjects, drawn: ThinObject, shape: tuple[int, int], sampling: float, voltage: float
) -> np.ndarray:
    """Return the phase (y, x) [rad] of a drawn lattice, texture or picture."""
    if isinstance(drawn.image, DrawnLattice):
        return lattice.phase(drawn.image, shape, (sampling, sampling), voltage)
    if isinstance(drawn.image, DrawnTexture):
        return phase_object.phase(drawn.strength, texture.render(drawn.image, shape))
    assert settings.pictures is not None
    return phase_object.phase(drawn.strength, settings.pictures.render(drawn.image, shape))
