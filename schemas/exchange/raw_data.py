"""Declarations of a task about raw data: how an input is made from them, and which fields describe projections."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from schemas.formats.image import Known, Picture, Rows
from schemas.runtime.settings import Settings


@dataclass(frozen=True)
class Raster:
    """Names of the parameters that follow from the position of a pattern in a raster (row, column, qy, qx)."""

    position: str  # (sample, 2): y and x [nm], filled in if the file states the step of the scan
    scan: str  # (sample,): the number of the file


@dataclass(frozen=True)
class RotationSeries:
    """Names of the fields that describe projections of a turning object, for programs of tomography."""

    projections: str  # (sample, view, detector), line integrals
    rotation: str  # (sample, view) [rad]
    valid: str  # (sample, view): 1 where a view was measured
    axis: str  # (sample,), axis of rotation from the middle of the detector [pixel]
    pixel: str  # (sample,), width of a pixel [nm]
    image: str  # (sample, y, x), the section
    magnification: str  # (sample,), width of a pixel of the detector at the axis [pixel of the image]
    source: str  # (sample,), distance from the source to the axis; 0: a parallel beam


ROTATION = "rotation"  # name of the angles that are given beside projections or images

type Files = Mapping[str, Sequence[tuple[Path, Picture]]]  # by input, and by name of what is given beside it
type PreparedSample = tuple[dict[str, np.ndarray], Known]  # fields and parameters of a sample
type Prepared = tuple[list[PreparedSample], list[str]]  # samples, and warnings


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Preparation:
    """Computation of an input from raw data, such as detector frames, with settings that the user can choose."""

    input: str  # name of the input
    beside: tuple[str, ...]  # further files that belong to the input, written name=file
    targets: tuple[str, ...]  # targets that may be given beside the input, in the same way
    settings: type[Settings]
    # A function of the files of one sample or of several, the axes in the files (empty: not given), the settings, and
    # the parameters that are given: values that hold for all samples, or those of these samples and of later ones.
    prepare: Callable[[Files, Sequence[str], Any, Known], Prepared]
    # A function of the settings, the lengths of the dimensions of the input and the parameters of a sample. It returns
    # the lengths of the dimensions of the targets. None: those of the input.
    lengths: Callable[[Any, Mapping[str, int], Known], Mapping[str, int]] | None = None
    # A function of the settings, of the lengths of all dimensions, and of the fields and parameters of all samples. It
    # returns fields without a sample axis. None: there are none.
    constants: Callable[[Any, Mapping[str, int], Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None
    # A function of the settings and the axes in the files. It returns the rows that are read of the input. None: all.
    rows: Callable[[Any, Sequence[str]], Rows] | None = None
    # True if `prepare` refuses pixels without a measurement. In what it returns, no number is then taken as their mark.
    refuses_marks: bool = False
