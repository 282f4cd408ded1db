"""Metadata of every kind of store: read whole, or refused in one way."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from inference.stitching import store
from schemas import manifest, predictions
from schemas.runtime.documents import Metadata
from schemas.runtime.errors import UserError

KINDS = (manifest.METADATA, predictions.METADATA, store.METADATA)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
def test_what_is_no_metadata_of_a_kind_is_refused(kind: Metadata[Any], tmp_path: Path) -> None:
    def refused(content: str | None, *parts: str) -> None:
        if content is not None:
            (tmp_path / "zarr.json").write_text(content)
        with pytest.raises(UserError) as caught:
            kind.read(tmp_path, "mend it")
        assert all(part in str(caught.value) for part in (str(tmp_path), *parts)), caught.value

    refused(None, f"no {kind.what} here (no zarr.json); make it with: {kind.command}")
    for damaged in ("", "{", "[" * 100_000):
        refused(damaged, "damaged metadata; mend it")
    for other in ("[]", "{}", '{"attributes": []}', '{"attributes": {"other": {}}}'):
        refused(other, f"no {kind.what} here (its zarr.json has no '{kind.key}')")
    for content, rule in ({"format": 99}, "format 99, this program reads up to"), ({"format": 1}, "damaged: "):
        refused(json.dumps({"attributes": {kind.key: content}}), rule)


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("model.json", "no dataset here, but a trained network; apply it with: infer --model {0} --data STORE"),
        ("run.json", "no dataset here, but a training run; apply its network with: infer --model {0} --data STORE"),
        ("metrics.json", "no dataset here, but a report; open {0}/report.html in a browser"),
    ],
)
def test_other_folders_are_named_with_what_to_do(file: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / file).touch()
    with pytest.raises(UserError, match=re.escape(advice.format(tmp_path))):
        manifest.METADATA.read(tmp_path, "mend it")


def test_stores_of_another_kind_are_named_with_what_to_do(tmp_path: Path) -> None:
    export = "but predictions; look at them with: dataset export {0} --format png"
    for kind, key, advice in (
        (manifest.METADATA, "drybeam_predictions", export),
        (predictions.METADATA, "drybeam", "but a dataset; look at it with: dataset preview {0}"),
    ):
        (tmp_path / "zarr.json").write_text(json.dumps({"attributes": {key: {}}}))
        with pytest.raises(UserError, match=re.escape(f"here, {advice.format(tmp_path)}")):
            kind.read(tmp_path, "mend it")


def test_receipts_are_named_with_their_dataset(tmp_path: Path) -> None:
    for folder in ("x.zarr", "x.zarr.run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "x.zarr" / "zarr.json").touch()
    with pytest.raises(UserError, match=r"no dataset here, but the receipts of x\.zarr; give .*/x\.zarr$"):
        manifest.METADATA.read(tmp_path / "x.zarr.run", "mend it")


def test_kinds_do_not_take_one_another_for_their_own() -> None:
    assert len({kind.key for kind in KINDS}) == len({kind.uuid for kind in KINDS}) == len(KINDS)
