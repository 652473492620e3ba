"""Types that columns have in pandas: noted of a table, and given back to a decoded one."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, time, tzinfo
from decimal import Decimal
from typing import Any

import pandas as pd

from aim_core.tables.cells import Chunk, frame_cells
from aim_core.tables.columns.base import Column
from aim_core.tables.columns.listed import BooleanColumn, CategoricalColumn
from aim_core.tables.columns.temporal import (
    DateColumn,
    DatetimeColumn,
    DurationColumn,
    TimeColumn,
)
from aim_core.tables.parsing import parse_number
from aim_core.tables.schema import Schema

_OBJECT = "object:"
"""What begins the name of the type that all values of a column of objects have."""

_CATEGORY = "category:"
"""What begins the name of the type of a categorical column's categories."""


def schema_cells(table: pd.DataFrame, schema: Schema) -> Chunk:
    """Turn a table into cells, days and times of pandas or Python as the schema writes them.

    Raises TableError as `frame_cells` does.
    """
    cells = dict(frame_cells(table))
    dtypes = dtypes_of(table, schema)
    for column in schema.columns:
        if _is_timelike(dtypes.get(column.name, "")):
            cells[column.name] = cells[column.name].respelled(functools.partial(spelled, column))
    return cells


def spelled(column: Column, text: str) -> str:
    """Write a day, moment, time or duration, a text as Python writes it, as the column has it."""
    if not isinstance(column, DateColumn | DatetimeColumn | TimeColumn | DurationColumn):
        return text
    number = replace(column, format=None).number_of(text)
    return text if math.isnan(number) else column.text_of(int(number))


def _is_timelike(dtype: str) -> bool:
    kinds = ("datetime64", "timedelta64", "object:date", "object:time", "object:Time")
    return dtype.startswith(kinds)


def dtypes_of(table: pd.DataFrame, schema: Schema) -> dict[str, str]:
    """Return the names of the types of a table's columns, by column, of those in the schema."""
    known = {column.name for column in schema.layout}
    return {
        str(name): _dtype_name(table.iloc[:, index])
        for index, name in enumerate(table.columns)
        if str(name) in known
    }


def with_dtypes(table: pd.DataFrame, dtypes: Mapping[str, str], schema: Schema) -> pd.DataFrame:
    """Return a decoded table with the types of `dtypes`, by column.

    A column keeps the type that decoding gave it where some value would be lost: a missing one
    among whole numbers, a special text among dates, a number too large.
    """
    columns = {column.name: column for column in schema.columns}
    series = {str(name): table[name] for name in table.columns}
    for name, dtype in dtypes.items():
        if name in series:
            series[name] = _converted(series[name], dtype, columns.get(name))
    return pd.DataFrame(series)


def _dtype_name(series: "pd.Series[Any]") -> str:
    if isinstance(series.dtype, pd.CategoricalDtype):
        return _CATEGORY + str(series.cat.categories.dtype)
    if series.dtype != object:
        return str(series.dtype)
    kinds = {type(value).__name__ for value in series[series.notna()]}
    return _OBJECT + kinds.pop() if len(kinds) == 1 else _OBJECT


def _converted(series: "pd.Series[Any]", dtype: str, column: Column | None) -> "pd.Series[Any]":
    """Return a column in another type, or as it is where that would lose a value."""
    try:
        converted = _convert(series, dtype, column)
    except (ValueError, TypeError, OverflowError, ArithmeticError):
        return series
    return converted if converted.isna().equals(series.isna()) else series


def _convert(series: "pd.Series[Any]", dtype: str, column: Column | None) -> "pd.Series[Any]":
    if dtype.startswith(_CATEGORY):
        return _categories(series, dtype.removeprefix(_CATEGORY), column)
    if dtype.startswith(_OBJECT):
        return _objects(series, dtype.removeprefix(_OBJECT), column)
    return _plain(series, pd.api.types.pandas_dtype(dtype), column)


def _plain(series: "pd.Series[Any]", known: Any, column: Column | None) -> "pd.Series[Any]":
    if pd.api.types.is_bool_dtype(known):
        return _truths(series, column).astype(known)
    if pd.api.types.is_datetime64_any_dtype(known):
        return _moments(series, getattr(known, "tz", None), column).astype(known)
    if pd.api.types.is_timedelta64_dtype(known):
        return pd.Series(pd.to_timedelta(series), series.index).astype(known)
    if pd.api.types.is_numeric_dtype(known):
        is_spelled = isinstance(column, BooleanColumn) and math.isnan(parse_number(column.true[0]))
        return _numbers(_truths(series, column) if is_spelled else series, known)
    return series.astype(known)


def _categories(series: "pd.Series[Any]", base: str, column: Column | None) -> "pd.Series[Any]":
    """Return a categorical column: of all the schema's values where it lists them."""
    values = _convert(series.astype(object), base, None)
    if not isinstance(column, CategoricalColumn):
        return values.astype("category")
    listed = pd.Series(column.labels()[: column.size - column.missing], dtype=object)
    categories = pd.Index(_convert(listed, base, None))
    return values.astype(pd.CategoricalDtype(categories, ordered=column.ordered))


def _objects(series: "pd.Series[Any]", kind: str, column: Column | None) -> "pd.Series[Any]":
    """Return a column of Python's own dates, times, truth values or decimals, else as it is."""
    values = series.astype(object)
    made: Callable[[Any], object]
    if kind == "bool":
        values, made = _truths(series, column).astype(object), bool
    elif kind == "Decimal":
        made = _decimal
    elif kind == "date" and isinstance(column, DateColumn):
        made = functools.partial(_date, column)
    elif kind == "time" and isinstance(column, TimeColumn):
        made = functools.partial(_time, column)
    else:
        return series
    objects = [made(value) if pd.notna(value) else None for value in values]
    return pd.Series(objects, series.index, dtype=object)


def _decimal(value: object) -> Decimal:
    return Decimal(str(value))


def _date(column: DateColumn, text: str) -> date:
    return date.fromordinal(int(column.number_of(text)))


def _time(column: TimeColumn, text: object) -> time:
    seconds = int(column.number_of(str(text)))
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60)


def _truths(series: "pd.Series[Any]", column: Column | None) -> "pd.Series[Any]":
    if isinstance(column, BooleanColumn):
        truths = {column.false[0]: False, column.true[0]: True}
    else:
        truths = {"false": False, "False": False, "true": True, "True": True}
    return series.map(truths).astype("boolean")


def _moments(
    series: "pd.Series[Any]", zone: tzinfo | None, column: Column | None
) -> "pd.Series[Any]":
    """Read days or moments from the column's texts; wall time for a column without a zone."""
    if not isinstance(column, DateColumn | DatetimeColumn):
        raise TypeError("no days or moments")
    plain = replace(column, format=None)
    texts = {text: plain.text_of(int(column.number_of(text))) for text in series.dropna().unique()}
    has_offset = isinstance(column, DatetimeColumn) and column.zone is not None
    moments = pd.Series(
        pd.to_datetime(series.map(texts), format="ISO8601", utc=has_offset), series.index
    )
    if has_offset and zone is None:
        raise TypeError("the type has no zone")
    if has_offset:
        return moments.dt.tz_convert(zone)
    return moments if zone is None else moments.dt.tz_localize(zone)


def _numbers(series: "pd.Series[Any]", known: Any) -> "pd.Series[Any]":
    """Return numbers in another type; ValueError if whole numbers would change in it."""
    numbers = pd.to_numeric(series.astype("Int8") if series.dtype == "boolean" else series)
    converted = numbers.astype(known)
    if pd.api.types.is_integer_dtype(known) and not (numbers == converted).fillna(True).all():
        raise ValueError("a number has no place in the type")
    return converted
