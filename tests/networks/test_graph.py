"""Which layers everything passes through, on networks small enough to read."""

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from inspection.networks.graph import bottlenecks, cut_out, extract_layers, fold_batch_norms, head_prefix


class Branched(nn.Module):
    """a, then b beside a shortcut, then c and d beside each other; e and f after them, then the head."""

    def __init__(self):
        super().__init__()
        for name in "abcdef":
            self.add_module(name, nn.Conv2d(3, 3, 1))
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        a = self.a(images)
        shortcut = a + self.b(a)
        joined = self.c(shortcut) + self.d(shortcut)
        return self.head(self.f(self.e(joined)).mean((2, 3)))


class HandsSizesOn(nn.Module):
    """Uses the size of the image late, as transformers do."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

    def forward(self, images):
        n_images = images.shape[0]
        a = self.a(images)
        return self.head(self.b(a).reshape(n_images, 3, -1).mean(2))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Branched().eval()


def test_what_a_shortcut_or_a_branch_bypasses_is_no_bottleneck(network):
    layers = bottlenecks(network, 4)
    assert [layer.name for layer in layers] == ["a", "add", "add_1", "e", "f", "mean"]
    assert [layer.shape for layer in layers] == [(1, 3, 4, 4)] * 5 + [(1, 3)]
    assert all(layer.is_strict for layer in layers)


def test_sizes_handed_on_are_told_apart():
    layers = {layer.name: layer.is_strict for layer in bottlenecks(HandsSizesOn().eval(), 4)}
    assert layers == {"a": False, "b": False, "reshape": True, "mean": True}


def test_the_head_is_the_last_module_with_weights(network):
    assert head_prefix(network) == "head."
    assert head_prefix(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU())) == "1."


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [("a", "f", set("bcdef")), ("add", "f", set("cdef")), ("add_1", "f", {"e", "f"}), ("e", "f", {"f"})],
)
def test_the_part_between_two_layers(start, end, kept, network):
    part = cut_out(network, start, end)
    assert {name for name, _ in part.named_children()} == kept
    images = torch.rand(2, 3, 4, 4)
    shortcut = network.a(images) + network.b(network.a(images))
    joined = network.c(shortcut) + network.d(shortcut)
    at = {"a": network.a(images), "add": shortcut, "add_1": joined, "e": network.e(joined)}
    torch.testing.assert_close(part(at[start]), network.f(network.e(joined)))


def test_weights_are_shared(network):
    assert cut_out(network, "e", "f").f.weight is network.f.weight


@pytest.mark.parametrize(("start", "end"), [("b", "f"), ("c", "f"), ("f", "e"), ("e", "e"), ("head", "f")])
def test_a_cut_that_leaves_something_out(start, end, network):
    with pytest.raises(ValueError, match=rf"^'{start}' is bypassed by a shortcut or comes too late; name an earlier"):
        cut_out(network, start, end)


def test_an_unknown_layer(network):
    with pytest.raises(ValueError, match="'g' is not present in model"):
        cut_out(network, "g", "f")


class Normalised(nn.Module):
    """Convolution and normalisation; with an activation; with an output that is used again; and in a sequence."""

    def __init__(self):
        super().__init__()
        for name in "abcd":
            self.add_module(name, nn.Conv2d(3, 3, 3, padding=1))
        self.norm_a, self.norm_b, self.norm_c = nn.BatchNorm2d(3), BatchNormAct2d(3), nn.BatchNorm2d(3)
        self.last = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)

    def forward(self, images):
        twice = self.c(self.norm_b(self.b(self.norm_a(self.a(images)))))
        return self.last(self.d(twice + self.norm_c(twice)))


@pytest.fixture
def normalised():
    torch.manual_seed(0)
    return Normalised().eval()


def norms_left(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_norms_are_folded_where_nothing_else_reads_the_convolution(normalised):
    images, traced = torch.randn(2, 3, 8, 8), extract_layers(normalised, ["d", "last.3"])
    folded = fold_batch_norms(traced)
    # Left are those after c, whose output is read twice, and after d, whose output is asked for.
    assert (norms_left(traced), norms_left(folded)) == (5, 2)
    with torch.inference_mode():
        for name, value in traced(images).items():
            torch.testing.assert_close(folded(images)[name], value, rtol=1e-5, atol=1e-5)


def test_an_output_that_is_asked_for_stays_what_it_is(normalised):
    images, traced = torch.randn(2, 3, 8, 8), extract_layers(normalised, ["a", "norm_a"])
    with torch.inference_mode():
        for name, value in fold_batch_norms(traced)(images).items():
            torch.testing.assert_close(value, traced(images)[name], rtol=0, atol=0)


def test_norms_are_folded_in_sequences(normalised):
    images = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(normalised.last)
    assert (norms_left(normalised.last), norms_left(folded)) == (2, 1), "the first follows no convolution"
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), normalised.last(images), rtol=1e-5, atol=1e-5)


def test_a_norm_by_the_statistics_of_the_batch_stays():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(fold_batch_norms(network)(images), network(images), rtol=0, atol=0)
