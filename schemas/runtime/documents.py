"""Documents that programs write of themselves in JSON and read back.

A document is read whole and of a known format, or refused in one line that says why.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.runtime.errors import UserError, rule
from schemas.runtime.publish import inside, read


@dataclass(frozen=True)
class Metadata[M: BaseModel]:
    """A kind of Zarr store: a model that stands in the attributes of its root, under a key of its own."""

    model: type[M]
    key: str
    uuid: str  # of the convention (zarr_conventions)
    about: str
    format: int  # the newest that is read, and the one that is written
    what: str  # such stores hold, for messages
    command: str  # that makes one, without its place

    def attributes(self, content: M) -> dict[str, Any]:
        """Return the attributes of the root."""
        convention = {"uuid": self.uuid, "name": self.key, "description": self.about}
        return {"zarr_conventions": [convention], self.key: content.model_dump(mode="json")}

    def stands_at(self, path: Path) -> bool:
        """Return whether a store of this kind is at a path, damaged or not."""
        return self.key in _attributes(parsed(read(inside(path, "zarr.json"))))

    def read(self, path: Path, mend: str, *, incomplete: bool = True) -> M:
        """Read the metadata of the store at a path.

        Args:
            path: the store.
            mend: what to do if they are damaged, for messages.
            incomplete: accept a store that is not finished.

        Raises:
            UserError: there are none, or of another kind, or they are damaged, or newer than this reader; or the
                store is incomplete, and `incomplete` does not say that this will do.
        """
        data = read(inside(path, "zarr.json"))
        if data is None:
            raise UserError(f"{path}: no {self.what} here (no zarr.json); make it with: {self.command} --out {path}")
        if (root := parsed(data)) is None:
            raise UserError(f"{path}/zarr.json: damaged metadata; {mend}")
        if self.key not in (attributes := _attributes(root)):
            raise UserError(f"{path}: no {self.what} here (its zarr.json has no {self.key!r}); give another path")
        found = document(self.model, attributes[self.key], self.format, f"{path}/zarr.json", mend)
        if not incomplete and getattr(found, "status", "complete") != "complete":
            program = self.command.split()[0]
            raise UserError(f"{path}: incomplete; run the same `{program}` command again to finish it")
        return found


def _attributes(root: Any) -> Mapping[str, Any]:
    found = root.get("attributes") if isinstance(root, dict) else None
    return found if isinstance(found, dict) else {}


def parsed(data: bytes | None) -> Any:
    """Return what a JSON text says; None if it is damaged, or there is none."""
    try:
        return json.loads(data or b"")
    except (ValueError, RecursionError):
        return None


def document[M: BaseModel](kind: type[M], content: Any, known: int, where: str, mend: str) -> M:
    """Return the content of a document as its model.

    Args:
        kind: the model.
        content: what the JSON text says.
        known: the newest format that is read.
        where: the file, for messages.
        mend: what to do if it is damaged, for messages.

    Raises:
        UserError: it has a newer format, or is not what that format says.
    """
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and not 1 <= found <= known:
        raise UserError(f"{where}: format {found}, this program reads up to {known}; install the version that wrote it")
    try:
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{where}: damaged: {at}: {rule(first)}; {mend}") from None
