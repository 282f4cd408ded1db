"""The metrics of each step, looked at while the next one runs, and what to say when they are not numbers."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.runtime.errors import UserError
from training.metrics_log import Row
from training.sample_order import Order
from training.steps import Metrics


@dataclass
class Watch:
    """The metrics of the steps since the last line: looked at a step late, so that the device is never waited for."""

    data: str  # the training samples, for messages
    order: Order
    rate: Callable[[int], Any]  # step -> learning rate
    _waiting: tuple[int, Metrics] | None = None
    _seen: dict[str, list[float]] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def follow(self, step: int, metrics: Metrics) -> None:
        """Keep a step's metrics, look at those before."""
        self._look()
        self._waiting = (step, metrics)

    def _look(self) -> None:
        if self._waiting is None:
            return
        step, metrics = self._waiting
        found = {name: float(value) for name, value in metrics.items() if name != "each"}
        if not (math.isfinite(found["loss"]) and math.isfinite(found["gradient_norm"])):
            each = np.asarray(metrics["each"])
            raise UserError(_not_finite(self.data, self.order, step, each, found["gradient_norm"]))
        for name, value in found.items():
            self._seen.setdefault(name, []).append(value)
        self._waiting = None

    def begin(self) -> None:
        """Time counts from now on: what was done since the last line was no learning."""
        self._since = time.perf_counter()

    def report(self, scale: float) -> Row:
        """The line since the last one: means over its steps. scale: what multiplies the learning rate now."""
        assert self._waiting is not None
        step = self._waiting[0]
        self._look()
        count, now = len(self._seen["loss"]), time.perf_counter()
        means = {name: math.fsum(values) / count for name, values in sorted(self._seen.items())}
        loss, norm = means.pop("loss"), means.pop("gradient_norm")
        row: Row = {
            "step": step,
            "epoch": round(step / self.order.steps, 4),
            "train/loss": loss,
            **{f"train/{name}": value for name, value in means.items()},
            "train/gradient_norm": norm,
            "learning_rate": float(self.rate(step - 1)) * scale,
            "seconds": round(now - self._since, 4),
            "samples_per_second": round(count * self.order.batch / (now - self._since), 1),
        }
        self._seen, self._since = {}, now
        return row


def _not_finite(data: str, order: Order, step: int, each: np.ndarray, norm: float) -> str:
    """Which samples of a step's batch made it so."""
    ids, weight = order.ids(step - 1)
    ids = ids // order.parts
    bad = [int(i) for i, loss, real in zip(ids, each, weight, strict=True) if real and not math.isfinite(loss)]
    if not bad:
        return (
            f"{data}: step {step}: the gradient is {norm}, from samples {', '.join(map(str, ids[:8]))}, ...; lower "
            "optimizer.learning_rate, or clip it (optimizer.clip)"
        )
    names = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
    remedy = (
        "lower optimizer.learning_rate: all of the batch is affected"
        if len(bad) == int(weight.sum())
        else "look at them with `dataset validate`"
    )
    return f"{data} samples {names}: step {step}: their loss is not finite; {remedy}. Nothing of this step was saved"
