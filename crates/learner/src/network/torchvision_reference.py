"""What torchvision says of two drawn pictures, its weights drawn by the formula that `torchvision.rs` follows too.

Prints JSON: for each network its logits (10 classes, by torchvision's own last layer), and those with fastai v1's head (3
classes) on the same body. `torchvision_logits.json` is what it printed with PyTorch 2.11.0 and torchvision 0.26.0.
"""

import json
import math

import numpy
import torch
import torchvision
from torch import nn

NETWORKS = ["resnet18", "resnet34", "resnet50"]


def draw(name, shape):
    """Numbers in [-1, 1), in row-major order: the tensor's name and the place decide."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    x = numpy.arange(math.prod(shape), dtype=numpy.uint32) * numpy.uint32(2654435761) + numpy.uint32(seed)
    x = (x ^ (x >> 15)) * numpy.uint32(2246822519)
    x = (x ^ (x >> 13)) * numpy.uint32(3266489917)
    x ^= x >> 16
    return (x / 2**31 - 1).reshape(shape)


def value(name, shape):
    """A tensor of that name, of such a size that logits are those of a classifier: a few units."""
    drawn = draw(name, shape)
    if len(shape) == 4:
        drawn = drawn * math.sqrt(6 / math.prod(shape[1:]))
    elif len(shape) == 2:
        drawn = drawn * math.sqrt(24 / shape[1])
    elif name.endswith("running_var"):
        drawn = 1 + drawn / 2
    elif name.endswith("weight"):
        drawn = 0.6 + drawn / 4
    else:
        drawn = drawn / 10
    return torch.from_numpy(drawn.astype(numpy.float32))


def filled(layer, prefix=""):
    """The layer with every tensor drawn, to be measured."""
    shapes = {key: tuple(tensor.shape) for key, tensor in layer.state_dict().items() if tensor.is_floating_point()}
    layer.load_state_dict({key: value(prefix + key, shape) for key, shape in shapes.items()}, strict=False)
    return layer.eval()


def with_head(model, x):
    """fastai v1's head, under our names, in place of the last layer."""
    features = model.fc.in_features
    norm1, linear1 = filled(nn.BatchNorm1d(2 * features), "head.bn1."), filled(nn.Linear(2 * features, 512), "head.fc1.")
    norm2, linear2 = filled(nn.BatchNorm1d(512), "head.bn2."), filled(nn.Linear(512, 3), "head.fc2.")
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    x = model.layer4(model.layer3(model.layer2(model.layer1(x))))
    pooled = torch.cat([nn.functional.adaptive_max_pool2d(x, 1), nn.functional.adaptive_avg_pool2d(x, 1)], 1).flatten(1)
    return linear2(norm2(torch.relu(linear1(norm1(pooled)))))


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    # Noise alone looks the same to every network: each picture has colours of its own.
    images = draw("images", (2, 3, 96, 80)) + 2 * draw("levels", (2, 3, 1, 1))
    images = torch.from_numpy(images.astype(numpy.float32))
    told = []
    for name in NETWORKS:
        model = filled(torchvision.models.get_model(name, weights=None, num_classes=10))
        rows = {"logits": model(images).tolist(), "with_head": with_head(model, images).tolist()}
        told.append(f'"{name}": {json.dumps(rows)}')
    print("{" + ",\n".join(told) + "}")


if __name__ == "__main__":
    main()
