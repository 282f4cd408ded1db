"""Watch the metrics of each step for values that are not finite, while the next step runs."""

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
    """The metrics of the steps since the last line of the journal.

    They are read one step late, so that the loop never waits for the device.
    """

    data: str  # name of the training samples, for messages
    order: Order
    per_epoch: int  # number of steps in an epoch
    rate: Callable[[int], Any]  # learning rate as a function of the step
    _waiting: tuple[int, Metrics] | None = None
    _values: dict[str, list[float]] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def follow(self, step: int, metrics: Metrics) -> None:
        """Keep the metrics of a step, and check those of the step before.

        Args:
            step: number of the step.
            metrics: its metrics, perhaps still being computed.

        Raises:
            UserError: the loss or the gradient of the step before is not finite.
        """
        self._check_waiting()
        self._waiting = (step, metrics)

    def _check_waiting(self) -> None:
        """Read the metrics of the waiting step. Raise UserError if its loss or gradient is not finite."""
        if self._waiting is None:
            return
        step, metrics = self._waiting
        found = {name: float(value) for name, value in metrics.items() if name != "losses"}
        if not (math.isfinite(found["loss"]) and math.isfinite(found["gradient_norm"])):
            each = np.asarray(metrics["losses"])
            raise UserError(_not_finite_message(self.data, self.order, step, each, found["gradient_norm"]))
        for name, value in found.items():
            self._values.setdefault(name, []).append(value)
        self._waiting = None

    def restart_clock(self) -> None:
        """Start the clock anew, because the time since the last line was not spent in learning."""
        self._since = time.perf_counter()

    def report(self, scale: float) -> Row:
        """Return the next line of the journal, with means over the steps since the last one.

        Args:
            scale: current factor of the learning rate.

        Raises:
            UserError: the loss or the gradient of the last step is not finite.
        """
        assert self._waiting is not None
        step = self._waiting[0]
        self._check_waiting()
        count, now = len(self._values["loss"]), time.perf_counter()
        means = {name: math.fsum(values) / count for name, values in sorted(self._values.items())}
        loss, norm = means.pop("loss"), means.pop("gradient_norm")
        row: Row = {
            "step": step,
            "epoch": round(step / self.per_epoch, 4),
            "train/loss": loss,
            **{f"train/{name}": value for name, value in means.items()},
            "train/gradient_norm": norm,
            "learning_rate": float(self.rate(step - 1)) * scale,
            "seconds": round(now - self._since, 4),
            "samples_per_second": round(count * self.order.batch / (now - self._since), 1),
        }
        self._values, self._since = {}, now
        return row


def _not_finite_message(data: str, order: Order, step: int, each: np.ndarray, norm: float) -> str:
    """Return a message that names the samples whose loss is not finite."""
    ids, weight = order.ids(step - 1)
    ids = ids // order.parts
    bad = [int(i) for i, loss, real in zip(ids, each, weight, strict=True) if real and not math.isfinite(loss)]
    if not bad:
        return (
            f"{data}: step {step}: the gradient is {norm}, from samples {', '.join(map(str, ids[:8]))}, ...; lower "
            "optimizer.learning_rate, or clip the gradient (optimizer.clip)"
        )
    names = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
    remedy = (
        "lower optimizer.learning_rate, because the whole batch is affected"
        if len(bad) == int(weight.sum())
        else "check them with `dataset validate`"
    )
    return f"{data} samples {names}: step {step}: their loss is not finite; {remedy}. This step was not saved"
