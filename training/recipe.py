"""Every setting of a training run. The result of a run depends only on its recipe and its dataset."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting
from training.contract import Learn, Model

type Optimizers = Literal[
    "adam",
    "adamw",
    "sgd",
    "rmsprop",
    "adagrad",
    "adadelta",
    "proximal_sgd",
    "proximal_adagrad",
    "adagrad_da",
    "ftrl",
    "muon",
    "schedule_free",
]
type Schedules = Literal["constant", "cosine", "step", "plateau"]
type Precision = Literal["float32", "bfloat16"]
type Normalisation = Literal["standard", "none"]
type Weight = Annotated[float, within(0)]

NO_TERMS = {"classes", "focusing", "border_weight", "border_width", "against", "aligned"}  # settings of other losses


def _check_range(text: str) -> str:
    if text and not re.fullmatch(r"\d{1,18}:\d{1,18}", text):
        raise ValueError("must be A:B, two whole numbers, such as 0:1000 for the first thousand")
    return text


def target_names(text: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas, each once."""
    return tuple(dict.fromkeys(filter(None, text.replace(" ", "").split(","))))


def _single_word(given: Any) -> Any:
    """Return a word that was given as a list of one."""
    return given[0] if given in (["balanced"], ("balanced",)) else given


class Optimizer(Settings):
    """The rule that turns gradients into steps."""

    name: Optimizers = Field("adam", **setting("name of the optimizer"))
    learning_rate: Annotated[float, within(0)] = Field(2e-3, **setting("highest rate of the schedule; 0: no learning"))
    weight_decay: Annotated[float, within(0)] = Field(1e-4, **setting("adamw, muon: decoupled decay of all parameters"))
    momentum: Annotated[float, within(0, 1)] = Field(0.9, **setting("sgd, rmsprop: momentum; 0 switches it off"))
    nesterov: bool = Field(False, **setting("sgd, rmsprop: Nesterov momentum"))
    decay: Annotated[float, within(0, 1)] = Field(0.9, **setting("rmsprop, adadelta: decay of mean squared gradients"))
    l1: Annotated[float, within(0)] = Field(0.0, **setting("L1 penalty (proximal_*, adagrad_da, ftrl)"))
    l2: Annotated[float, within(0)] = Field(0.0, **setting("L2 penalty (proximal_*, adagrad_da, ftrl)"))
    clip: Annotated[float, within(0, above=True)] | None = Field(
        1.0, **setting("maximum norm of the gradient; none: no limit")
    )

    @model_validator(mode="after")
    def _check_rate(self) -> Self:
        """Refuse the rate 0 for two rules that compute the parameters anew in each step.

        They set them in proportion to the rate or to its inverse.
        """
        if self.learning_rate == 0 and self.name in ("ftrl", "adagrad_da"):
            raise ValueError(f"learning_rate = 0: must be more than 0 for {self.name}")
        return self


class Schedule(Settings):
    """The learning rate as a function of the step."""

    name: Schedules = Field("cosine", **setting("course of the learning rate after the warm-up"))
    warmup: int = Field(100, ge=0, **setting("length of the linear warm-up, at most a tenth of the run", "step"))
    floor: Annotated[float, within(0, 1)] = Field(0.0, **setting("cosine: last learning rate divided by the highest"))
    factor: Annotated[float, within(0, 1, above=True)] = Field(
        0.5, **setting("step, plateau: new learning rate divided by the previous one")
    )
    drops: tuple[Annotated[float, within(0, 1)], ...] = Field(
        (0.5, 0.75), **setting("step: shares of the run after which the learning rate falls")
    )
    patience: int = Field(
        5, ge=1, **setting("plateau: evaluations without a better loss before the learning rate falls", "evaluation")
    )


class Loss(Settings):
    """Weights of the terms of the loss, which `training/losses.py` defines."""

    relative: Weight = Field(1.0, **setting("weight of sqrt(sum error^2 / sum truth^2), sums over a sample"))
    mse: Weight = Field(0.0, **setting("weight of the mean squared error, in standard deviations of the target"))
    rmse: Weight = Field(0.0, **setting("weight of the root of the mean squared error of a sample, in deviations"))
    l1: Weight = Field(0.0, **setting("weight of the mean absolute error, in standard deviations of the target"))
    huber: Weight = Field(0.0, **setting("weight of the mean Huber loss, in standard deviations of the target"))
    cross_entropy: Weight = Field(0.0, **setting("weight of the cross entropy of classes, or of values from 0 to 1"))
    weighted_cross_entropy: Weight = Field(
        0.0,
        **setting("weight of the mean of class weight times cross entropy; not divided by the sum of weights"),
    )
    dice: Weight = Field(0.0, **setting("weight of the Dice loss of classes, 1 - 2 overlap / sum of both areas"))
    focal: Weight = Field(0.0, **setting("weight of the focal loss of classes, - (1 - p)^focusing log p"))
    border: Weight = Field(
        0.0, **setting("weight of the cross entropy of classes, in which narrow gaps between objects count more")
    )
    classes: Annotated[tuple[Weight, ...] | Literal["balanced"], BeforeValidator(_single_word)] = Field(
        (),
        **setting(
            "weight of each class within these losses; empty: all 1; balanced: in inverse proportion to how often it "
            "occurs in the training samples"
        ),
    )
    focusing: Annotated[float, within(0, 16)] = Field(
        2.0, **setting("focal: exponent g, how much less right pixels count")
    )
    border_weight: Weight = Field(10.0, **setting("border: weight in an infinitely narrow gap"))
    border_width: Annotated[float, within(0, 64, above=True)] = Field(
        5.0, **setting("border: the weight falls as a Gaussian of the width of the gap, with this deviation", "pixel")
    )
    against: str = Field(
        "", **setting("input with which the loss compares instead of the target, to learn without truth; empty: none")
    )
    aligned: bool = Field(False, **setting("align in the task's ambiguities before comparing: do not learn them"))

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term, by name."""
        return self.model_dump(exclude=NO_TERMS)

    @property
    def class_weights(self) -> tuple[float, ...]:
        """Weight of each class; empty: all 1. Before a run begins, `balanced` is replaced by numbers."""
        return () if isinstance(self.classes, str) else self.classes

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError(f"one of {', '.join(self.weights)} must be above 0")
        return self


class Recipe(Settings):
    """All settings of a run except those of its model."""

    target: Annotated[str, AfterValidator(lambda text: ",".join(target_names(text)))] = Field(
        "", **setting("targets or parameters to learn, separated by commas; empty: all targets of the task")
    )
    input: str = Field("", **setting("which of the task's inputs the network receives; empty: the first"))
    head: str = Field("", **setting("which of the task's heads turns the output into targets; empty: the first"))
    scalars: tuple[str, ...] = Field((), **setting("parameters given to the network as further inputs, e.g. defocus"))
    samples: Annotated[str, AfterValidator(_check_range)] = Field(
        "", **setting("A:B trains only on the samples A to B - 1; empty: on all")
    )
    crop: Annotated[int, Field(ge=0), AfterValidator(lambda length: length or None)] | None = Field(
        None,
        **setting(
            "side of the random parts to learn from; none or 0: whole samples; if not set, the task may choose it",
            "pixel",
        ),
    )
    normalisation: Normalisation = Field("standard", **setting("scaling of training data to mean 0, deviation 1"))
    epochs: int = Field(50, ge=1, **setting("number of epochs, each a pass over the training samples"))
    steps_per_epoch: int | None = Field(
        None, ge=1, **setting("length of an epoch; none: a pass. The order of samples stays the same", "step")
    )
    validation_steps: int | None = Field(
        None, ge=1, **setting("evaluate only the first batches of the validation samples; none: all", "step")
    )
    batch_size: int = Field(16, ge=1, **setting("samples per step, over all devices together", "sample"))
    seed: int = Field(0, ge=0, lt=1 << 32, **setting("seed of initialisation, order, crops, augmentation, dropout"))
    optimizer: Optimizer = Field(Optimizer(), **setting("rule that turns gradients into steps"))
    schedule: Schedule = Field(Schedule(), **setting("learning rate as a function of the step"))
    loss: Loss = Field(Loss(), **setting("weighted sum of terms that is minimised"))
    augment: bool = Field(True, **setting("apply the task's symmetries to training samples at random"))
    ema: Annotated[float, within(0, 1)] | None = Field(
        None, **setting("decay of the exponential moving average of parameters that is evaluated and kept; none: off")
    )
    precision: Precision = Field("float32", **setting("precision of layers; parameters, physics, losses are float32"))
    patience: int | None = Field(None, ge=1, **setting("stop after this many evaluations without a better loss"))
    best: str = Field("loss", **setting("score that selects the best network: loss, or one in metrics.jsonl, e.g. iou"))
    evaluate_every: int = Field(1, ge=1, **setting("epochs between evaluations", "epoch"))
    log_every: int = Field(10, ge=1, **setting("steps between lines of metrics.jsonl", "step"))
    save_every: int = Field(1000, ge=1, **setting("steps between checkpoints; each evaluation also saves one", "step"))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the fields to learn; empty for all targets of the task."""
        return target_names(self.target)

    @property
    def network(self) -> str:
        """Name of the network."""
        name: str = self.model.name  # type: ignore[attr-defined]
        return name

    def used_samples(self, n: int) -> range:
        """Return the indices of the training samples that are used.

        Args:
            n: number of training samples in the dataset.

        Raises:
            ValueError: the setting `samples` reaches beyond n.
        """
        first, last = map(int, self.samples.split(":")) if self.samples else (0, n)
        if not first < last <= n:
            raise ValueError(f"samples = {self.samples}: must be A:B with A < B <= {n}, the number of training samples")
        return range(first, last)

    @model_validator(mode="after")
    def _check_schedule_free(self) -> Self:
        """Refuse a schedule or an average with `schedule_free`, which needs neither."""
        if self.optimizer.name == "schedule_free" and (self.schedule.name != "constant" or self.ema is not None):
            raise ValueError("optimizer.name = schedule_free: needs schedule.name=constant and ema=none")
        return self


def recipe_type(name: str, model: Model, learn: Learn | None = None) -> type[Recipe]:
    """Return the type of recipe for one network: its settings under `model`, all losses under `loss`.

    Args:
        name: name of the network.
        model: the network's file.
        learn: the task's file, for the losses that it defines; None if there is no dataset.
    """
    field: Any = (Literal[name], Field(name, **setting("name of the network")))
    named = create_model("Config", __base__=model.Config, name=field)
    own: Any = {key: (Weight, Field(0.0, **setting(one.about))) for key, one in (learn.losses if learn else {}).items()}
    found = {key: (one, 1.0) if isinstance(one, str) else one for key, one in getattr(model, "LOSSES", {}).items()}
    inner: Any = {key: (Weight, Field(weight, **setting(about))) for key, (about, weight) in found.items()}
    losses: Any = create_model("Loss", __base__=Loss, **own, **inner) if own or inner else Loss
    parts: Any = {
        "loss": (losses, Field(losses(), **setting("weighted sum of terms that is minimised"))),
        "model": (named, Field(named(), **setting("settings of the network"))),
    }
    return create_model("Recipe", __base__=Recipe, **parts)
