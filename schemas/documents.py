"""What programs write of themselves in JSON and read back: whole, of a known format, or one line that says why not."""

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.runtime.errors import UserError


def document[M: BaseModel](kind: type[M], content: Any, known: int, where: str, mend: str) -> M:
    """The content of a document as its model. known: the newest format it reads; where, mend: for messages.

    Raises UserError if it has a newer format, or is not what that format says.
    """
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and not 1 <= found <= known:
        raise UserError(f"{where}: format {found}, this program reads up to {known}; install the version that wrote it")
    try:
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{where}: damaged: {at}: {first['msg']}; {mend}") from None
