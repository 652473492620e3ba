"""Command-line options made from a dataclass, so that each stands in one place only."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any


def takes_options(kind: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command whose parameters are the fields of a dataclass.

    A field's annotation is `Annotated[type, typer.Option(...)]` or `typer.Argument(...)`, its
    default the option's, or what its metadata names as `written`; a field without a default is
    required. The decorated function gets the dataclass first, and typer sees the fields in its
    place; the function's other parameters are options as they stand.
    """

    def decorate(action: Callable[..., None]) -> Callable[..., None]:
        fields, others = _field_parameters(kind), _other_parameters(action)

        def command(**values: Any) -> None:
            rest = {other.name: values.pop(other.name) for other in others}
            action(kind(**values), **rest)

        parameters = [*fields, *others]
        command.__name__, command.__doc__ = action.__name__, action.__doc__
        command.__module__ = action.__module__
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _field_parameters(kind: type[Any]) -> list[inspect.Parameter]:
    """Return a parameter per field: first a class's own in their order, then what it inherits."""
    hints = typing.get_type_hints(kind, include_extras=True)
    own = list(inspect.get_annotations(kind))
    fields = sorted(
        dataclasses.fields(kind),
        key=lambda field: own.index(field.name) if field.name in own else len(own),
    )
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=hints[field.name],
        )
        for field in fields
    ]


def _other_parameters(action: Callable[..., None]) -> list[inspect.Parameter]:
    """Return what a command's function takes besides the dataclass."""
    hints = typing.get_type_hints(action, include_extras=True)
    _, *others = inspect.signature(action).parameters.values()
    return [
        other.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[other.name])
        for other in others
    ]


def _default(field: "dataclasses.Field[Any]") -> Any:
    if "written" in field.metadata:
        return field.metadata["written"]
    missing = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if missing else field.default
