"""Datasets: their fields, store, digest, validation, scores, import and export."""

from donfig import config_obj  # type: ignore[import-untyped]  # a dependency of zarr, which is configured by it

# Zarr then follows no files of settings (~/.config/zarr). They are made for other programs, and may be damaged.
vars(config_obj)["yaml"] = None
