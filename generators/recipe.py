"""The base class of every task's recipe: its settings, and the sizes and fields that follow from them."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from schemas.runtime.settings import Settings


class Recipe(Settings, ABC):
    """Base of every task's Recipe: frozen, and unknown settings are refused."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Return the length of each dimension of the task's fields except `sample`."""

    def optional(self) -> frozenset[str]:
        """Return the optional fields of the task that this recipe stores."""
        return frozenset()

    def bind(self, inputs: Path | None) -> Self:
        """Return the recipe with its input files found and recorded by hash.

        Args:
            inputs: a folder in which files that the recipe names by hash are searched; None: the recipe's own paths

        Raises:
            UserError: a file is missing or cannot be read
        """
        return self

    def check_split(self, split: str, samples: int) -> None:
        """Refuse a split for which this recipe cannot make the samples.

        Args:
            split: `train`, `validation` or `test`
            samples: number of samples asked for

        Raises:
            UserError: this recipe cannot make so many samples of the split
        """
