"""The generator of each task, one file per task: VERSION, Recipe, RECIPES, draw, simulate, measure, constants."""
