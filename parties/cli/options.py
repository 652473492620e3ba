"""Command-line options made from a dataclass, so that each stands in one place only."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

Options = TypeVar("Options")


def takes_options(
    kind: type[Options],
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command whose parameters are the fields of a dataclass.

    A field's annotation is `Annotated[type, typer.Option(...)]` or `typer.Argument(...)`, its
    default the option's; a field without a default is required. The decorated function gets the
    dataclass, and typer sees the fields.
    """

    def decorate(action: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            action(kind(**values))

        hints = typing.get_type_hints(kind, include_extras=True)
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=hints[field.name],
            )
            for field in dataclasses.fields(typing.cast("Any", kind))
        ]
        command.__name__, command.__doc__ = action.__name__, action.__doc__
        command.__module__ = action.__module__
        command.__annotations__ = {name: hints[name] for name in (p.name for p in parameters)}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _default(field: "dataclasses.Field[Any]") -> Any:
    missing = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if missing else field.default
