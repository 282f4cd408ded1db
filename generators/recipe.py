"""What every task's Recipe is: settings, and what follows from them."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from schemas.runtime.settings import Settings


class Recipe(Settings, ABC):
    """Base of every task's Recipe: frozen, unknown keys refused."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """The length of each dimension of the task's fields but `sample`."""

    def optional(self) -> frozenset[str]:
        """The optional fields of the task that this recipe stores."""
        return frozenset()

    def bind(self, inputs: Path | None) -> Self:
        """The recipe with its external files found and recorded by hash.

        inputs: a folder to look in for files recorded by hash, in place of the recipe's own path.
        """
        return self

    def serves(self, split: str, samples: int) -> None:
        """UserError if this recipe cannot make so many samples of a split."""
