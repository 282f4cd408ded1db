"""Thin objects of several kinds: textures, pictures of the user, atomic lattices; and their phases in rad."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field

from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters
from generators.specimens.from_files.pictures import DrawnPicture, Pictures
from generators.specimens.planar import lattice, phase_object, texture
from generators.specimens.planar.lattice import DrawnLattice, Lattice
from generators.specimens.planar.phase_object import DrawnObject, PhaseObject
from generators.specimens.planar.texture import DrawnTexture, Texture
from schemas.runtime.settings import Settings, setting


class ThinObjectSettings(Settings):
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
class DrawnThinObject:
    """A drawn object: its structure, and the phase range and absorption by which that is scaled.

    The structure of textures and pictures is an image in 0..1. A lattice has a potential instead, so no phase range.
    """

    structure: DrawnTexture | DrawnPicture | DrawnLattice
    strength: DrawnObject

    def columns(self) -> dict[str, Any]:
        """Return the fields texture_..., picture_... or lattice_..., and object_..."""
        name = next(name for name, drawn in KINDS.items() if isinstance(self.structure, drawn))
        return stored_parameters(f"{name}_", self.structure) | stored_parameters("object_", self.strength)


KINDS = {"texture": DrawnTexture, "picture": DrawnPicture, "lattice": DrawnLattice}


def draw(settings: ThinObjectSettings, rng: Streams) -> DrawnThinObject:
    """Draw an object, from the streams `specimen` and `object`.

    Args:
        settings: the settings
        rng: the streams of a group
    """
    return DrawnThinObject(_draw_structure(settings, rng), phase_object.draw(settings.object, rng.object))


def _draw_structure(settings: ThinObjectSettings, rng: Streams) -> DrawnTexture | DrawnPicture | DrawnLattice:
    if settings.pictures:
        return settings.pictures.draw(rng)
    if settings.lattice:
        return lattice.draw(settings.lattice, rng.specimen)
    return texture.draw(settings.texture, rng.specimen)


@lru_cache(maxsize=8)
def phase(
    settings: ThinObjectSettings, drawn: DrawnThinObject, shape: tuple[int, int], sampling: float, voltage: float
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
    settings: ThinObjectSettings, drawn: DrawnThinObject, shape: tuple[int, int], sampling: float, voltage: float
) -> np.ndarray:
    """Return the phase (y, x) [rad] of a drawn lattice, texture or picture."""
    if isinstance(drawn.structure, DrawnLattice):
        return lattice.phase(drawn.structure, shape, (sampling, sampling), voltage)
    if isinstance(drawn.structure, DrawnTexture):
        return phase_object.phase(drawn.strength, texture.render(drawn.structure, shape))
    assert settings.pictures is not None
    return phase_object.phase(drawn.strength, settings.pictures.render(drawn.structure, shape))
