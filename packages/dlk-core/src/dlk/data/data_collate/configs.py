"""Options of the collates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dlk.config import Base, DictField, ListField, Signature, cregister
from dlk.errors import did_you_mean

__all__ = ["DefaultDataCollateConfig"]


@cregister("data_collate", "default")
class DefaultDataCollateConfig(Base):
    """Pads rows to the longest of the batch, and makes masks."""

    key_padding_pairs = DictField(
        {},
        help="padding value of columns of lists; 0 for those that are not named",
    )
    key_padding_pairs_2d = DictField({}, help="padding value of columns of lists of lists")
    key_padding_pairs_3d = DictField({}, help="padding value of columns of lists nested three deep")
    key_no_padding = ListField(
        [], help="columns whose rows all have one shape: stacked as they are"
    )
    key_multi_hot = DictField(
        {},
        help="columns of lists of ids that become 0/1 rows, float, for bce: {column: how many ids "
        'there are}, as {"label_ids": "@lambda @_G.meta.label_vocab.size"}',
    )
    gen_mask = DictField(
        {}, help="masks to make: {column: name of its mask}, true where the row has a value"
    )

    def declared(self) -> dict[str, int]:
        """Return how deep the rows of each padded or multi-hot column nest."""
        pairs = (self.key_padding_pairs, self.key_padding_pairs_2d, self.key_padding_pairs_3d)
        padded = {name: depth for depth, names in enumerate(pairs, start=1) for name in names}
        return padded | dict.fromkeys(self.key_multi_hot, 1)

    def signature(self) -> Signature:
        """Reads the columns it names; writes the masks."""
        reads = (*self.declared(), *self.key_no_padding, *self.gen_mask)
        hot = self.key_multi_hot
        return Signature(
            reads=tuple(dict.fromkeys(reads)),
            writes=tuple(self.gen_mask.values()),
            gives=dict(hot),
            ids=dict(hot),
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield columns named twice, padding that is no number, and masks that clash."""
        pairs = {
            "key_padding_pairs": self.key_padding_pairs,
            "key_padding_pairs_2d": self.key_padding_pairs_2d,
            "key_padding_pairs_3d": self.key_padding_pairs_3d,
        }
        counts = Counter(name for names in pairs.values() for name in names)
        counts.update(self.key_no_padding)
        counts.update(self.key_multi_hot.keys())
        for name, count in counts.items():
            if count > 1:
                yield "", f'the column "{name}" is named {count} times'
        for field, names in pairs.items():
            for name, value in names.items():
                if not isinstance(value, int | float):
                    yield field, f'"{name}": expected a number, got {value!r}'
        yield from self._multi_hot_rules()
        yield from self._mask_rules(counts)

    def _multi_hot_rules(self) -> Iterable[tuple[str, str]]:
        for name, size in self.key_multi_hot.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                yield "key_multi_hot", f'"{name}": expected how many ids there are, got {size!r}'

    def _mask_rules(self, counts: Counter[str]) -> Iterable[tuple[str, str]]:
        masks = Counter(self.gen_mask.values())
        for mask, count in masks.items():
            if not isinstance(mask, str) or not mask:
                yield "gen_mask", f"expected the name of a mask, got {mask!r}"
            elif count > 1:
                yield "gen_mask", f'two masks are called "{mask}"'
            elif mask in counts:
                yield "gen_mask", f'the mask "{mask}" has the name of a column'
        for name in self.gen_mask:
            if name in self.key_no_padding or name in self.key_multi_hot:
                hint = did_you_mean(name, self.declared().keys() - self.key_multi_hot.keys())
                yield "gen_mask", f'"{name}" is not padded, so it has no mask. {hint}'.rstrip()
