"""Alignment of predictions with the truth in the trivial ambiguities of a task, before they are compared.

`Task.ambiguities` names joint transformations of all targets that leave the inputs as they are:

    constant    the phases + c
    ramp        the phases + c + a . x,   x the coordinates along all spatial axes
    shift       the targets at x - s, s a whole number of pixels along each axis, cyclic
    twin        the targets at -x (index -> -index, cyclic), the phases negated

Targets that are modulus and phase of one wave (`Ambiguities.modulus`) are aligned as a wave: see
`physics.wave_ambiguities`.

The transformations are joint: several phases (`Ambiguities.phases`) share one c and one a, and all targets share s and
the inversion. All targets of a task with ambiguities therefore lie on one grid.
"""

from collections.abc import Mapping
from math import prod

import numpy as np

from physics.arrays import Array, module
from physics.wave_ambiguities import align_wave, fix_constant, invert_indices, shift_cyclically
from schemas.grids import Ambiguities
from schemas.task import Field, Task


def align(
    task: Task, prediction: Mapping[str, Array], truth: Mapping[str, Array], window: Array = None
) -> dict[str, Array]:
    """Align predictions so that each sample is as near as possible to the truth.

        minimise over a, s and +-:   sum over targets and pixels of (p(+-x - s) + sum_j a_j w B_j - t)^2

    with B = 1 (constant), or 1 and the coordinates (ramp). The minimum over a is that of linear least squares. The best
    s is found among all shifts, with the best a for each of them (see `_align_shift`), so it is exact to rounding.

    Pixels with w = 0 are set to 0 in both. Targets enter the sum in their own units. NumPy's bits do not depend on the
    batch; constant and ramp are differentiable. Without ambiguities the prediction is returned unchanged.

    Shift and twin act on the windowed arrays, because the values outside are not known. They are exact if w = 1 on the
    objects. Aligning twice equals aligning once, except for poor predictions where shift or twin meets ramp or a
    window: a shifted w B is no longer w B (and a cyclically shifted ramp no longer a ramp), and values that were
    shifted out of the window are 0 the next time.

    Args:
        task: the task; static under jit.
        prediction: by target, floats (sample, *spatial) of any spatial rank, NumPy or JAX, also under jit.
        truth: the same for the exact values.
        window: w (*spatial), the apodisation that multiplies the stored targets; None stands for 1. Constant and ramp
            are added before the apodisation, so that they appear as w B.

    Returns:
        The aligned prediction, with the same names and dtypes.

    Raises:
        ValueError: names or shapes do not belong together.
    """
    fields = predicted_targets(task, prediction, truth, window)
    ambiguities = task.ambiguities.within(prediction)
    if not ambiguities.free:
        return dict(prediction)
    if ambiguities.modulus:
        return _align_wave_targets(ambiguities, prediction, truth)
    xp = module(*prediction.values(), *truth.values(), window)
    moving, fixed = (_stack_targets(values, fields, window, xp) for values in (prediction, truth))
    fixed = fixed.astype(moving.dtype)
    basis = [
        xp.asarray(b, dtype=moving.dtype)
        for b in _constant_and_ramp_basis(ambiguities, fields, moving.shape[2:], window)
    ]
    candidates = [moving, _make_twin(moving, ambiguities, fields, xp)] if "twin" in ambiguities.free else [moving]
    if "shift" in ambiguities.free:
        candidates = [_align_shift(candidate, fixed, basis, xp) for candidate in candidates]
    best = _choose_nearest([_fit_basis(candidate, fixed, basis) for candidate in candidates], fixed, xp)
    return {field.name: best[:, i].astype(prediction[field.name].dtype) for i, field in enumerate(fields)}


def align_for_scores(
    task: Task, prediction: Mapping[str, Array], truth: Mapping[str, Array], window: Array = None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return prediction and truth as scores compare them: the prediction aligned with the truth.

    Where the modulus of a wave (`Ambiguities.modulus`) is 0, the phase is undefined, and it is set to 0 in both. The
    phase of the truth first gets a definite constant (`fix_constant`). A part that is not
    predicted then has the error of a constant phase, whatever constant the truth is stored with.

    Args:
        task: as for `align`.
        prediction: as for `align`.
        truth: as for `align`.
        window: as for `align`.

    Returns:
        The aligned prediction, and the truth.
    """
    ambiguities = task.ambiguities.within(prediction)
    if not ambiguities.modulus:
        return align(task, prediction, truth, window), dict(truth)
    modulus, (phase,) = ambiguities.modulus, ambiguities.phases
    exact = dict(truth) | {phase: fix_constant(truth[modulus], truth[phase], ambiguities.free)}
    aligned = align(task, prediction, exact, window)
    return aligned | {phase: fix_constant(aligned[modulus], aligned[phase], ())}, exact


def _align_wave_targets(
    ambiguities: Ambiguities, prediction: Mapping[str, Array], truth: Mapping[str, Array]
) -> dict[str, Array]:
    modulus, (phase,) = ambiguities.modulus, ambiguities.phases
    wave = align_wave(prediction[modulus], prediction[phase], truth[modulus], truth[phase], ambiguities.free)
    aligned = dict(prediction) | {modulus: wave.modulus, phase: wave.phase}
    return {name: values.astype(prediction[name].dtype) for name, values in aligned.items()}


def predicted_targets(
    task: Task, prediction: Mapping[str, Array], truth: Mapping[str, Array], window: Array = None
) -> list[Field]:
    """Return the targets of a task that are predicted, in order.

    Args:
        task: the task.
        prediction: by target, an array (sample, ...).
        truth: by target, an array of the same shape.
        window: (*spatial), or None.

    Raises:
        ValueError: names or shapes do not belong together.
    """
    fields = [field for field in task.of("target") if field.name in prediction]
    names = [field.name for field in fields]
    if not names or prediction.keys() - set(names) or set(names) - truth.keys():
        known = [field.name for field in task.of("target")]
        raise ValueError(f"predicted {sorted(prediction)}, known {sorted(truth)}: give targets of {task.name}, {known}")
    shapes = {name: (prediction[name].shape, truth[name].shape) for name in names}
    if any(predicted != true for predicted, true in shapes.values()):
        raise ValueError(f"shapes (prediction, truth) {shapes} differ: both must be (sample, *spatial)")
    grids = {predicted[1:] for predicted, _ in shapes.values()} | ({window.shape} if window is not None else set())
    if len(grids) > 1 and (task.ambiguities.free or window is not None):
        raise ValueError(
            f"targets and window lie on grids {sorted(grids)}: with ambiguities or a window, all must lie on one grid"
        )
    return fields


def _stack_targets(values: Mapping[str, Array], fields: list[Field], window: Array, xp: Array) -> Array:
    """Stack the targets as (sample, field, *spatial), with 0 where the window is 0."""
    stack = xp.stack([xp.asarray(values[field.name]) for field in fields], axis=1)
    return stack if window is None else xp.where(window == 0, 0, stack)


def _constant_and_ramp_basis(
    ambiguities: Ambiguities, fields: list[Field], shape: tuple[int, ...], window: Array
) -> list[Array]:
    """Return orthonormal fields (field, *spatial) that span the constants, or the ramps, times the window.

    They are float64 in NumPy, and 0 outside the phases. An axis of one pixel, or a window too narrow for a ramp, adds a
    vector of zeros.
    """
    if not {"constant", "ramp"} & set(ambiguities.free):
        return []
    phases = np.array([field.name in ambiguities.phases for field in fields], dtype=float).reshape(
        -1, *[1] * len(shape)
    )
    xp = module(window)
    flat = phases * (xp.ones(shape) if window is None else xp.asarray(window, dtype=float))
    coordinates = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) / n for n in shape], indexing="ij", sparse=True)
    return _orthonormalise([flat, *[flat * x for x in coordinates if "ramp" in ambiguities.free]], xp)


def _orthonormalise(vectors: list[Array], xp: Array) -> list[Array]:
    """Orthonormalise by Gram-Schmidt, twice against rounding. A vector that depends on earlier ones becomes 0."""
    basis: list[Array] = []
    for vector in vectors:
        residual = vector
        for b in basis + basis:
            residual = residual - (residual * b).sum() * b
        norm, size = (residual**2).sum() ** 0.5, (vector**2).sum() ** 0.5
        independent = norm > 100 * xp.finfo(vector.dtype).eps * size
        basis.append(xp.where(independent, residual / xp.where(independent, norm, 1), 0))
    return basis


def _make_twin(stack: Array, ambiguities: Ambiguities, fields: list[Field], xp: Array) -> Array:
    """Return the twin: index -> -index along each spatial axis, cyclic, so that index 0 stays; phases negated."""
    sign = [-1 if field.name in ambiguities.phases else 1 for field in fields]
    return invert_indices(stack, 2, xp) * xp.asarray(sign, dtype=stack.dtype).reshape(-1, *[1] * (stack.ndim - 2))


def _align_shift(moving: Array, fixed: Array, basis: list[Array], xp: Array) -> Array:
    """Return `moving` at the shift with the minimum squared error after the fit of the orthonormal `basis` b_j.

        E(s) = |p|^2 + |t'|^2 - 2 <p_s, t'> - sum_j <p_s, b_j>^2,   t' = t - sum_j <t, b_j> b_j

    The correlation theorem gives the inner products of all shifts at once.
    """
    spectrum = _transform(moving, xp).conj()
    gain = 2 * _correlate_all_shifts(spectrum, fixed - _fit_basis(0 * fixed, fixed, basis), xp)
    for b in basis:
        gain = gain + _correlate_all_shifts(spectrum, b[None], xp) ** 2
    shape = moving.shape[2:]
    return shift_cyclically(moving, gain.reshape(len(gain), prod(shape)).argmax(axis=-1), 2, xp)


def _transform(stack: Array, xp: Array) -> Array:
    return xp.fft.rfftn(stack, axes=tuple(range(2, stack.ndim)))


def _correlate_all_shifts(spectrum: Array, fixed: Array, xp: Array) -> Array:
    """Return <p_s, t> (sample, *spatial) for all shifts s, summed over fields. `spectrum` is conj F p."""
    product = (spectrum * _transform(fixed, xp)).sum(axis=1)
    return xp.fft.irfftn(product, s=fixed.shape[2:], axes=tuple(range(1, product.ndim)))


def _fit_basis(moving: Array, fixed: Array, basis: list[Array]) -> Array:
    """Add the combination of the orthonormal `basis` to `moving` that brings it nearest to `fixed`."""
    for b in basis:
        moving = moving + _sum_per_sample((fixed - moving) * b) * b
    return moving


def _sum_per_sample(stack: Array) -> Array:
    """Return the sum per sample (sample, 1, ...), over one contiguous axis: its bits do not depend on the batch."""
    total = stack.reshape(len(stack), prod(stack.shape[1:])).sum(axis=-1)
    return total.reshape(-1, *[1] * (stack.ndim - 1))


def _choose_nearest(candidates: list[Array], fixed: Array, xp: Array) -> Array:
    """Return, per sample, the candidate with the minimum squared error, or the first of equal candidates."""
    best = candidates[0]
    for candidate in candidates[1:]:
        best = xp.where(
            _sum_per_sample((candidate - fixed) ** 2) < _sum_per_sample((best - fixed) ** 2), candidate, best
        )
    return best
