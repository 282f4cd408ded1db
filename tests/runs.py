"""What tests ask of the folder of a run, and how they kill one."""

import json
from pathlib import Path
from typing import Any

from training.nan_watch import Watch

SMALL = ("--model", "mlp", "--epochs", "3", "--batch-size", "16")


def weights(run: str) -> bytes:
    return Path(run, "best", "model.safetensors").read_bytes()


def card(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "best", "model.json").read_text())
    return found


def lines(run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]


def dies_at(deadly: int, follow: Any) -> Any:
    def dies(self: Watch, step: int, metrics: Any) -> None:
        if step == deadly:
            raise RuntimeError("killed")
        follow(self, step, metrics)

    return dies
