"""Every setting of a training run. A run is a function of its recipe and its dataset alone."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, create_model, model_validator

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
type Schedules = Literal["constant", "cosine", "plateau"]
type Precision = Literal["float32", "bfloat16"]
type Normalisation = Literal["standard", "none"]
type Weight = Annotated[float, within(0)]


def _range(text: str) -> str:
    if text and not re.fullmatch(r"\d{1,18}:\d{1,18}", text):
        raise ValueError("must be A:B, two whole numbers, as 0:1000 for the first thousand")
    return text


class Optimizer(Settings):
    """The rule that turns gradients into steps."""

    name: Optimizers = Field("adam", **setting("which rule"))
    learning_rate: Annotated[float, within(0)] = Field(2e-3, **setting("the highest of the schedule; 0: learn nothing"))
    weight_decay: Annotated[float, within(0)] = Field(1e-4, **setting("adamw, muon: decoupled, of all parameters"))
    momentum: Annotated[float, within(0, 1)] = Field(0.9, **setting("sgd, rmsprop: 0 is none"))
    nesterov: bool = Field(False, **setting("sgd, rmsprop: look ahead"))
    decay: Annotated[float, within(0, 1)] = Field(0.9, **setting("rmsprop, adadelta: of the mean squared gradient"))
    l1: Annotated[float, within(0)] = Field(0.0, **setting("proximal_sgd, proximal_adagrad, adagrad_da, ftrl"))
    l2: Annotated[float, within(0)] = Field(0.0, **setting("proximal_sgd, proximal_adagrad, adagrad_da, ftrl"))
    clip: Annotated[float, within(0, above=True)] | None = Field(
        1.0, **setting("largest norm of the gradient; none: any")
    )

    @model_validator(mode="after")
    def _moves(self) -> Self:
        """These two set the parameters anew in each step, in proportion to the rate or to its inverse."""
        if self.learning_rate == 0 and self.name in ("ftrl", "adagrad_da"):
            raise ValueError(f"learning_rate = 0: must be more than 0 for {self.name}")
        return self


class Schedule(Settings):
    """The learning rate as a function of the step."""

    name: Schedules = Field("cosine", **setting("after the warm-up: constant, cosine, plateau"))
    warmup: int = Field(100, ge=0, **setting("linear warm-up; at most a tenth of the run", "step"))
    floor: Annotated[float, within(0, 1)] = Field(0.0, **setting("cosine: the last learning rate to the highest"))
    factor: Annotated[float, within(0, 1, above=True)] = Field(
        0.5, **setting("plateau: learning rate to the one before")
    )
    patience: int = Field(
        5, ge=1, **setting("plateau: evaluations without a better loss before it falls", "evaluation")
    )


class Loss(Settings):
    """Weights of the terms of the loss (training/losses.py)."""

    relative: Weight = Field(1.0, **setting("root of error^2 to truth^2, sums over a sample"))
    mse: Weight = Field(0.0, **setting("mean squared error, in standard deviations of the target"))
    l1: Weight = Field(0.0, **setting("mean absolute error, in standard deviations of the target"))
    huber: Weight = Field(0.0, **setting("mean Huber loss, in standard deviations of the target"))
    cross_entropy: Weight = Field(0.0, **setting("of classes, or of values from 0 to 1"))
    dice: Weight = Field(0.0, **setting("of classes: 1 - twice the overlap to the sum of both areas"))
    classes: tuple[Weight, ...] = Field((), **setting("of classes: the weight of each; empty: all 1"))
    aligned: bool = Field(False, **setting("compare after alignment: do not learn what no measurement reveals"))

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each term, by name."""
        return self.model_dump(exclude={"classes", "aligned"})

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError(f"one of {', '.join(self.weights)} must be above 0")
        return self


class Recipe(Settings):
    """Every setting of a run but those of its model."""

    target: str = Field("", **setting("a parameter that is learned in place of the task's targets; empty: those"))
    input: str = Field("", **setting("what the network sees; empty: the task's first"))
    head: str = Field("", **setting("what the network's output means; empty: the task's first"))
    scalars: tuple[str, ...] = Field((), **setting("parameters that the network is told, such as defocus"))
    samples: Annotated[str, AfterValidator(_range)] = Field(
        "", **setting("A:B, train on samples A to B - 1; empty: all")
    )
    crop: Annotated[int, Field(ge=0), AfterValidator(lambda length: length or None)] | None = Field(
        None,
        **setting(
            "random parts of samples, so long along each spatial axis; none or 0: whole; unsaid: as LEARN", "pixel"
        ),
    )
    normalisation: Normalisation = Field("standard", **setting("to mean 0, deviation 1 of the training data, or none"))
    epochs: int = Field(50, ge=1, **setting("passes over the training samples"))
    batch_size: int = Field(16, ge=1, **setting("of all devices together", "sample"))
    seed: int = Field(0, ge=0, lt=1 << 32, **setting("of initialisation, order, augmentation and dropout"))
    optimizer: Optimizer = Field(Optimizer(), **setting("steps"))
    schedule: Schedule = Field(Schedule(), **setting("learning rate"))
    loss: Loss = Field(Loss(), **setting("what is made small"))
    augment: bool = Field(True, **setting("show samples under the task's symmetries"))
    ema: Annotated[float, within(0, 1)] | None = Field(
        None, **setting("decay of an exponential moving average of the parameters, evaluated and kept in their place")
    )
    precision: Precision = Field("float32", **setting("of the network; parameters, physics, losses stay float32"))
    patience: int | None = Field(None, ge=1, **setting("stop after so many evaluations without a better loss"))
    best: str = Field("loss", **setting("what chooses the best: loss, or a score of metrics.jsonl, as iou"))
    evaluate_every: int = Field(1, ge=1, **setting("passes between evaluations", "epoch"))
    log_every: int = Field(10, ge=1, **setting("steps between lines of metrics.jsonl", "step"))
    save_every: int = Field(1000, ge=1, **setting("steps between checkpoints, beside one an evaluation", "step"))

    @property
    def network(self) -> str:
        """The name of the network."""
        name: str = self.model.name  # type: ignore[attr-defined]
        return name

    def chosen(self, n: int) -> range:
        """The training samples that are used, of n; ValueError if they are not there."""
        first, last = map(int, self.samples.split(":")) if self.samples else (0, n)
        if not first < last <= n:
            raise ValueError(
                f"samples = {self.samples}: must be A:B with A < B <= {n}, the training samples that there are"
            )
        return range(first, last)

    @model_validator(mode="after")
    def _schedule_free(self) -> Self:
        """It needs neither a schedule nor another average."""
        if self.optimizer.name == "schedule_free" and (self.schedule.name != "constant" or self.ema is not None):
            raise ValueError("optimizer.name = schedule_free: needs schedule.name=constant and ema=none")
        return self


def recipe_of(name: str, model: Model, learn: Learn | None = None) -> type[Recipe]:
    """The recipe of a run with a model of that name: its settings under `model`, all losses under `loss`.

    learn: of the task, for the losses of its own.
    """
    field: Any = (Literal[name], Field(name, **setting("which network")))
    named = create_model("Config", __base__=model.Config, name=field)
    own: Any = {key: (Weight, Field(0.0, **setting(one.about))) for key, one in (learn.losses if learn else {}).items()}
    inner: Any = {key: (Weight, Field(1.0, **setting(about))) for key, about in getattr(model, "LOSSES", {}).items()}
    losses: Any = create_model("Loss", __base__=Loss, **own, **inner) if own or inner else Loss
    parts: Any = {
        "loss": (losses, Field(losses(), **setting("what is made small"))),
        "model": (named, Field(named(), **setting("the network"))),
    }
    return create_model("Recipe", __base__=Recipe, **parts)
