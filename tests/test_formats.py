"""What programs of format 1 wrote is read, verified and continued. Made at commit bb77cd9: tests/golden/format-1.zip.

whole.zarr, run and network.zarr are complete: `toy` of 20 samples, a network trained on it, its predictions of the
training samples. half.zarr, half-run and half-network.zarr are the same, left by killed processes. images.zarr holds
stitched images.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from safetensors.numpy import load as load_arrays

from generators.engine import pipeline, recompute, shards
from inference.stitching.store import read_images

from .conftest import Command, digest, files

GOLDEN = Path(__file__).parent / "golden" / "format-1.zip"
GENERATE = ("--task", "toy", "--scheduler", "synchronous", "--n", 20)
TRAIN = ("--data", "whole.zarr", "--model", "mlp", "--epochs", 3, "--batch-size", 8, "--set", "model.hidden=8")


@pytest.fixture(autouse=True)
def _written_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacks the files, as if a machine of this kind had written them: bits of `toy` are the same on all."""
    zipfile.ZipFile(GOLDEN).extractall()
    platform = json.loads(Path("whole.zarr/zarr.json").read_text())["attributes"]["drybeam"]["platform"]
    for module in (pipeline, recompute, shards):
        monkeypatch.setattr(module, "platform_class", lambda: platform)


def test_a_dataset_is_read_verified_and_left_alone(generate: Command, dataset: Command) -> None:
    before = files("whole.zarr")
    assert json.loads(dataset("info", "whole.zarr", "--json")[1])["root_digest"] == digest("whole.zarr")
    assert dataset("validate", "whole.zarr")[0] == 0
    assert dataset("verify", "whole.zarr", "--recompute", "100%")[0] == 0
    assert ", 0 made now" in generate(*GENERATE, "--out", "whole.zarr")[1]
    assert files("whole.zarr").keys() == before.keys()
    generate("--from", "whole.zarr", "--out", "again.zarr", "--scheduler", "synchronous")
    assert digest("again.zarr") == digest("whole.zarr")


def test_a_dataset_is_continued(generate: Command) -> None:
    said = generate(*GENERATE, "--out", "half.zarr")[1]
    assert ", 16 made now" in said, "finished shards were made again"
    assert digest("half.zarr") == digest("whole.zarr")
    more = (*GENERATE[:-1], 30, "--validation", 2, "--test", 2)
    generate(*more, "--out", "half.zarr")
    generate(*more, "--out", "fresh.zarr")
    assert digest("half.zarr") == digest("fresh.zarr")


def test_a_model_and_its_predictions_are_read_and_continued(infer: Command, evaluate: Command) -> None:
    command = ("--model", "run", "--data", "whole.zarr", "--split", "train", "--name", "run")
    assert infer(*command, "--out", "anew.zarr")[0] == 0
    assert "20 samples complete, 8 made now" in infer(*command, "--out", "half-network.zarr")[1]
    first, anew, continued = (
        np.asarray(zarr.open_array(f"{store}/line")[...])
        for store in ("network.zarr", "anew.zarr", "half-network.zarr")
    )
    np.testing.assert_allclose(anew, first, atol=1e-5)
    np.testing.assert_allclose(continued, first, atol=1e-5)
    assert evaluate("--data", "whole.zarr", "--predictions", "network.zarr", "--split", "train")[0] == 0


def test_a_run_is_continued(train: Command) -> None:
    assert train(*TRAIN, "--out", "half-run")[0] == 0
    whole, continued = (load_arrays(Path(run, "best/model.safetensors").read_bytes()) for run in ("run", "half-run"))
    assert whole.keys() == continued.keys()
    for name, values in whole.items():
        np.testing.assert_allclose(continued[name], values, atol=1e-4)
    assert train("--data", "whole.zarr", "--from", "run", "--epochs", 1, "--batch-size", 8, "--out", "tuned")[0] == 0


def test_images_are_read() -> None:
    assert read_images(Path("images.zarr")).scans[0].patches == 16


def _formerly(data: bytes) -> bytes:
    """Metadata in the words of the first programs of format 2."""
    words = {"ambiguities": "gauge", "settings": "knobs", "shard": "unit"}
    text = data.decode()
    for new, old in words.items():
        text = text.replace(f'"{new}":', f'"{old}":')
    assert text != data.decode()
    return text.encode()


def test_former_words_are_read(generate: Command, dataset: Command, infer: Command) -> None:
    """A gauge, knobs and units stand for ambiguities, settings and shards; what is written anew has the new words."""
    generate(*GENERATE, "--out", "new.zarr", "--unit-samples", 4)
    root = Path("new.zarr/zarr.json")
    root.write_bytes(_formerly(root.read_bytes()))
    receipts = sorted(Path("new.zarr.run/receipts").iterdir())
    for path in receipts:
        content = _formerly(path.read_bytes().partition(b"\n")[2])
        path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    assert dataset("verify", "new.zarr", "--recompute", "50%")[0] == 0
    assert ", 0 made now" in generate(*GENERATE, "--out", "new.zarr")[1]
    generate(*GENERATE[:-1], 24, "--validation", 2, "--test", 2, "--out", "new.zarr")
    assert b'"shard"' in root.read_bytes()
    assert b'"unit":4' not in root.read_bytes().replace(b" ", b"")
    assert infer("--model", "run", "--data", "whole.zarr", "--split", "train", "--out", "p.zarr")[0] == 0
    stored = Path("p.zarr/zarr.json")
    stored.write_bytes(stored.read_bytes().replace(b'"shard":', b'"unit":').replace(b'"ambiguities":', b'"gauge":'))
    assert ", 0 made now" in infer("--model", "run", "--data", "whole.zarr", "--split", "train", "--out", "p.zarr")[1]
