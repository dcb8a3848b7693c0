"""What postprocessors say of their predictions: all of them meet it, and wrong ones do not."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.vocabulary import Vocabulary
from dlk.postprocessor import _form
from dlk.registry import register

LABELS = ["loc", "num", 'a "b"\n', "0" * 64]
TAGS = ["O", "B-LOC", "I-LOC", "B-art-work", "I-art-work"]
KINDS = ["PER", "ORG", "LOC"]
TYPES = ["works", "lives", "knows"]
LENGTH = 5
TEXT = "a b c 😀 e"
UNITS = [[0, 0], [0, 1], [2, 3], [4, 5], [6, 7]]
ODD = (math.nan, math.inf, -math.inf, 0.0)

CLS = {"label_vocab": "labels.json"}
TAGGED = {"label_vocab": "tags.json"}
SPANS = {"label_vocab": "kinds.json"}
RELATIONS = {"label_vocab": "kinds.json", "relation_label_vocab": "types.json"}
CASES = {
    "cls": ("txt_cls", {**CLS}),
    "cls top": ("txt_cls", {**CLS, "top_k": 2, "data_type": "pair", "columns": ["uuid"]}),
    "cls one": ("txt_cls", {**CLS, "top_k": 1, "predict_extend_return": {"v": "pooled"}}),
    "cls positive": ("txt_cls", {**CLS, "positive_label": "num", "threshold": 0.2}),
    "cls searched": ("txt_cls", {**CLS, "positive_label": "num", "threshold": "search"}),
    "labels": ("txt_cls", {**CLS, "multi_label": True, "threshold": 0.4}),
    "labels top": ("txt_cls", {**CLS, "multi_label": True, "threshold": {"loc": 0.0}, "top_k": 1}),
    "match": ("txt_match", {"threshold": 0.3}),
    "match cosine": ("txt_match", {"link": "identity", "threshold": -0.25, "labels": ["n", "y"]}),
    "reg": ("txt_reg", {"predict_extend_return": {"v": "pooled"}, "columns": ["uuid"]}),
    "tags": ("seq_lab", {**TAGGED}),
    "tags strict": ("seq_lab", {**TAGGED, "strict": True, "ignore_labels": ["LOC"]}),
    "tags first": ("seq_lab", {**TAGGED, "aggregation_strategy": "first"}),
    "tags average": ("seq_lab", {**TAGGED, "aggregation_strategy": "average"}),
    "tags max": ("seq_lab", {**TAGGED, "aggregation_strategy": "max"}),
    "tags crf": ("seq_lab", {**TAGGED, "use_crf": True, "origin_input_map": {"sentence": ""}}),
    "tags none": ("seq_lab", {**TAGGED, "ignore_labels": ["LOC", "art-work"]}),
    "spans": ("span_cls", {**SPANS}),
    "spans flat": ("span_cls", {**SPANS, "overlap": "flat", "max_entities_per_unit": 1}),
    "spans pair": ("span_cls", {**SPANS, "data_type": "pair", "ignore_labels": ["ORG"]}),
    "relations": ("span_relation", {**RELATIONS, "max_relations_per_unit": 1}),
    "relations named": ("span_relation", {**RELATIONS, "unrelated_entity": False, "sym": True}),
    "relations groups": (
        "span_relation",
        {**RELATIONS, "relation_groups": 3, "ignore_relations": ["works"]},
    ),
    "relations given": ("span_relation", {**RELATIONS, "entities": "given"}),
}


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    meta = Meta(tmp_path_factory.mktemp("meta"))
    for file, words, unk in (
        ("labels", LABELS, None),
        ("tags", TAGS, None),
        ("kinds", KINDS, "O"),
        ("types", TYPES, "O"),
    ):
        vocabulary = Vocabulary(unk=unk)
        vocabulary.add({word: len(words) - place for place, word in enumerate(words)})
        meta.put_vocabulary(f"{file}.json", vocabulary)
    return Setup(meta=meta)


@pytest.fixture(scope="module")
def built(setup):
    return {
        case: register.build(make("postprocessor", name, config), setup)
        for case, (name, config) in CASES.items()
    }


def outputs(case, count, seed, scale):
    generator = torch.Generator().manual_seed(seed)

    def random(*sizes):
        return scale * torch.randn(count, *sizes, generator=generator)

    name, config = CASES[case]
    groups = config.get("relation_groups", 1)
    out = {"pooled": random(2, 2)}
    if name == "txt_cls":
        return {**out, "logits": random(len(LABELS))}
    if name in ("txt_match", "txt_reg"):
        return {**out, "logits": random(1)}
    if name == "seq_lab" and config.get("use_crf"):
        share = torch.rand(count, LENGTH, generator=generator) * 1.0001  # of a CRF's float32 sums
        path = torch.randint(-1, len(TAGS), (count, LENGTH), generator=generator)
        shares = {"predict_seq_marginal": share, "predict_seq_conditional": share}
        return {"predict_seq_label": path, **shares}
    if name == "seq_lab":
        return {"logits": random(LENGTH, len(TAGS))}
    if name == "span_cls":
        return {"logits": random(LENGTH, LENGTH, len(KINDS) + 1)}
    return {
        "entity_logits": random(LENGTH, LENGTH, len(KINDS) + 1),
        "relation_logits": random(2 * groups, LENGTH, LENGTH, 2 if groups > 1 else len(TYPES) + 1),
    }


def rows_of(numbers, *, is_bare):
    rows, seen = [], {}
    for number in numbers:
        part = seen[number] = seen.get(number, -1) + 1
        row = {
            "_row": number,
            "_part": part,
            "unit_offsets": UNITS,
            "word_ids": [None, 0, 0, 1, 2],
            "entities_info": [
                {"start": 0, "end": 1, "labels": ["PER"], "entity_id": "e"},
                {"start": 2, "end": 3, "labels": ["LOC"], "text": "b"},
            ],
        }
        texts = {"sentence": TEXT, "sentence_a": TEXT, "sentence_b": TEXT, "uuid": 7}
        rows.append(row if is_bare else {**row, **texts})
    return rows


@pytest.mark.parametrize("case", CASES)
def test_what_is_declared_is_a_json_schema_in_plain_json(case, built):
    declared = built[case].prediction_schema()
    Draft202012Validator.check_schema(declared)
    assert declared["$schema"] == Draft202012Validator.META_SCHEMA["$schema"]
    assert json.loads(json.dumps(declared, allow_nan=False)) == declared


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=25)
@given(data=st.data())
def test_every_prediction_meets_what_is_declared(case, built, data):
    component = built[case]
    numbers = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    scale = data.draw(st.sampled_from([1e-3, 1.0, 30.0, 3e4]))
    out = outputs(case, len(numbers), data.draw(st.integers(0, 10**6)), scale)
    for tensor in out.values():
        if tensor.is_floating_point():
            flat = tensor.view(-1)
            for _ in range(data.draw(st.integers(0, 3))):
                place = data.draw(st.integers(0, len(flat) - 1))
                flat[place] = data.draw(st.sampled_from(ODD))
    validator = Draft202012Validator(component.prediction_schema())
    rows = rows_of(numbers, is_bare=data.draw(st.booleans()))
    for prediction in component.decode(out, rows):
        assert json.loads(json.dumps(prediction, allow_nan=False)) == prediction
        validator.validate(prediction)


def answered(case, built):
    """Return a prediction in which there is something of everything."""
    component = built[case]
    for seed in range(200):
        (found,) = component.decode(outputs(case, 1, seed, 3.0), rows_of([0], is_bare=False))
        lists = [
            found[name] for name in ("labels", "entities_info", "relations_info") if name in found
        ]
        if all(lists):
            return found
    raise AssertionError(f"{case}: no seed gives a prediction with everything")


def without(name):
    def change(found):
        del found[name]

    return change


def put(path, value):
    """Set what stands at a path such as ``entities_info.0.start``."""

    def change(found):
        *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in above:
            found = found[part]
        found[last] = value

    return change


def wrong(case):
    """Yield changes that make a sound prediction a wrong one."""
    name, config = CASES[case]
    yield put("other", 1)
    if name == "txt_cls" and config.get("multi_label"):
        yield from (without("labels"), without("predicts"))
        yield from (put("labels", bad) for bad in (["x"], ["loc", "loc"], None, "loc", [None]))
        yield from (put("predicts", bad) for bad in ([], None, [{}]))
    elif name == "txt_cls":
        yield from (without("label"), without("score"), without("predicts"))
        yield from (put("label", bad) for bad in ("x", None, 1, ["loc"]))
        yield from (put("score", bad) for bad in (1.5, -0.1, None, "0.5", True))
        yield put("predicts.0.label", "x")
        yield put("predicts.0.score", 2)
        yield put("predicts.0.more", 2)
    elif name == "txt_match":
        no, yes = config.get("labels", ["no", "match"])
        threshold = config["threshold"]
        yield from (without("label"), without("score"), put("label", "x"), put("score", "x"))
        yield lambda found: found.update(label=None, score=0.5)
        yield lambda found: found.update(label=yes, score=None)
        yield lambda found: found.update(label=yes, score=threshold - 0.1)
        yield lambda found: found.update(label=no, score=threshold + 0.1)
        if config.get("link") != "identity":
            yield lambda found: found.update(label=yes, score=1.1)
            yield lambda found: found.update(label=no, score=-0.1)
    elif name == "txt_reg":
        yield from (without("value"), put("value", "1"), put("value", True), put("v", "x"))
        yield put("v.0", {"a": 1})
    else:
        yield from (without("entities_info"), put("entities_info", "x"))
        if config.get("entities") != "given":
            path = "entities_info.0"
            yield from (put(f"{path}.start", bad) for bad in (-1, 0.5, None, "0"))
            yield from (put(f"{path}.end", bad) for bad in (-1, 0))
            kinds = ([], ["x"], ["O"], None, "PER", ["PER", "PER"])
            yield from (put(f"{path}.labels", bad) for bad in kinds)
            yield from (put(f"{path}.labels", [each]) for each in config.get("ignore_labels", ()))
            yield from (put(f"{path}.score", bad) for bad in (1.5, -0.1, None))
            yield from (put(f"{path}.text", bad) for bad in (None, 1))
            yield put(f"{path}.other", 1)
        if name == "span_cls":
            yield from (put("left_out", bad) for bad in (0, -1, None, "1"))
        if name == "span_relation":
            path = "relations_info.0"
            yield from (without("relations_info"), put("relations_info", None))
            yield put("entities_info", None)
            yield from (put(f"{path}.from", bad) for bad in (None,))
            yield from (put(f"{path}.labels", bad) for bad in ([], ["x"], ["O"], None))
            yield put(f"{path}.score", 1.5)
            yield put(f"{path}.other", 1)
            yield from (put("left_out", bad) for bad in (1, {}, {"entities": -1, "relations": 0}))
            yield lambda found: found["entities_info"][0].pop("entity_id")
            ignored = config.get("ignore_relations", ())
            yield from (put(f"{path}.labels", [each]) for each in ignored)
            if config.get("entities") != "given":
                yield from (put(f"{path}.to", bad) for bad in (-1, "e"))


@pytest.mark.parametrize("case", [case for case in CASES if case != "tags none"])
def test_wrong_predictions_do_not_meet_it(case, built):
    validator = Draft202012Validator(built[case].prediction_schema())
    sound = answered(case, built)
    validator.validate(sound)
    for number, change in enumerate(wrong(case)):
        made = copy.deepcopy(sound)
        change(made)
        assert not validator.is_valid(made), f"change {number}: {made}"


def test_where_no_label_is_left_there_is_no_entity(built):
    validator = Draft202012Validator(built["tags none"].prediction_schema())
    one = {"start": 0, "end": 1, "labels": ["LOC"], "score": 0.5}
    assert validator.is_valid({"entities_info": []})
    assert not validator.is_valid({"entities_info": [one]})


def test_a_text_that_is_not_known_is_not_told(built):
    validator = Draft202012Validator(built["tags crf"].prediction_schema())
    one = {"start": 0, "end": 1, "labels": ["LOC"], "score": 0.5}
    assert validator.is_valid({"entities_info": [one]})
    assert not validator.is_valid({"entities_info": [{**one, "text": "a"}]})


@pytest.mark.parametrize("count", [_form.MOST_LABELS, _form.MOST_LABELS + 1])
def test_large_sets_of_labels_are_listed_once_and_the_largest_not_at_all(count, tmp_path):
    vocabulary = Vocabulary()
    vocabulary.add({f"label {number:05}": 1 for number in range(count)})
    meta = Meta(tmp_path)
    meta.put_vocabulary("labels.json", vocabulary)
    config = make("postprocessor", "txt_cls", {**CLS, "top_k": 3})
    component = register.build(config, Setup(meta=meta))
    declared = component.prediction_schema()
    text = json.dumps(declared)
    assert text.count("label 00007") == (count <= _form.MOST_LABELS)
    assert len(text) < 300_000
    out = {"logits": torch.randn(2, count, generator=torch.Generator().manual_seed(0))}
    validator = Draft202012Validator(declared)
    for prediction in component.decode(out, rows_of([0, 1], is_bare=False)):
        validator.validate(prediction)
        assert not validator.is_valid({**prediction, "label": 5})
