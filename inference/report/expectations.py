"""Check scores against the bounds that a workflow expects, each on a mean score or on the ratio or difference of two.

All scores of a method in `metrics.json` can be bounded: means over samples (`nrms`, `mask.mcc`), and scores over all
values together, such as `r2`, `pooled.accuracy` or `<class>.iou`. A file of expectations holds lists of bounds by case:

{"tiny": [{"method": "network", "metric": "nrms", "at_most": 0.5, "times": "classical"},
          {"method": "network", "metric": "psnr", "at_least": 3, "minus": "classical"},
          {"method": "network", "metric": "mask.mcc", "at_least": 0.8}], ...}
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from schemas.runtime.errors import UserError, broken_rule, suggestion
from schemas.runtime.terminal import count_text


class Expectation(BaseModel):
    """Upper or lower bound of a score of a method, absolute or relative to the score of another method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    metric: str
    at_most: float | None = None
    at_least: float | None = None
    times: str | None = None  # another method: the bound is then a multiple of its score
    minus: str | None = None  # another method: the bound is then one of the difference to its score

    @model_validator(mode="after")
    def _check_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give one of at_most and at_least")
        if self.times is not None and self.minus is not None:
            raise ValueError("give one of times and minus")
        return self

    @property
    def methods(self) -> list[str]:
        """Names of the methods whose scores are needed, the bounded one first."""
        return [name for name in (self.method, self.times, self.minus) if name is not None]


def load(text: str) -> list[Expectation]:
    """Read the expectations of a JSON file.

    Args:
        text: FILE, or FILE:CASE if the file has several cases.

    Raises:
        UserError: the file cannot be read, has no such case, or is mistaken.
    """
    name, _, case = text.rpartition(":") if ":" in text else (text, "", "")
    try:
        data = json.loads(Path(name).read_text())
        entries = data[case] if case else data
        return TypeAdapter(Annotated[list[Expectation], Field(min_length=1)]).validate_python(entries)
    except OSError as error:
        raise UserError(f"--expect {name}: {error.strerror}; give a JSON file, or FILE:CASE") from None
    except (KeyError, TypeError):
        raise UserError(f"--expect {text}: no case {case!r} in the file; give one that it holds") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--expect {text}: {'.'.join(map(str, first['loc']))}: {broken_rule(first)}") from None
    except ValueError as error:
        raise UserError(f"--expect {name}: is not valid JSON ({error}); correct the file") from None


def missed(expected: Sequence[Expectation], methods: Mapping[str, Any]) -> list[str]:
    """Return a line for each expectation that does not hold.

    Args:
        expected: the bounds.
        methods: the entry `methods` of metrics.json.
    """
    return [line for one in expected if (line := _missed_text(one, methods))]


def _missed_text(expectation: Expectation, methods: Mapping[str, Any]) -> str:
    """Return a line that says how one expectation is missed; empty if it holds."""
    said, names = f"{expectation.method}: {expectation.metric}", expectation.methods
    if unknown := next(filter(None, (_unknown_text(methods, name, expectation.metric) for name in names)), ""):
        return f"{said}: {unknown}"
    if broken := sum(methods[name]["not_finite"] for name in names):
        return f"{said}: {count_text(broken, 'prediction')} with NaN or infinite values"
    value, *others = (float(methods[name]["metrics"][expectation.metric]["mean"]) for name in names)
    unit = ""
    if expectation.times is not None:
        if not others[0]:
            return f"{said}: that of {expectation.times} is 0, so there is no ratio; write minus in place of times"
        value, unit = value / others[0], f" times that of {expectation.times}"
    if expectation.minus is not None:
        value, unit = value - others[0], f" more than that of {expectation.minus}"
    if expectation.at_most is not None and not value <= expectation.at_most:
        return f"{said} is {value:.4g}{unit}, expected at most {expectation.at_most:g}"
    if expectation.at_least is not None and not value >= expectation.at_least:
        return f"{said} is {value:.4g}{unit}, expected at least {expectation.at_least:g}"
    return ""


def _unknown_text(methods: Mapping[str, Any], method: str, metric: str) -> str:
    """Return the reason why a score is unknown; empty if it is known."""
    if method not in methods:
        return f"there is no such score, because there is no method {method}{suggestion(method, methods)}"
    scores = methods[method]["metrics"]
    if metric not in scores:
        return f"there is no such score of {method}{suggestion(metric, scores)}"
    return f"the score of {method} is undefined" if scores[metric]["mean"] is None else ""
