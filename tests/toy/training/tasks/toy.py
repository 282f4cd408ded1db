"""How a line is learned from its blurred image."""

from training.contract import Learn

LEARN = Learn(inputs={"line": ("blurred",)}, scalars=("height",), symmetries=("flip_x",))
