import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dlk.nn.module.attention import Attention, KeysValues, allowed_pairs
from dlk.nn.module.transformer import (
    ACTIVATIONS,
    FeedForward,
    Transformer,
    TransformerBlock,
    sinusoids,
)

MASK = torch.tensor([[True, True, True, False], [False, True, False, True]])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        for part, weight, bias in zip(
            (ours.query, ours.key, ours.value),
            theirs.in_proj_weight.chunk(3),
            theirs.in_proj_bias.chunk(3),
            strict=True,
        ):
            weight.copy_(part.weight)
            bias.copy_(part.bias.normal_())
        theirs.out_proj.load_state_dict(ours.output.state_dict())


def copy_block(ours: TransformerBlock, theirs: nn.Module) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    norms = [ours.attention_norm, ours.feed_forward_norm]
    if ours.cross is not None:
        copy_attention(ours.cross, theirs.multihead_attn)
        norms.insert(1, ours.cross_norm)
    for number, norm in enumerate(norms, start=1):
        nn.init.normal_(norm.weight, mean=1.0, std=0.2)
        nn.init.normal_(norm.bias, std=0.2)
        getattr(theirs, f"norm{number}").load_state_dict(norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.inner.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.outer.state_dict())


def gradients(ours: TransformerBlock, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    pairs = [
        (ours.feed_forward.inner.weight.grad, theirs.linear1.weight.grad),
        (ours.feed_forward.outer.bias.grad, theirs.linear2.bias.grad),
        (ours.attention.output.weight.grad, theirs.self_attn.out_proj.weight.grad),
        (ours.attention_norm.weight.grad, theirs.norm1.weight.grad),
    ]
    parts = (ours.attention.query, ours.attention.key, ours.attention.value)
    for part, weight in zip(parts, theirs.self_attn.in_proj_weight.grad.chunk(3), strict=True):
        pairs.append((part.weight.grad, weight))
    return pairs


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("active", ["gelu", "relu"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_a_block_is_torch_s_encoder_layer(norm, active, is_causal):
    torch.manual_seed(0)
    ours = TransformerBlock(8, 2, 12, norm=norm, active=active)
    theirs = nn.TransformerEncoderLayer(
        8, 2, 12, dropout=0.0, activation=active, norm_first=norm == "pre", batch_first=True
    )
    copy_block(ours, theirs)
    mask = torch.arange(4) < torch.tensor([[4], [2]])
    x, y = drawn(2, 4, 8).requires_grad_(), drawn(2, 4, 8).requires_grad_()
    future = torch.ones(4, 4, dtype=torch.bool).triu(1) if is_causal else None
    out = ours(x, mask, is_causal=is_causal)
    expected = theirs(y, src_mask=future, src_key_padding_mask=~mask)
    torch.testing.assert_close(out[mask], expected[mask], rtol=1e-5, atol=1e-5)
    out[mask].square().sum().backward()
    expected[mask].square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4)
    for one, other in gradients(ours, theirs):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_block_with_a_source_is_torch_s_decoder_layer(norm):
    torch.manual_seed(0)
    ours = TransformerBlock(8, 2, 12, norm=norm, active="relu", source_size=8)
    theirs = nn.TransformerDecoderLayer(
        8, 2, 12, dropout=0.0, norm_first=norm == "pre", batch_first=True
    )
    copy_block(ours, theirs)
    x, y, source = drawn(2, 3, 8).requires_grad_(), drawn(2, 3, 8).requires_grad_(), drawn(2, 4, 8)
    future = torch.ones(3, 3, dtype=torch.bool).triu(1)
    out = ours(x, is_causal=True, source=source, source_mask=MASK)
    expected = theirs(y, source, tgt_mask=future, memory_key_padding_mask=~MASK)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4)
    weight = ours.cross.key.weight.grad
    torch.testing.assert_close(
        weight, theirs.multihead_attn.in_proj_weight.grad.chunk(3)[1], rtol=1e-4, atol=1e-4
    )


def test_another_row_may_have_another_width():
    attention = Attention(8, 2, source_size=5)
    assert attention(drawn(2, 3, 8), drawn(2, 4, 5), mask=MASK).shape == (2, 3, 8)


def test_a_source_is_given_exactly_where_there_is_a_use_for_it():
    with pytest.raises(ValueError, match="needs a source"):
        TransformerBlock(8, 2, 8, source_size=8)(drawn(1, 2, 8))
    with pytest.raises(ValueError, match="without a source_size"):
        TransformerBlock(8, 2, 8)(drawn(1, 2, 8), source=drawn(1, 2, 8))


def test_the_gate_of_swiglu():
    part = FeedForward(4, 6, active="swiglu")
    x = drawn(3, 4)
    gate = part.gate(x)
    expected = part.outer(gate * torch.sigmoid(gate) * part.inner(x))  # Shazeer 2020, eq. 6
    torch.testing.assert_close(part(x), expected)
    assert FeedForward(4, 6).gate is None


def transformer(seed: int = 0, **changes: Any) -> Transformer:
    torch.manual_seed(seed)
    values = {"num_layers": 2, "num_heads": 2, "inner_size": 12, **changes}
    return Transformer(8, **values).eval()


OPTIONS = st.fixed_dictionaries(
    {
        "norm": st.sampled_from(["pre", "post"]),
        "active": st.sampled_from(sorted(ACTIVATIONS)),
        "position": st.sampled_from(["rotary", "sinusoidal", "none"]),
    }
)
ROWS = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3)


@settings(deadline=None, max_examples=40)
@given(options=OPTIONS, rows=ROWS, is_causal=st.booleans(), seed=st.integers(0, 99))
def test_a_row_is_the_same_alone_without_its_padding(options, rows, is_causal, seed):
    module, mask = transformer(seed, **options), torch.tensor(rows)
    vectors = drawn(len(rows), 5, 8, seed=seed).masked_fill(~mask.unsqueeze(-1), math.nan)
    out = module(vectors, mask, is_causal=is_causal)
    assert not out[~mask].any()
    for row, kept in enumerate(mask):
        if kept.any():
            alone = module(
                vectors[row : row + 1, kept],
                torch.ones(1, int(kept.sum()), dtype=torch.bool),
                is_causal=is_causal,
            )
            torch.testing.assert_close(out[row, kept], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_causal", [False, True])
def test_a_row_that_keeps_nothing_disturbs_neither_outputs_nor_gradients(is_causal):
    module = transformer().train()
    mask = torch.tensor([[False] * 4, [False, False, True, True]])
    vectors = drawn(2, 4, 8).requires_grad_()
    out = module(vectors, mask, is_causal=is_causal)
    assert out.isfinite().all()
    out.square().sum().backward()
    assert vectors.grad.isfinite().all()
    assert not vectors.grad[~mask].any()
    assert vectors.grad[mask].any()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("position", ["rotary", "sinusoidal", "none"])
def test_causal_positions_do_not_know_what_follows(position):
    module, mask = transformer(position=position), torch.ones(1, 5, dtype=torch.bool)
    before, after = drawn(1, 5, 8), drawn(1, 5, 8)
    after[:, 3:] = drawn(1, 2, 8, seed=1)
    first, second = (module(x, mask, is_causal=True) for x in (before, after))
    torch.testing.assert_close(first[:, :3], second[:, :3])
    assert not torch.allclose(first[:, 3:], second[:, 3:])
    assert not torch.allclose(module(before, mask)[:, :3], module(after, mask)[:, :3])


def test_only_positions_tell_the_order():
    mask, vectors = torch.ones(1, 5, dtype=torch.bool), drawn(1, 5, 8)
    order = torch.tensor([3, 1, 4, 0, 2])
    for position in ("rotary", "sinusoidal", "none"):
        module = transformer(position=position)
        same = torch.allclose(
            module(vectors[:, order], mask), module(vectors, mask)[:, order], atol=1e-5
        )
        assert same == (position == "none")


def test_rotary_attention_knows_distances_not_places():
    torch.manual_seed(0)
    attention, vectors = Attention(8, 2, use_rotary=True), drawn(1, 5, 8)
    place = torch.arange(5)
    torch.testing.assert_close(
        attention(vectors), attention(vectors, place=place + 70), atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(attention(vectors), attention(vectors, place=2 * place))


def test_positions_one_by_one_give_what_the_whole_row_gives():
    torch.manual_seed(0)
    attention, vectors = Attention(8, 2, use_rotary=True), drawn(2, 5, 8)
    whole = attention(vectors, is_causal=True)
    seen = KeysValues(torch.zeros(2, 2, 0, 4), torch.zeros(2, 2, 0, 4))
    for t in range(5):
        place = torch.tensor([t])
        new = attention.keys_values(vectors[:, t : t + 1], place=place)
        seen = KeysValues(*(torch.cat(pair, dim=2) for pair in zip(seen, new, strict=True)))
        one = attention.attend(vectors[:, t : t + 1], seen, place=place)
        torch.testing.assert_close(one[:, 0], whole[:, t], rtol=1e-4, atol=1e-5)


def test_every_query_may_see_something():
    mask = torch.tensor([[False, True, True], [False, False, False]])
    allowed = allowed_pairs(mask, is_causal=True, length=3)
    assert allowed[0, 0].tolist() == [[True] * 3, [False, True, False], [False, True, True]]
    assert allowed[1].all()
    assert allowed_pairs(None, is_causal=True, length=3) is None


def test_sinusoids_are_the_paper_s():
    table = sinusoids(torch.arange(30), 6)
    for position in (0, 1, 17, 29):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert table[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-5)


def test_dropout_acts_in_training_alone_and_in_every_part():
    module = transformer(dropout=0.5)
    mask, vectors = torch.ones(1, 4, dtype=torch.bool), drawn(1, 4, 8)
    assert torch.equal(module(vectors, mask), module(vectors, mask))
    module.train()
    assert not torch.equal(module(vectors, mask), module(vectors, mask))
    block = TransformerBlock(8, 2, 8, dropout=1.0).train()
    assert torch.equal(block(vectors), vectors)  # only the shortcuts are left
    attention = Attention(8, 2, dropout=0.5).train()
    assert not torch.equal(attention(vectors), attention(vectors))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(dtype):
    for position in ("rotary", "sinusoidal"):
        module = transformer(position=position)
        vectors = drawn(2, 4, 8)
        exact = module(vectors, MASK)
        whole = module.to(dtype)(vectors.to(dtype), MASK)
        assert whole.dtype == dtype
        assert (whole.float() - exact).abs().max() < 0.1


def test_empty_batches_and_rows_are_fine():
    module = transformer()
    for rows, length in ((0, 4), (2, 0)):
        mask = torch.zeros(rows, length, dtype=torch.bool)
        assert module(torch.zeros(rows, length, 8), mask).shape == (rows, length, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attention(8, 3), "8 entries cannot be shared by 3 heads"),
        (lambda: Attention(6, 2, use_rotary=True), "pairs of a head's entries, got 3"),
        (lambda: TransformerBlock(8, 2, 8, norm="both"), 'expected "pre" or "post", got "both"'),
        (lambda: transformer(position="learnt"), 'rotary, sinusoidal or none, got "learnt"'),
        (
            lambda: Transformer(7, num_layers=1, num_heads=1, inner_size=7, position="sinusoidal"),
            "7",
        ),
    ],
)
def test_sizes_and_names_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
