"""Classical methods that find the classes of pixels, and the report of the task.

Thresholds, watershed and random walker know an image by its grey values alone. Their setting `classes` says which
classes the grey values stand for, from dark to bright; a class may take several ranges. A random forest learns the
classes from training samples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_gradient_magnitude, label

from inference.contract import Arrays, Measures, Method, Report, Setting, Shown
from schemas.target_kinds import Score
from schemas.task import find_task

CLASSES = find_task("segmentation")["mask"].classes
SMALL, LARGE = 64, 1024  # areas [pixel] at which objects are no longer small, and from which on they are large
SEED = 0  # of the choice of pixels and of the trees, so that a forest is the same whenever it is trained

type Image = NDArray[np.float32]
type Labels = NDArray[np.uint8]


def _smooth(image: Image, width: float) -> Image:
    smooth: Image = gaussian_filter(image, width) if width else image
    return smooth


def _ranges(image: Image, count: int) -> NDArray[np.int64]:
    """Return the number of the range of grey values, from 0 for the darkest, that each pixel lies in.

    The ranges have the largest variance between them (Otsu 1979). An image with fewer values than ranges has one range
    for each of them.
    """
    from skimage.filters import threshold_multiotsu, threshold_otsu  # slow to import

    held = np.unique(image)
    if len(held) <= count:
        return np.searchsorted(held, image)
    thresholds = [threshold_otsu(image)] if count == 2 else threshold_multiotsu(image, count)  # type: ignore[no-untyped-call]
    return np.digitize(image, thresholds, right=True)


def _numbers(classes: str) -> Labels:
    """Return the numbers of classes that are separated by commas."""
    return np.array([CLASSES.index(name) for name in classes.split(",")], np.uint8)


def otsu(fields: Arrays, *, classes: str, width: float) -> dict[str, np.ndarray]:
    """Part the grey values of each image by one or several thresholds.

    Args:
        fields: image of a block of samples.
        classes: classes of the grey values from dark to bright, separated by commas.
        width: standard deviation of a Gaussian that smooths the image first [pixel].
    """
    numbers = _numbers(classes)
    return {"mask": np.stack([numbers[_ranges(_smooth(one, width), len(numbers))] for one in fields["image"]])}


def _markers(image: Image, numbers: Labels, core: float) -> NDArray[np.int32]:
    """Return 1 + class where a pixel lies deep within its class of grey values, else 0.

    core: distance from other classes [pixel].
    """
    found = numbers[_ranges(image, len(numbers))].astype(np.int32)
    markers = np.zeros_like(found)
    for number in np.unique(found):
        inside = found == number
        # Beyond the edges of the image, nothing is known of other classes.
        deep = inside if inside.all() else distance_transform_edt(inside) > core
        markers[deep] = number + 1
    return markers if markers.any() else found + 1


def watershed(fields: Arrays, *, classes: str, width: float, core: float) -> dict[str, np.ndarray]:
    """Flood the slope of each image from markers deep within ranges of its grey values (Meyer 1994).

    Args:
        fields: image of a block of samples.
        classes: as for `otsu`.
        width: standard deviation of a Gaussian that smooths the image first [pixel].
        core: distance of markers from other classes [pixel].
    """
    from skimage.segmentation import watershed as flood

    numbers, found = _numbers(classes), []
    for image in fields["image"]:
        slope = gaussian_gradient_magnitude(image, max(width, 0.5))
        flooded = flood(slope, _markers(_smooth(image, width), numbers, core))  # type: ignore[no-untyped-call]
        found.append(flooded - 1)
    return {"mask": np.stack(found).astype(np.uint8)}


def random_walker(fields: Arrays, *, classes: str, width: float, core: float, beta: float) -> dict[str, np.ndarray]:
    """Give each pixel the class whose marker a random walker from it most probably reaches first (Grady 2006).

    Args:
        fields: image of a block of samples.
        classes: as for `otsu`.
        width: standard deviation of a Gaussian that smooths the image first [pixel].
        core: distance of markers from other classes [pixel].
        beta: how much edges hinder the walker.
    """
    numbers = _numbers(classes)
    return {"mask": np.stack([_walk(_smooth(one, width), numbers, core, beta) for one in fields["image"]])}


def _walk(image: Image, numbers: Labels, core: float, beta: float) -> Labels:
    from skimage.segmentation import random_walker as walk

    markers = _markers(image, numbers, core)
    if len(np.unique(markers[markers > 0])) < 2:
        return np.full(image.shape, markers.max() - 1, np.uint8)
    if markers.all():
        return (markers - 1).astype(np.uint8)
    labels: Labels = (walk(image.astype(float), markers, beta=beta, mode="cg_j", tol=1e-3, prob_tol=1) - 1).astype(
        np.uint8
    )
    return labels


def _features(image: Image, largest: float) -> NDArray[np.float32]:
    """Return grey values, slopes and curvatures (pixel, feature) behind Gaussians of 1 to `largest` pixels."""
    from skimage.feature import multiscale_basic_features

    found = multiscale_basic_features(image, sigma_min=1, sigma_max=largest, workers=1)  # type: ignore[no-untyped-call]
    features: NDArray[np.float32] = found.reshape(image.size, -1).astype(np.float32)
    return features


def fit_forest(fields: Arrays, *, largest: float, pixels: float, trees: float, leaf: float) -> Any:
    """Return a random forest that has learned the classes of some pixels of training samples.

    Args:
        fields: image and mask of training samples.
        largest: standard deviation of the widest Gaussian of the features [pixel].
        pixels: number of pixels that it learns from.
        trees: number of trees.
        leaf: smallest number of pixels in a leaf of a tree.
    """
    from sklearn.ensemble import RandomForestClassifier

    rng, images = np.random.default_rng(SEED), fields["image"]
    each = min(-(-int(pixels) // len(images)), images[0].size)
    chosen = [rng.permutation(image.size)[:each] for image in images]
    features = [_features(image, largest)[places] for image, places in zip(images, chosen, strict=True)]
    labels = [mask.ravel()[places] for mask, places in zip(fields["mask"], chosen, strict=True)]
    forest = RandomForestClassifier(int(trees), min_samples_leaf=int(leaf), random_state=SEED)
    return forest.fit(np.concatenate(features), np.concatenate(labels))


def random_forest(fields: Arrays, *, largest: float, fitted: Any, **of_training: float) -> dict[str, np.ndarray]:
    """Give each pixel the class that most trees of a forest choose (Breiman 2001).

    Args:
        fields: image of a block of samples.
        largest: as for `fit_forest`.
        fitted: the forest of `fit_forest`.
        of_training: settings that only `fit_forest` needs.
    """
    found = [fitted.predict(_features(image, largest)).reshape(image.shape) for image in fields["image"]]
    return {"mask": np.stack(found).astype(np.uint8)}


def _classes(*orders: str) -> Setting:
    return Setting("classes of the grey values from dark to bright; one may have several ranges", "1", orders)


WIDTH_ABOUT = "standard deviation of a Gaussian that smooths the image first; 0: not smoothed"
CORE_ABOUT = "distance of markers from other ranges of grey values"
TWO = ("background,grain", "grain,background")
MORE = (
    "background,grain,grain",
    "pore,background,grain",
    "pore,background,fibre,grain",
)
METHODS: Mapping[str, Method] = {
    "otsu": Method(
        about="two ranges of grey values of largest variance between them (Otsu 1979)",
        needs=("image",),
        solve=otsu,
        settings={
            "classes": _classes(*TWO),
            "width": Setting(WIDTH_ABOUT, "pixel", (0.0, 1.0, 2.0, 4.0, 8.0), 0, 1000),
        },
    ),
    "multi_otsu": Method(
        about="several ranges of grey values of largest variance between them (Otsu 1979)",
        needs=("image",),
        solve=otsu,
        settings={
            "classes": _classes(*MORE),
            "width": Setting(WIDTH_ABOUT, "pixel", (0.0, 1.0, 2.0, 4.0, 8.0), 0, 1000),
        },
    ),
    "watershed": Method(
        about="watershed of the slope, from markers within the ranges of Otsu (Meyer 1994)",
        needs=("image",),
        solve=watershed,
        settings={
            "classes": _classes(TWO[0], *MORE),
            "width": Setting(WIDTH_ABOUT, "pixel", (1.0, 2.0, 4.0), 0, 1000),
            "core": Setting(CORE_ABOUT, "pixel", (1.0, 3.0), 0, 1000),
        },
    ),
    "random_walker": Method(
        about="random walker from markers within the ranges of Otsu (Grady 2006)",
        needs=("image",),
        solve=random_walker,
        settings={
            "classes": _classes(TWO[0], *MORE),
            "width": Setting(WIDTH_ABOUT, "pixel", (2.0,), 0, 1000),
            "core": Setting(CORE_ABOUT, "pixel", (2.0,), 0, 1000),
            "beta": Setting("how much edges hinder the walker", "1", (130.0,), 0, 1e9),
        },
    ),
    "random_forest": Method(
        about="random forest on smoothed grey values, slopes and curvatures, which learns from training samples "
        "(Breiman 2001)",
        needs=("image",),
        solve=random_forest,
        fit=fit_forest,
        settings={
            "largest": Setting(
                "standard deviation of the widest Gaussian of the features", "pixel", (4.0, 16.0), 1, 256
            ),
            "pixels": Setting("number of pixels that the forest learns from", "pixel", (10_000,), 1, whole=True),
            "trees": Setting("number of trees", "1", (20,), 1, 10_000, whole=True),
            "leaf": Setting("smallest number of pixels in a leaf of a tree", "pixel", (2,), 1, whole=True),
        },
    ),
}


def measure_sizes(fields: Arrays, predicted: Arrays) -> dict[str, np.ndarray]:
    """Return the Dice score of the objects of a range of sizes, mean over these objects: each (sample,).

    An object is a set of connected pixels, also across corners, of one class of the truth except the first. A predicted
    pixel of its class belongs to the nearest object: Dice = 2 both / (true + predicted). NaN where there is no object.

    Args:
        fields: the true `mask` (sample, y, x).
        predicted: the predicted `mask`.
    """
    rows = [_object_scores(*pair) for pair in zip(fields["mask"], predicted["mask"], strict=True)]
    limits = {"dice_small": (0, SMALL), "dice_medium": (SMALL, LARGE), "dice_large": (LARGE, np.inf)}
    return {
        name: np.array([_mean(dice[(low <= area) & (area < high)]) for area, dice in rows])
        for name, (low, high) in limits.items()
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _object_scores(truth: Labels, prediction: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Return the area [pixel] and the Dice score of each object."""
    areas: list[np.ndarray] = [np.zeros(0)]
    scores: list[np.ndarray] = [np.zeros(0)]
    for number in range(1, len(CLASSES)):
        objects, count = label(truth == number, np.ones((3, 3)))
        if not count:
            continue
        nearest = distance_transform_edt(objects == 0, return_distances=False, return_indices=True)
        here = prediction == number
        area = np.bincount(objects.ravel(), minlength=count + 1)[1:]
        both = np.bincount(objects[here], minlength=count + 1)[1:]
        found = np.bincount(objects[tuple(nearest)][here], minlength=count + 1)[1:]
        areas.append(area)
        scores.append(2 * both / (area + found))
    return np.concatenate(areas), np.concatenate(scores)


def _score(sizes: str) -> Score:
    about = "Dice score of connected pixels of one class; predicted pixels belong to the nearest; mean over objects of"
    return Score("1", f"{about} {sizes} pixels", "higher")


REPORT = Report(
    inputs=(Shown("image"),),
    measures=Measures(
        scores={
            "dice_small": _score(f"less than {SMALL}"),
            "dice_medium": _score(f"{SMALL} to {LARGE - 1}"),
            "dice_large": _score(f"{LARGE} or more"),
        },
        compute=measure_sizes,
        targets=("mask",),
        histograms=("dice_small",),
    ),
    parameters=("photons", "blur", "camera_rings"),
)
