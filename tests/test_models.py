"""The three architectures are the paper's, and can be differentiated in every way we need."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

from unlearnlib.errors import InputError
from unlearnlib.lab.models import ACTIVATIONS, GROUPS, PreActivationBlock, build

GREY = (1, 28, 28)
COLOUR = (3, 32, 32)
TINY = [
    ("mlp", (1, 4, 4), "none"),
    ("allcnn", (3, 8, 8), "group"),
    ("resnet18", (3, 16, 16), "group"),
]


def numbers(tensors):
    return sum(tensor.numel() for tensor in tensors)


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def tiny(name, in_shape, norm, seed=0):
    model = build(
        name, in_shape=in_shape, classes=3, width=0.05, norm=norm, activation="softplus", seed=seed
    )
    return model.double()


@pytest.mark.parametrize(
    ("name", "in_shape", "norm", "parameters", "in_norm", "buffers", "length"),
    [
        ("mlp", GREY, "none", 26_506, 0, 0, 5.0),
        ("allcnn", COLOUR, "batch", 1_620_010, 2_688, 2_696, 42.4),
        ("resnet18", COLOUR, "batch", 11_171_274, 6_912, 6_929, 71.0),
    ],
)
def test_sizes_are_those_of_the_released_code(
    name, in_shape, norm, parameters, in_norm, buffers, length
):
    model = build(name, in_shape=in_shape, norm=norm, seed=0)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert numbers(model.parameters()) == parameters
    assert numbers(p for layer in norms for p in layer.parameters()) == in_norm
    assert numbers(model.buffers()) == buffers
    assert weights(model).norm().item() == pytest.approx(length, rel=0.02)


def test_half_the_width_of_allcnn_is_the_released_code_s():
    half = build("allcnn", in_shape=COLOUR, width=0.5, norm="batch", seed=0)
    assert numbers(half.parameters()) == 406_810


def hidden_sizes(model):
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return [layer.weight.shape[0] for layer in layers][:-1]


@pytest.mark.parametrize(
    ("name", "norm", "full"), [("mlp", "none", [32, 32]), ("allcnn", "group", [96] * 2 + [192] * 6)]
)
@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 1.25])
def test_width_scales_every_hidden_size(name, norm, full, width):
    model = build(name, in_shape=COLOUR, width=width, norm=norm, seed=0)
    assert hidden_sizes(model) == [width * size for size in full]


def test_width_scales_the_stem():
    quarter = build("resnet18", in_shape=COLOUR, width=0.25, norm="batch", seed=0)
    assert hidden_sizes(quarter)[0] == 16


@pytest.mark.parametrize(
    ("name", "norm"), [("mlp", "none"), ("allcnn", "batch"), ("resnet18", "batch")]
)
def test_the_narrowest_model_has_one_of_each(name, norm):
    model = build(name, in_shape=COLOUR, width=1e-6, norm=norm, seed=0)
    assert set(hidden_sizes(model)) == {1}


@pytest.mark.parametrize("width", [1e-6, 0.1, 0.37, 1 / 3])
def test_groups_share_the_channels_evenly_at_any_width(width):
    model = build("allcnn", in_shape=COLOUR, width=width, norm="group", seed=0)
    channels = [layer.num_channels for layer in model if isinstance(layer, nn.GroupNorm)]
    assert all(count % GROUPS == 0 for count in channels)
    assert model(torch.zeros(2, *COLOUR)).shape == (2, 10)


@pytest.mark.parametrize("name", ["allcnn", "resnet18"])
def test_with_groups_a_logit_depends_on_its_own_image_alone(name):
    model = build(name, in_shape=COLOUR, width=0.1, norm="group", seed=0).train()
    x = torch.rand(4, *COLOUR, generator=torch.Generator().manual_seed(0))
    assert not list(model.buffers())
    assert torch.allclose(model(x)[:1], model(x[:1]), atol=1e-5)


def test_a_block_adds_to_its_input_or_to_a_projection_of_the_activated_one():
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    same = PreActivationBlock(4, 4, 1, nn.BatchNorm2d, nn.ReLU)
    halved = PreActivationBlock(4, 8, 2, nn.BatchNorm2d, nn.ReLU)
    for block in (same, halved):
        nn.init.zeros_(block.residual[-1].weight)
    assert torch.equal(same(x), x)
    projected = nn.functional.conv2d(halved.before(x), halved.shortcut.weight, stride=2)
    assert torch.allclose(halved(x), projected, atol=1e-6)


@pytest.mark.parametrize("name", ["allcnn", "resnet18"])
def test_no_convolution_of_one_place_has_a_stride(name):
    """Its weight gradient writes past its memory on some CPUs: oneDNN issue 6035."""
    model = build(name, in_shape=COLOUR, norm="group", seed=0)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert {layer.stride for layer in convolutions if layer.kernel_size == (1, 1)} == {(1, 1)}


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = weights(build("mlp", in_shape=GREY, seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(first, weights(build("mlp", in_shape=GREY, seed=3)))
    assert not torch.equal(first, weights(build("mlp", in_shape=GREY, seed=4)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_reaches_every_model(activation):
    for name, in_shape, norm in TINY:
        model = build(name, in_shape=in_shape, width=0.1, norm=norm, activation=activation, seed=0)
        assert any(isinstance(module, ACTIVATIONS[activation]) for module in model.modules())
        assert model(torch.ones(2, *in_shape)).shape == (2, 10)


@pytest.mark.parametrize("name", ["allcnn", "resnet18"])
@pytest.mark.parametrize("in_shape", [(1, 28, 28), (3, 16, 16), (3, 64, 48)])
def test_the_cnns_take_images_of_other_sizes(name, in_shape):
    model = build(name, in_shape=in_shape, width=0.05, norm="batch", seed=0)
    assert model(torch.ones(2, *in_shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "vgg"}, ["'vgg'", "mlp, allcnn, resnet18"]),
        ({"name": "mlp", "norm": "batch"}, ["'batch'", "'none'"]),
        ({"norm": "none"}, ["'none'", "'batch' or 'group'"]),
        ({"norm": "layer"}, ["'layer'", "'batch' or 'group'"]),
        ({"activation": "elu"}, ["'elu'", "relu, tanh, softplus"]),
        ({"width": 0.0}, ["0.0", "above 0"]),
        ({"width": float("nan")}, ["nan", "above 0"]),
        ({"in_shape": (28, 28)}, ["(28, 28)", "(channels, height, width)"]),
        ({"in_shape": (3, 32, 7)}, ["32x7", "8x8"]),
        ({"name": "resnet18", "in_shape": (3, 8, 8)}, ["8x8", "16x16"]),
    ],
)
def test_refusals_name_the_value_and_the_choices(change, words):
    arguments = {"name": "allcnn", "in_shape": COLOUR, "norm": "group", "seed": 0} | change
    with pytest.raises(InputError) as refusal:
        build(**arguments)
    assert all(word in str(refusal.value) for word in words)


@pytest.mark.parametrize(("name", "in_shape", "norm"), TINY)
def test_backward_over_backward_is_forward_over_backward(name, in_shape, norm):
    model = tiny(name, in_shape, norm)
    random = torch.Generator().manual_seed(1)
    x = torch.rand(3, *in_shape, generator=random, dtype=torch.float64)
    y = torch.tensor([0, 1, 2])
    w = {key: p.detach() for key, p in model.named_parameters()}
    v = {key: torch.randn(p.shape, generator=random, dtype=torch.float64) for key, p in w.items()}

    def loss(w):
        return nn.functional.cross_entropy(functional_call(model, w, (x,)), y)

    def slope(w):
        gradient = grad(loss)(w)
        return sum((gradient[key] * v[key]).sum() for key in v)

    backward = grad(slope)(w)
    _, forward = jvp(grad(loss), (w,), (v,))
    for key in w:
        assert torch.allclose(backward[key], forward[key], rtol=1e-9, atol=1e-12)
    assert any(part.abs().max() > 1e-6 for part in backward.values())


@pytest.mark.parametrize(("name", "in_shape", "norm"), TINY)
def test_models_can_be_stacked_and_run_side_by_side(name, in_shape, norm):
    models = [tiny(name, in_shape, norm, seed) for seed in range(3)]
    x = torch.rand(2, *in_shape, dtype=torch.float64)
    stacked, buffers = stack_module_state(models)
    together = vmap(lambda w, b: functional_call(models[0], (w, b), (x,)))(stacked, buffers)
    alone = torch.stack([model(x) for model in models])
    assert torch.allclose(together, alone, rtol=1e-10)
