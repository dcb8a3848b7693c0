"""intc's field functions, with types that fit how they are used.

A field is written as a value and read as a value: ``size = IntField(value=3)`` reads as ``int``. A
default of None reads as ``int | None``; annotate the attribute then, so that both sides agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dlk.config._intc import ListField, NestField

__all__ = ["AnyField", "BoolField", "FloatField", "IntField", "ListField", "NestField", "StrField"]

if TYPE_CHECKING:
    T = TypeVar("T")
    Check = Callable[[Any], bool] | None

    @overload
    def IntField(
        value: int | str,
        help: str = ...,
        options: Sequence[Any] | None = ...,
        suggestions: Sequence[Any] | None = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
        minimum: int | None = ...,
        maximum: int | None = ...,
        validator: Check = ...,
    ) -> int: ...
    @overload
    def IntField(
        value: None,
        help: str = ...,
        options: Sequence[Any] | None = ...,
        suggestions: Sequence[Any] | None = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
        minimum: int | None = ...,
        maximum: int | None = ...,
        validator: Check = ...,
    ) -> int | None: ...
    def IntField(value: Any, *_: Any, **__: Any) -> Any: ...

    @overload
    def FloatField(
        value: float | str,
        help: str = ...,
        options: Sequence[Any] | None = ...,
        suggestions: Sequence[Any] | None = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
        minimum: float | None = ...,
        maximum: float | None = ...,
        validator: Check = ...,
    ) -> float: ...
    @overload
    def FloatField(
        value: None,
        help: str = ...,
        options: Sequence[Any] | None = ...,
        suggestions: Sequence[Any] | None = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
        minimum: float | None = ...,
        maximum: float | None = ...,
        validator: Check = ...,
    ) -> float | None: ...
    def FloatField(value: Any, *_: Any, **__: Any) -> Any: ...

    @overload
    def BoolField(
        value: bool | str,
        help: str = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
    ) -> bool: ...
    @overload
    def BoolField(
        value: None,
        help: str = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
    ) -> bool | None: ...
    def BoolField(value: Any, *_: Any, **__: Any) -> Any: ...

    @overload
    def StrField(
        value: str,
        help: str = ...,
        options: Sequence[Any] | None = ...,
        suggestions: Sequence[Any] | None = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
        min_len: int | None = ...,
        max_len: int | None = ...,
        pattern: str | None = ...,
        validator: Check = ...,
    ) -> str: ...
    @overload
    def StrField(
        value: None,
        help: str = ...,
        options: Sequence[Any] | None = ...,
        suggestions: Sequence[Any] | None = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
        min_len: int | None = ...,
        max_len: int | None = ...,
        pattern: str | None = ...,
        validator: Check = ...,
    ) -> str | None: ...
    def StrField(value: Any, *_: Any, **__: Any) -> Any: ...

    def AnyField(
        value: Any,
        help: str = ...,
        options: Sequence[Any] | None = ...,
        suggestions: Sequence[Any] | None = ...,
        additions: Sequence[Any] | None = ...,
        deprecated: bool | str = ...,
        validator: Check = ...,
    ) -> Any: ...
else:
    from dlk.config._intc import AnyField, BoolField, FloatField, IntField, StrField
