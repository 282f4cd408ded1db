"""JSON documents that programs write about their own output and read back.

A document is either read as a whole, in a known format, or refused with one line that says why.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.runtime.errors import UserError, broken_rule
from schemas.runtime.publish import MAX_DOCUMENT, exists, inside, read

FOLDERS = {  # a file that shows what a folder is, and the advice for somebody who takes it for a store
    "model.json": ", but a trained network; apply it with: infer --model {path} --data STORE",
    "run.json": ", but a training run; apply its network with: infer --model {path} --data STORE",
    "metrics.json": ", but a report; open {path}/report.html in a browser",
}
STORES = {  # a key of the attributes, and the advice for somebody who takes such a store for another kind
    "drybeam": ", but a dataset; look at it with: dataset preview {path}",
    "drybeam_predictions": ", but predictions; look at them with: dataset export {path} --format png",
}


@dataclass(frozen=True)
class Metadata[M: BaseModel]:
    """A kind of Zarr store, described by a model in the attributes of its root, under its own key."""

    model: type[M]
    key: str
    uuid: str  # identifier of the convention (zarr_conventions)
    about: str
    format: int  # the format that is written, and the newest that can be read
    what: str  # name of such a store's content, for messages
    command: str  # command that makes one, without its --out

    def attributes(self, content: M) -> dict[str, Any]:
        """Return the attributes of the root that hold this content."""
        convention = {"uuid": self.uuid, "name": self.key, "description": self.about}
        return {"zarr_conventions": [convention], self.key: content.model_dump(mode="json")}

    def stands_at(self, path: Path) -> bool:
        """Return True if there is a store of this kind at a path, damaged or not.

        Raises:
            UserError: a link leads out of the store.
        """
        return self.key in _attributes_of(parse_json(read(inside(path, "zarr.json"), MAX_DOCUMENT)))

    def read(self, path: Path, remedy: str, *, incomplete: bool = True) -> M:
        """Read the metadata of a store.

        Args:
            path: the store.
            remedy: remedy for damaged metadata, for the message.
            incomplete: accept a store that is not finished.

        Raises:
            UserError: there are no metadata, or of another kind; or they are damaged, or newer than this version; or
                the store is not finished and `incomplete` is False.
        """
        data = read(inside(path, "zarr.json"), MAX_DOCUMENT)
        if data is None:
            remedy = _advice(path) or f" (no zarr.json); make it with: {self.command} --out {path}"
            raise UserError(f"{path}: no {self.what} here{remedy}")
        if (root := parse_json(data)) is None:
            raise UserError(f"{path}/zarr.json: damaged metadata; {remedy}")
        if self.key not in (attributes := _attributes_of(root)):
            advice = next((STORES[key].format(path=path) for key in STORES if key in attributes), "")
            rest = advice or f" (its zarr.json has no {self.key!r}); give another path"
            raise UserError(f"{path}: no {self.what} here{rest}")
        content = parse_document(self.model, attributes[self.key], self.format, f"{path}/zarr.json", remedy)
        if not incomplete and getattr(content, "status", "complete") != "complete":
            program = self.command.split()[0]
            raise UserError(f"{path}: incomplete; run the same `{program}` command again to finish it")
        return content


def _attributes_of(root: Any) -> Mapping[str, Any]:
    attributes = root.get("attributes") if isinstance(root, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _advice(path: Path) -> str:
    """Return what a folder that is no store holds, and what to do with it; empty if it is not known."""
    store = path.with_suffix("") if path.suffix == ".run" else path
    if store != path and exists(store / "zarr.json"):
        return f", but the receipts of {store.name}; give {store}"
    return next((advice.format(path=path) for name, advice in FOLDERS.items() if exists(path / name)), "")


def parse_json(data: bytes | None) -> Any:
    """Return the content of a JSON text; None if it is damaged or missing."""
    try:
        return json.loads(data or b"")
    except (ValueError, RecursionError):
        return None


def parse_document[M: BaseModel](kind: type[M], content: Any, known: int, where: str, remedy: str) -> M:
    """Return the content of a document as its model.

    Args:
        kind: the model.
        content: the parsed JSON.
        known: the newest format that can be read.
        where: the file, for messages.
        remedy: remedy for a damaged document, for messages.

    Raises:
        UserError: the document has a newer format, or does not match its own.
    """
    version = content.get("format") if isinstance(content, dict) else None
    if isinstance(version, int) and not 1 <= version <= known:
        raise UserError(
            f"{where}: format {version}, this program reads up to {known}; install the version that wrote it"
        )
    try:
        text = json.dumps(content, ensure_ascii=False).encode(
            "utf-8", "replace"
        )  # older versions stored names in any encoding
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{where}: damaged: {name}: {broken_rule(first)}; {remedy}") from None
