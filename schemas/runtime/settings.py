"""Settings of recipes and methods: combined from a named recipe, a file and `--set`, checked, and written as data."""

import json
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from schemas.runtime.errors import UserError, broken_rule, closest, suggestion
from schemas.runtime.ranges import Range

RECIPE_ALIASES = {"seed": "published"}  # former names of recipes


class Settings(BaseModel):
    """A set of settings, which may contain further sets. It is frozen and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def setting(about: str, unit: str = "1") -> dict[str, Any]:
    """Return the arguments that describe a setting, for pydantic's `Field(default, **setting(...))`.

    Args:
        about: meaning, for `--describe`.
        unit: unit, for `--describe`.
    """
    return {"description": about, "json_schema_extra": {"unit": unit}}


def described(default: Any, about: str, unit: str = "1", **rules: Any) -> Any:
    """Return the pydantic field of a setting.

    Args:
        default: its default.
        about: meaning, for `--describe`.
        unit: unit, for `--describe`.
        rules: further arguments of pydantic's `Field`.
    """
    return Field(default, **setting(about, unit), **rules)


def between(low: float, high: float, about: str, unit: str = "1") -> Any:
    """Return the pydantic field of a setting that is drawn from a range.

    Args:
        low: low end of the default range.
        high: high end of the default range.
        about: meaning, for `--describe`.
        unit: unit, for `--describe`.
    """
    return Field(Range(low=low, high=high), **setting(about, unit))


def make_settings[K: Settings](kind: type[K], base: Mapping[str, Any], settings: Sequence[str]) -> K:
    """Make a set of settings from a mapping and `key=value` texts.

    Args:
        kind: the model.
        base: the settings of a named recipe or a file.
        settings: `key=value` texts, which override the base.

    Raises:
        UserError: a key is unknown, or a value breaks a rule.
    """
    data = json.loads(json.dumps(base))
    for setting in settings:
        _apply_assignment(kind, data, setting)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UserError(_describe_error(kind, error)) from None


def refuse_paths(kind: type[Settings], stored: Mapping[str, Any], where: str) -> None:
    """Refuse a recipe, stored in a dataset or a model, that names a file.

    Recipes are stored with hashes of their files, without paths. A path in a stored recipe was therefore added by
    another program, and would bring a file of this machine into the output.

    Args:
        kind: the model of the recipe.
        stored: the stored recipe.
        where: the dataset or model, for the message.

    Raises:
        UserError: one of the settings names a file.
    """
    if path_setting := next(_find_excluded(kind, stored), None):
        raise UserError(
            f"{where}: its recipe names a file of this machine, {path_setting}; a stored recipe must hold only hashes "
            "(--inputs DIR finds the files); use only datasets and models that you trust"
        )


def _find_excluded(annotation: Any, data: Any, prefix: str = "") -> Iterator[str]:
    """Yield the settings in stored data that are never stored by this project, at any depth.

    Args:
        annotation: the type of the data.
        data: the stored data.
        prefix: dotted name of the setting that holds them, with a final dot.
    """
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            if not isinstance(data, Mapping) or name not in data:
                continue
            if info.exclude:
                yield f"{prefix}{name} = {data[name]}"
            yield from _find_excluded(info.annotation, data[name], f"{prefix}{name}.")
        return
    items = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    for part in typing.get_args(getattr(annotation, "__value__", annotation)):
        for item in (data, *items):
            yield from _find_excluded(part, item, prefix)


def files_of(settings: Any) -> Iterator[Path]:
    """Yield the paths among the values of settings, at any depth."""
    if isinstance(settings, Path):
        yield settings
    parts = [value for _, value in settings] if isinstance(settings, BaseModel) else settings
    parts = parts.values() if isinstance(parts, Mapping) else parts
    if isinstance(parts, Collection) and not isinstance(parts, str | bytes):
        for part in parts:
            yield from files_of(part)


def recipe_name(name: str, recipes: Collection[str]) -> str:
    """Return the present name of a recipe, which may be given by a former name.

    Args:
        name: the name that was asked for.
        recipes: the present names.
    """
    return name if name in recipes else RECIPE_ALIASES.get(name, name)


def load_recipe(name: str | Path, recipes: Collection[str] = ()) -> dict[str, Any]:
    """Read a recipe file: a JSON object of settings.

    Args:
        name: path of the file.
        recipes: names of recipes, for the message.

    Raises:
        UserError: there is no such file, or it does not hold a JSON object.
    """
    try:
        data = json.loads(Path(name).read_text())
    except FileNotFoundError:
        raise UserError(f"--recipe {name}: no such recipe or file{suggestion(str(name), recipes)}") from None
    except OSError as error:
        raise UserError(f"--recipe {name}: {error.strerror}; give a recipe's name or a readable JSON file") from None
    except ValueError as error:
        raise UserError(f"--recipe {name}: not JSON ({error}); see --describe for the settings") from None
    if not isinstance(data, dict):
        raise UserError(f"--recipe {name}: must hold a JSON object of settings; see --describe")
    return data


def all_settings(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting with its dotted name. Settings of an inner set follow the setting that holds them.

    Args:
        kind: the model.
        prefix: dotted name of the setting that holds it, with a final dot.
    """
    for name, info in kind.model_fields.items():
        if not info.exclude or (info.json_schema_extra or {}):
            yield prefix + name, info
            if inner := _inner_model(info):
                yield from all_settings(inner, f"{prefix}{name}.")


def flatten(stored: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a stored recipe with their dotted names.

    Args:
        stored: the recipe.
        prefix: dotted name of the setting that holds it, with a final dot.
    """
    for key, value in stored.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def undescribed_settings(kind: type[BaseModel]) -> Iterator[str]:
    """Yield a message for each setting that `--describe` could not explain, or that would store a path."""
    for name, info in all_settings(kind):
        if not info.description or not isinstance(info.json_schema_extra, dict) or info.is_required():
            yield f"{kind.__name__}.{name}: must be Field(default, **setting(meaning, unit))"
        elif _names_a_file(info) and not info.exclude:
            yield f"{kind.__name__}.{name}: names a file: must be Field(..., exclude=True), so that no path is stored"


def _names_a_file(info: FieldInfo) -> bool:
    return Path in (info.annotation, *typing.get_args(info.annotation)) or _unit(info) == "path"


def _unit(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def describe(kind: type[Settings], recipe: Settings) -> dict[str, dict[str, Any]]:
    """Return unit, meaning, value and default of every setting, by dotted name.

    Args:
        kind: the model.
        recipe: the settings with their present values.
    """
    values = recipe.model_dump(mode="json")
    rows = {}
    for name, info in all_settings(kind):
        about = f"{info.description or ''}{_list_choices(info)}"
        value, default = _lookup(values, name), _default_value(info)
        rows[name] = {"unit": _unit(info), "about": about, "value": value, "default": default}
    return rows


def _list_choices(info: FieldInfo) -> str:
    """Return the list of words that a setting accepts, as the end of its meaning; empty if it accepts other values."""
    annotation = getattr(info.annotation, "__value__", info.annotation)
    words = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    return f": {' | '.join(words)}" if words else ""


def _default_value(info: FieldInfo) -> Any:
    """Return the default of a setting; None for a setting that holds others."""
    default = info.get_default(call_default_factory=True)
    return None if _inner_model(info) else json.loads(TypeAdapter(Any).dump_json(default))


def _lookup(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _inner_model(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model that a setting holds, also if it may be none. A Range is a value, not a set of settings."""
    options = typing.get_args(info.annotation) if _is_union(info.annotation) else (info.annotation,)
    models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel) and o is not Range]
    return models[0] if models else None


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _apply_assignment(kind: type[Settings], data: dict[str, Any], setting: str) -> None:
    """Write the value of one `key=value` text into nested data."""
    key, equals, text = setting.partition("=")
    known = dict(all_settings(kind))
    if not equals:
        raise UserError(f"--set {setting}: write key=value without spaces, for example {next(iter(known))}=...")
    if key not in known:
        raise UserError(f"--set {key}: no such setting{_suggest_setting(key, known)}; see --describe")
    *path, last = key.split(".")
    for depth, part in enumerate(path, 1):
        data[part] = _inner_settings(known[".".join(path[:depth])], data.get(part))
        data = data[part]
    value = _parse_value(known[key], text)
    inner = _inner_model(known[key])
    if inner and isinstance(value, str) and isinstance(data.get(last), dict):  # a shorthand keeps other members
        value = {**data[last], **_inner_settings(known[key], value)}
    data[last] = value


def _inner_settings(info: FieldInfo, value: Any) -> dict[str, Any]:
    """Return the members of a setting that holds others, also if it was given as a shorthand."""
    inner = _inner_model(info)
    if isinstance(value, dict) or value is None or inner is None:
        return value or {}
    try:
        return inner.model_validate(value).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise UserError(_describe_error(inner, error)) from None


def _parse_value(info: FieldInfo, text: str) -> Any:
    if text.lower() == "none" and (_is_union(info.annotation) or _inner_model(info)):
        return None
    options = typing.get_args(info.annotation) if _is_union(info.annotation) else (info.annotation,)
    if any(typing.get_origin(option) is tuple for option in options):
        return [part for part in text.split(",") if part]
    return text


def _suggest_setting(key: str, known: Mapping[str, FieldInfo]) -> str:
    by_last = {name.split(".")[-1]: name for name in reversed(list(known))}
    by_initials = {"".join(word[0] for word in last.split("_")): name for last, name in by_last.items() if "_" in last}
    if key in by_initials:  # such as lr for learning_rate
        return f"; did you mean {by_initials[key]}?"
    close = closest(key, known) or closest(key.split(".")[-1], by_last)
    return f"; did you mean {by_last.get(close, close)}?" if close else ""


def _describe_error(kind: type[BaseModel], error: ValidationError) -> str:
    """Return a pydantic error as one line: the setting, its value, and the rule that it breaks."""
    first = error.errors()[0]
    known = dict(all_settings(kind))
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"recipe: no such setting: {name}{_suggest_setting(name, known)}; see --describe"
    value = first["input"] if not isinstance(first["input"], dict) else ""
    shown = f" = {value}" if value != "" else ""
    rule = broken_rule(first)
    unit = _unit(known[name]) if name in known else ""
    bounds = f" [{unit}]" if unit not in ("", "1") and re.search("[0-9]$", rule) else ""
    return f"{name}{shown}: {rule}{bounds}" if name else f"recipe: {rule}"
