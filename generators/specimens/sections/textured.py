"""Objects in two dimensions whose material has a structure of its own, and pictures of the user as they are.

value = value of the figure * (1 + contrast * (2 t - 1)),   t: a texture from 0 to 1
"""

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators.random_streams import Streams
from generators.specimens.draws import stored_parameters, to_float32
from generators.specimens.planar import texture
from generators.specimens.planar.texture import DrawnTexture, Texture
from generators.specimens.sections import objects
from generators.specimens.sections.objects import DrawnObject, Sections
from generators.specimens.sections.section import Image
from schemas.fields.sections import TEXTURED_FIELDS
from schemas.fields.textures import FIELDS as TEXTURE
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import between, setting


class TexturedSections(Sections):
    """Settings of objects of all kinds, and of the structure of their material."""

    texture: Texture | None = Field(None, **setting("structure of the material; none: a figure has one value"))
    contrast: Annotated[Range, within(0, 1)] = between(
        0.1, 0.5, "largest deviation from the value of a figure that the texture makes, relative to it"
    )
    ground: Annotated[Range, within(0)] = between(0.0, 0.0, "value that is added everywhere, such as scattered quanta")

    @model_validator(mode="after")
    def _check_texture(self) -> Self:
        if self.channels:
            raise ValueError("channels: these images have one channel each; leave it out")
        if self.texture and self.pictures:
            raise ValueError("texture and pictures: pictures have a structure; give only one of them")
        return self

    def object_fields(self) -> set[str]:
        """Return the names of the fields that describe an object and its texture."""
        textured = {field.name for field in TEXTURE} if self.texture else set()
        return super().object_fields() | textured | {field.name for field in TEXTURED_FIELDS}


@dataclass(frozen=True)
class DrawnTexturedObject:
    """A drawn object, and the texture of its material if it has one."""

    object: DrawnObject
    texture: DrawnTexture | None
    contrast: float  # 0 without a texture
    ground: float

    def columns(self) -> dict[str, Any]:
        """Return the parameters by field."""
        structure = stored_parameters("texture_", self.texture) if self.texture else {}
        levels = {"textured_contrast": self.contrast, "textured_ground": self.ground}
        return {**self.object.columns(), **structure, **levels}


def draw(settings: TexturedSections, rng: Streams) -> DrawnTexturedObject:
    """Draw an object, from the streams of `objects.draw`, and its texture, from the stream `texture`.

    Args:
        settings: the settings
        rng: the streams of the sample
    """
    structure = texture.draw(settings.texture, rng.texture) if settings.texture else None
    contrast, ground = to_float32(settings.contrast.draw(rng.texture), settings.ground.draw(rng.texture))
    return DrawnTexturedObject(objects.draw(settings, rng), structure, contrast if structure else 0.0, ground)


def render(settings: TexturedSections, drawn: DrawnTexturedObject, shape: tuple[int, int]) -> Image:
    """Return the image of an object, (y, x) float32, relative to its unit.

    Args:
        settings: the settings
        drawn: the object
        shape: pixels (y, x)
    """
    image = objects.render(settings, drawn.object, shape)
    if drawn.texture:
        image = image * (1 + np.float32(drawn.contrast) * (2 * texture.render(drawn.texture, shape) - 1))
    return image + np.float32(drawn.ground)
