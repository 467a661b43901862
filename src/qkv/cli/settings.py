"""Command options made of settings that are declared once: see `qkv.models.options`."""

from __future__ import annotations

import enum
import inspect
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from qkv.models.options import Rule, options_of, problem_with, smallest

T = TypeVar("T")

_BY_SIZE = "default: by the size of the data."
_CONFIG = "TOML file with any of these settings; settings on the command line override it."


class SettingValues:
    """The values of declared settings, of which a command was `given` some, by a flag or a file.
    `left_open` names the settings that were not given and have no default of their own: the data
    decide these."""

    def __init__(
        self, values: Mapping[str, Any], defaults: Mapping[str, Any], given: Collection[str]
    ) -> None:
        self._values = {name: _value_of(value) for name, value in values.items()}
        self._given = given
        self.left_open = {
            name for name in defaults if defaults[name] is None and self._values[name] is None
        }

    def of(self, group: type) -> dict[str, Any]:
        """The values of a group's options, by name; default: the group's own."""
        return {
            name: _default(group, name) if self._values[name] is None else self._values[name]
            for name, _, _ in options_of(group)
        }

    def make(self, group: type[T], *first: Any, **changed: Any) -> T:
        """A group made of its `first` fields and its options.

        Raises:
            typer.BadParameter: values do not go together; the text names their flags.
        """
        try:
            return group(*first, **self.of(group) | changed)
        except ValueError as error:
            raise typer.BadParameter(_by_flags(str(error), group)) from error

    def sizes(self, group: type) -> dict[str, Any]:
        """The values of a model's options, checked before the data say what else it needs; where
        training starts from a model, which has its own, those alone that were given."""
        if self._values.get("start_from") is not None:
            return {name: value for name, value in self.of(group).items() if name in self._given}
        self.make(group, **smallest(group))
        return self.of(group)


def declared(
    groups: Mapping[str, type], defaults: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each option of these dataclasses, and `--config`; the help lists
    them under the groups' titles.

    The command's last parameter, `values`, takes them. `defaults` are this command's own; what is
    None among them is left to the data.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in _parameters(command) if p.name != "values"]
        made = [_parameter(*option, group, defaults or {}, title)
                for title, group in groups.items() for option in options_of(group)]  # fmt: skip

        def run(context: typer.Context, **values: Any) -> None:
            values.pop("config")
            direct = {p.name: values.pop(p.name) for p in own}
            given = [name for name in values if _is_given(context, name)]
            command(**direct, values=SettingValues(values, defaults or {}, given))

        parameters = [_context(), *own, *made, _config()]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _parameters(command: Callable[..., None]) -> list[inspect.Parameter]:
    kinds = get_type_hints(command, include_extras=True)
    return [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kinds[one.name])
        for one in inspect.signature(command).parameters.values()
    ]


def _parameter(
    name: str, kind: Any, rule: Rule, group: type, defaults: Mapping[str, Any], title: str
) -> inspect.Parameter:
    default = defaults.get(name, _default(group, name))
    by_size = name in defaults and default is None
    kind = kind | None if by_size else kind
    whole = kind in (int, int | None) and rule.at_least is not None
    option = typer.Option(
        help=f"{rule.help.rstrip('.')}; {_BY_SIZE}" if by_size else rule.help,
        rich_help_panel=title,
        min=int(rule.at_least or 0) if whole else None,
        callback=_check(kind, rule),
    )
    if rule.choices:
        choice: Any = enum.StrEnum(name, {value: value for value in rule.choices})
        kind = choice | None if default is None else choice
        default = None if default is None else choice(default)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _check(kind: Any, rule: Rule) -> Callable[[Any], Any]:
    """What an option's value must be is checked as it is read, so that the flag is named."""

    def check(value: Any) -> Any:
        problem = "" if value is None else problem_with(_value_of(value), kind, rule)
        if problem:
            raise typer.BadParameter(f"must be {problem}; got {value!r}")
        return value

    return check


def _by_flags(message: str, group: type) -> str:
    """A dataclass's complaint with the names of flags in place of those of fields."""
    message = message.removeprefix(f"{group.__name__}: ")
    for name, _, _ in options_of(group):
        message = re.sub(rf"\b(?<![-_]){name}\b(?!-)", f"--{name.replace('_', '-')}", message)
    return message


def _default(group: type, name: str) -> Any:
    field = group.__dataclass_fields__[name]  # pyright: ignore[reportAttributeAccessIssue]
    return field.default_factory() if callable(field.default_factory) else field.default


def _context() -> inspect.Parameter:
    return inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether a setting's value is that of a flag or of a file, and not its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _config() -> inspect.Parameter:
    option = typer.Option(metavar="FILE", help=_CONFIG, callback=_read, is_eager=True)
    annotation = Annotated[Path | None, option]
    return inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _read(context: typer.Context, path: Path | None) -> Path | None:
    """Make the file's values the defaults of the options that are not given."""
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise typer.BadParameter(f"{path}: too many brackets within brackets") from error
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise typer.BadParameter(f"{path}: {reason}") from error
    known = sorted(p.name for p in context.command.params if p.name not in (None, "config"))
    named = {name.replace("-", "_"): value for name, value in values.items()}
    for name in named:
        if name not in known:
            raise typer.BadParameter(f"{path}: no setting {name!r}; these are: {', '.join(known)}")
    context.default_map = named
    return path


def _value_of(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
