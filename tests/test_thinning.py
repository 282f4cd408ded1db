"""Halves of counts: independent measurements, the same in every run, and refused where nothing was counted."""

from typing import Any

import numpy as np
import pytest

from schemas.counting.counts import Counts, find_counts
from schemas.counting.thinning import halve, thin, whole_counts
from schemas.runtime.errors import UserError
from schemas.task import Task, find_task, task_names

TASK = find_task("toy_counts")
RULE = Counts("noisy", scale="electrons", expectation=("clean",), doses=("dose",))
ROWS = np.arange(4, 7)  # numbers of the samples
SCALE = np.array([[3.7, 11.3], [100.1, 1000.7], [0.9, 26.3]], np.float32)  # (sample, view)


def measured(mean: float = 1.5, shape: tuple[int, int] = (4, 5)) -> dict[str, np.ndarray]:
    """Three samples (sample, y, view, x), each view with a scale of its own, divided in float64 as a detector does."""
    scale = SCALE.astype(float)[:, None, :, None]
    expected = np.broadcast_to(mean * scale, (3, shape[0], 2, shape[1]))
    counts = np.random.default_rng(3).poisson(expected)
    return {"noisy": (counts / scale).astype(np.float32), "electrons": SCALE, "dose": SCALE.mean(1), "counts": counts}


def half(fields: dict[str, np.ndarray], number: int, digest: str = "ab", rows: np.ndarray = ROWS) -> Any:
    return halve(TASK, RULE, fields, number, digest, rows, "a.zarr")


def counted(fields: dict[str, np.ndarray]) -> np.ndarray:
    return whole_counts(TASK, RULE, fields, ROWS, "a.zarr")


def test_counts_are_those_of_the_detector() -> None:
    """Also where another parameter than that of the view would give whole numbers by chance: none has a round scale."""
    fields = measured()
    np.testing.assert_array_equal(counted(fields), fields["counts"])
    many = measured(mean=900.0)
    np.testing.assert_array_equal(counted(many), many["counts"])


def test_halves_share_the_counts_and_the_dose() -> None:
    fields = measured()
    first, second = half(fields, 0), half(fields, 1)
    np.testing.assert_array_equal(counted(first) + counted(second), fields["counts"])
    for part in (first, second):
        np.testing.assert_array_equal(part["electrons"], SCALE / 2)
        np.testing.assert_array_equal(part["dose"], fields["dose"] / 2)
        assert part["noisy"].dtype == np.float32
    np.testing.assert_allclose(first["noisy"] + second["noisy"], 2 * fields["noisy"], atol=1e-5)
    assert (counted(first) != counted(second)).any()


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_parts_of_poisson_counts_are_independent_measurements(share: float) -> None:
    """Mean and variance of Poisson's law in each part, no covariance: five standard errors."""
    fields = measured(mean=2.0, shape=(150, 151))
    generators = [np.random.default_rng(i) for i in range(3)]
    parts = thin(TASK, RULE, fields, share, generators, ROWS, "a.zarr")
    n = 150 * 151
    for i, part, mean in ((0, parts[0], share), (1, parts[1], 1 - share)):
        expected = 2.0 * mean * SCALE
        found = counted(part).transpose(0, 2, 1, 3).reshape(3, 2, n)
        assert (abs(found.mean(-1) - expected) < 5 * np.sqrt(expected / n)).all(), i
        spread = np.sqrt((expected + 2 * expected**2) / n)  # of the variance
        assert (abs(found.var(-1) - expected) < 5 * spread).all(), i
        np.testing.assert_allclose(part["noisy"].mean(), 2.0, rtol=0.01)
    a, b = (counted(part).transpose(0, 2, 1, 3).reshape(6, n) for part in parts)
    covariance = ((a - a.mean(-1, keepdims=True)) * (b - b.mean(-1, keepdims=True))).mean(-1)
    assert (abs(covariance) < 5 * a.std(-1) * b.std(-1) / np.sqrt(n)).all()


def test_a_sample_has_the_same_halves_in_any_block_and_others_in_another_dataset() -> None:
    fields = measured()
    whole = half(fields, 1)["noisy"]
    alone = half({name: values[1:2] for name, values in fields.items()}, 1, rows=ROWS[1:2])["noisy"]
    np.testing.assert_array_equal(alone, whole[1:2])
    assert (half(fields, 1, digest="cd")["noisy"] != whole).any()
    same = {name: np.repeat(values[:1], 3, axis=0) for name, values in fields.items()}
    assert (half(same, 1)["noisy"][0] != half(same, 1)["noisy"][1]).any()


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (-1 / 1000.7, r"noisy = -0\.000999\S* in sample 5, y 2, view 1, x 3: counts must be finite and 0 or more"),
        (np.nan, "noisy = nan in sample 5, y 2, view 1, x 3: counts must be finite and 0 or more"),
        (2.4 / 1000.7, r"noisy times electrons = 2\.4 in sample 5, y 2, view 1, x 3: must be whole counts"),
    ],
)
def test_values_that_are_no_counts_are_refused(value: float, rule: str) -> None:
    fields = measured()
    fields["noisy"][1, 2, 1, 3] = value
    with pytest.raises(UserError, match=f"a.zarr: {rule}; give them"):
        half(fields, 0)


@pytest.mark.parametrize("scale", [0.0, -3.0, np.nan])
def test_images_that_were_not_counted_are_refused(scale: float) -> None:
    fields = measured()
    fields["electrons"] = fields["electrons"].copy()
    fields["electrons"][2, 1] = scale
    with pytest.raises(
        UserError, match=rf"electrons = {scale:g} in sample 6, view 1: must be above 0.*give counted ones"
    ):
        half(fields, 0)


@pytest.mark.parametrize("name", task_names())
def test_rules_of_all_tasks_fit_and_leave_identities_alone(name: str) -> None:
    rule = find_counts(name)
    assert rule is None or "COUNTS" not in str(find_task(name).identity())
    assert not hasattr(find_task(name), "counts")


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"input": "clean"}, "COUNTS.input: field clean has the role target"),
    ({"scale": "electron"}, "COUNTS.scale: the schema has no field 'electron'"),
    ({"expectation": ("noisy",)}, "COUNTS.expectation: field noisy has the role input"),
    ({"expectation": ()}, r"COUNTS.expectation = \(\): must be targets"),
    ({"doses": ("clean",)}, "COUNTS.doses: field clean has the role target"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
def test_a_rule_that_does_not_fit_its_task_is_refused(change: dict[str, Any], message: str) -> None:
    import types

    from schemas.counting.counts import _counts_mistakes

    module = types.ModuleType("schemas.tasks.toy_counts")
    known = {"input": "noisy", "scale": "electrons", "expectation": ("clean",)}
    task: Task = TASK
    vars(module).update(TASK=task, COUNTS=Counts(**{**known, **change}))
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(next(_counts_mistakes(module), ""))
