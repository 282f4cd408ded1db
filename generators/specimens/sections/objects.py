"""Objects in two dimensions of all kinds: random shapes, foams, grains, discs with holes, and pictures of the user.

Some have a sinogram in closed form (`sinogram`). Others are projected from a finer grid, by the caller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters
from generators.specimens.from_files.pictures import DrawnPicture, Pictures
from generators.specimens.sections import channels, foam, granular, perforated, section, shapes
from generators.specimens.sections.channels import Channels, DrawnChannels
from generators.specimens.sections.foam import Foam
from generators.specimens.sections.granular import Granular
from generators.specimens.sections.perforated import Perforated
from generators.specimens.sections.section import DrawnSection, Image
from generators.specimens.sections.shapes import Shapes
from physics.tomography.geometry import Geometry
from schemas.fields import picture_views, sections
from schemas.runtime.settings import Settings, setting

KINDS = ("foam", "granular", "perforated", "pictures", "shapes")
DRAW: dict[str, Callable[..., DrawnSection]] = {
    "foam": foam.draw,
    "granular": granular.draw,
    "perforated": perforated.draw,
    "shapes": shapes.draw,
}


MATERIAL: dict[str, Callable[..., DrawnSection]] = {
    "foam": foam.material,
    "granular": granular.material,
    "perforated": perforated.material,
    "shapes": shapes.material,
}


class Sections(Settings):
    """Settings of objects of all kinds. `shapes` are drawn, unless another kind is given."""

    shapes: Shapes = Field(Shapes(), **setting("random shapes, as in superres-tomo"))
    foam: Foam | None = Field(None, **setting("discs with round bubbles, in place of shapes"))
    granular: Granular | None = Field(None, **setting("grains in a tube, in place of shapes"))
    perforated: Perforated | None = Field(None, **setting("discs with holes, in place of shapes"))
    pictures: Pictures | None = Field(None, **setting("pictures read from files, in place of shapes"))
    channels: Channels | None = Field(
        None, **setting("channels, as in diffraction tomography; each channel of an object is a sample")
    )

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        given = [name for name in KINDS[:-1] if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: give only one of them")
        if self.pictures and self.channels:
            raise ValueError("pictures and channels: give only one of them")
        return self

    @property
    def kind(self) -> str:
        """Name of the setting of the kind that is drawn."""
        return next(name for name in KINDS if getattr(self, name))

    def with_files(self, inputs: Path | None) -> Self:
        """Return the settings with the pictures found, hashed and checked.

        Args:
            inputs: a folder in which pictures are searched by hash; None: the recipe's own paths

        Raises:
            UserError: a picture is missing or cannot be read
        """
        if self.pictures is None:
            return self
        return self.model_copy(update={"pictures": self.pictures.bind(inputs)})

    def object_sizes(self) -> dict[str, int]:
        """Return the lengths of the dimensions of the fields that describe an object."""
        sizes: dict[str, int] = {} if self.pictures else getattr(self, self.kind).room.sizes()
        return {dim: n for dim, n in sizes.items() if n} | (self.channels.sizes() if self.channels else {})

    def object_fields(self) -> set[str]:
        """Return the names of the fields that describe an object."""
        if self.pictures:
            return {field.name for field in picture_views.FIELDS}
        found = sections.FIELDS + (sections.CHANNEL_FIELDS if self.channels else ())
        return {field.name for field in found if set(field.dims[1:]) <= self.object_sizes().keys()}


@dataclass(frozen=True)
class DrawnObject:
    """A drawn object, and the channel of it that is imaged, if it has channels."""

    structure: DrawnSection | DrawnPicture
    channels: DrawnChannels | None = None
    channel: int = 0

    def columns(self) -> dict[str, Any]:
        """Return the parameters by field."""
        prefix = "picture_" if isinstance(self.structure, DrawnPicture) else "section_"
        found = stored_parameters(prefix, self.structure)
        return found | (stored_parameters("section_", self.channels) if self.channels else {})

    @property
    def exact(self) -> bool:
        """True if the sinogram has a closed form."""
        return isinstance(self.structure, DrawnSection) and self.structure.exact

    def figures(self) -> DrawnSection:
        """Return the figures, with their values in the channel that is imaged."""
        assert isinstance(self.structure, DrawnSection)
        return channels.select(self.structure, self.channels, self.channel) if self.channels else self.structure


def draw(settings: Sections, rng: Streams, channel: int = 0) -> DrawnObject:
    """Draw an object, from the stream `specimen`, and its channels, from the stream `channels`.

    Args:
        settings: the settings
        rng: streams of the sample, or of all channels of an object
        channel: the channel that is imaged
    """
    if settings.pictures:
        return DrawnObject(settings.pictures.draw(rng))
    structure = DRAW[settings.kind](getattr(settings, settings.kind), rng.specimen)
    if settings.channels is None:
        return DrawnObject(structure)
    return DrawnObject(structure, channels.draw(settings.channels, structure, rng.channels), channel)


def render(settings: Sections, drawn: DrawnObject, shape: tuple[int, int]) -> Image:
    """Return the image of an object, (y, x) float32, relative to its unit.

    Args:
        settings: the settings
        drawn: the object
        shape: pixels (y, x)
    """
    if isinstance(drawn.structure, DrawnPicture):
        assert settings.pictures is not None
        return settings.pictures.render(drawn.structure, shape)
    return section.render(drawn.figures(), shape)


def material_cover(settings: Sections, drawn: DrawnObject, shape: tuple[int, int]) -> Image:
    """Return the share of each pixel that is material, (y, x) float32, whatever the values of the figures are.

    It is as exact as `section.render`.

    Args:
        settings: the settings
        drawn: an object made of figures
        shape: pixels (y, x)
    """
    return section.render(MATERIAL[settings.kind](getattr(settings, settings.kind), drawn.structure), shape)


def sinogram(drawn: DrawnObject, frame: float, geometry: Geometry) -> Image:
    """Return the line integrals of an object in closed form, (view, detector) float32.

    Args:
        drawn: an object whose sinogram has a closed form
        frame: width of the frame [pixel]
        geometry: the rays
    """
    beam = {name: getattr(geometry, name) for name in ("pitch", "axis_offset", "source_distance")}
    return section.sinogram(drawn.figures(), frame, np.asarray(geometry.angles), geometry.detectors, **beam)
