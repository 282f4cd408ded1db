"""Targets with classes: scores of each class and the confusion matrix by hand, and names wherever labels are shown."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from matplotlib.figure import Figure

from schemas.target_kinds import confusion_matrix, score_classes
from schemas.task import find_task

from .conftest import Command, unsigned

DATA = ("--task", "toy_labels", "--n", 2, "--validation", 0, "--test", 5, "--scheduler", "synchronous")


@pytest.mark.usefixtures("brief_report")
def test_scores_of_each_class_and_the_confusion_matrix_are_those_counted_by_hand(
    generate: Command, infer: Command, evaluate: Command
) -> None:
    """Values whose exact class is ignored count nowhere; a value that is taken for that class is wrong."""
    assert generate(*DATA, "--shard-samples", 2, "--out", "d.zarr")[0] == 0
    assert infer("--method", "threshold", "--set", "level=0.5", "--data", "d.zarr", "--out", "p.zarr")[0] == 0
    exact = xr.open_zarr("d.zarr/test").mask.values
    predicted = np.random.default_rng(0).integers(0, 3, exact.shape).astype(np.uint8)
    zarr.open_array("p.zarr/mask", mode="r+")[...] = predicted
    unsigned("p.zarr")
    code, out, err = evaluate("--data", "d.zarr", "--predictions", "net=p.zarr")
    assert (code, err) == (0, "")
    method = json.loads(Path("report/metrics.json").read_text())["methods"]["net"]
    found = method["classes"]["mask"]
    pairs = list(zip(exact.ravel(), predicted.ravel(), strict=True))
    counts = [[pairs.count((i, j)) for j in range(3)] for i in range(2)]
    assert found["names"] == ["void", "disc", "ignore"]
    assert found["confusion"] == [*counts, [0, 0, 0]]
    for i, name in enumerate(("void", "disc")):
        right, missed, wrong = counts[i][i], sum(counts[i]) - counts[i][i], counts[1 - i][i]
        assert found["scores"][name] == {
            "iou": pytest.approx(right / (right + missed + wrong)),
            "dice": pytest.approx(2 * right / (2 * right + missed + wrong)),
            "precision": pytest.approx(right / (right + wrong)),
            "recall": pytest.approx(right / (right + missed)),
        }
    size, right = sum(map(sum, counts)), counts[0][0] + counts[1][1]
    assert method["metrics"]["disc.recall"]["mean"] == found["scores"]["disc"]["recall"]
    assert method["metrics"]["pooled.accuracy"]["mean"] == pytest.approx(right / size)
    numbers = np.array(pairs)[exact.ravel() != 2]
    assert found["most_frequent"] == {"class": "void", "share": pytest.approx(np.mean(numbers[:, 0] == 0))}
    assert f"net, mask: iou void {found['scores']['void']['iou']:.4g}, disc" in out
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", Path("report/report.html").read_text().split("predicted as ignore")[1])
    scores = [f"{found['scores']['void'][name]:.4g}" for name in ("iou", "dice", "precision", "recall")]
    assert cells[:6] == ["void", *scores, _cell(counts[0], 0)]


def _cell(row: list[int], j: int) -> str:
    return f"{row[j]:,} ({100 * row[j] / sum(row):.3g} %)"


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ([1, 1, 1, 0, 0, 1], [1, 0, 1, 1, 0, 1], (3 * 1 - 1 * 1) / (4 * 4 * 2 * 2) ** 0.5),  # tp tn - fp fn
        ([0, 0, 1, 1], [1, 1, 0, 0], -1),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0),  # one class is present: 0 / 0 is taken as 0
        ([1, 1, 1, 1], [0, 1, 0, 1], 0),
        ([0, 1, 0, 1], [0, 0, 0, 0], 0),
        ([2, 2, 0, 1], [0, 1, 0, 1], 1),  # ignored values do not count
        ([0, 1, 0, 1], [0, 1, 0, 9], 6 / 80**0.5),  # a label beyond the classes is a third one
        ([1, 2], [1, 0], math.nan),  # a single value
    ],
)
def test_matthews_correlation(truth: list[int], prediction: list[int], expected: float) -> None:
    field = find_task("toy_labels")["mask"]
    arrays = (np.array([values], np.uint8) for values in (prediction, truth))
    assert score_classes(field, *arrays)["mcc"][0] == pytest.approx(expected, nan_ok=True)


def test_labels_beyond_the_classes_are_wrong() -> None:
    field = find_task("toy_labels")["mask"]
    found = confusion_matrix(field, np.array([0, 9, 1, 255], np.uint8), np.array([0, 0, 1, 2], np.uint8))
    assert found.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_classes_are_named_by_info_in_the_attributes_and_by_preview(
    generate: Command, dataset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert generate(*DATA, "--out", "d.zarr")[0] == 0
    assert "; classes: 0 void, 1 disc, 2 ignore\n" in dataset("info", "d.zarr")[1]
    classes = {"mask": ["void", "disc", "ignore"], "kind": ["small", "large"]}
    assert json.loads(dataset("info", "d.zarr", "--json")[1])["classes"] == classes
    attributes = xr.open_zarr("d.zarr/test").mask.attrs
    assert attributes["flag_meanings"] == "void disc ignore"
    assert attributes["flag_values"] == [0, 1, 2]
    assert "flag_values" not in xr.open_zarr("d.zarr/test").image.attrs
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: drawn.append(self))
    dataset("preview", "d.zarr", "--split", "test")
    assert [label.get_text() for axis in drawn[0].axes for label in axis.get_xticklabels()][-3:] == classes["mask"]


def test_each_channel_of_a_preview_has_a_scale_of_its_own(
    generate: Command, dataset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate("--task", "toy_fusion", "--n", 0, "--validation", 0, "--test", 2, "--scheduler", "synchronous")
    array = zarr.open_array("toy_fusion.zarr/test/low", mode="r+")
    values = np.asarray(array[...])
    axis = find_task("toy_fusion")["low"].dims.index("channel")
    array[...] = values * 10.0 ** np.arange(values.shape[axis]).reshape(-1, 1, 1)
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: drawn.append(self))
    dataset("preview", "toy_fusion.zarr", "--split", "test")
    shown = {axis.images[0].get_clim() for axis in drawn[0].axes if axis.get_title().startswith("low ")}
    assert len(shown) == values.shape[axis]
