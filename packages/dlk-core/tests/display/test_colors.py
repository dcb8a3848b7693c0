"""Colours by label."""

from __future__ import annotations

import pytest

from dlk.display.colors import DARK, LIGHT, contrast, hue_of, tone


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")
    assert contrast("#123456", "#123456") == 1


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_every_colour_is_readable(scheme):
    # WCAG 2.2 AA: 4.5 for text, 3 for what carries meaning without being text.
    for text in (scheme.ink, scheme.quiet):
        assert contrast(text, scheme.page) >= 4.5
    for hue in range(360):
        mine = tone(hue, scheme)
        assert contrast(scheme.ink, mine.fill) >= 4.5, (hue, mine)
        assert contrast(mine.ink, mine.fill) >= 4.5, (hue, mine)
        assert contrast(mine.ink, scheme.page) >= 4.5, (hue, mine)
        assert contrast(mine.line, scheme.page) >= 3, (hue, mine)


def test_a_label_has_one_hue_whatever_else_there_is():
    assert hue_of("PER") == hue_of("PER")
    assert len({hue_of(f"label {k}") for k in range(50)}) > 40
    assert 0 <= hue_of("\ud800") < 360


def test_labels_known_in_advance_are_as_far_apart_as_can_be():
    labels = [f"l{k}" for k in range(12)]
    hues = sorted(hue_of(label, labels) for label in labels)
    gaps = [b - a for a, b in zip(hues, [*hues[1:], hues[0] + 360], strict=True)]
    assert set(gaps) == {30}
    assert hue_of("other", labels) == hue_of("other")
