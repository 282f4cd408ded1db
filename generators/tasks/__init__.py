"""One file per task: VERSION, Recipe, RECIPES, draw, simulate, measure, constants."""
