"""Learning a line from its blurred image."""

from training.contract import Learn

LEARN = Learn(inputs={"line": ("blurred",)}, scalars=("height",), symmetries=("flip_x",))
