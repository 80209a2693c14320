"""Writes torchvision's network argv[1] with weights and running statistics drawn anew into the folder argv[2]:

- `state.safetensors`: its state dict,
- `images`, `logits`: pictures (float32 [3, 3, 96, 80]) and what it says of them,
- `head.safetensors`, `ours`: fastai v1's head, under our names, and what the same body says with it.
"""

import sys

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

name, folder = sys.argv[1:]
torch.manual_seed(7)
torch.set_num_threads(1)
model = torchvision.models.get_model(name, weights=None)
with torch.no_grad():
    for key, tensor in model.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            tensor.uniform_(-0.2, 0.2)
        elif tensor.dim() == 1 and tensor.is_floating_point():
            tensor.add_(torch.empty_like(tensor).uniform_(-0.1, 0.1))
model.eval()

norm1, linear1 = nn.BatchNorm1d(2 * model.fc.in_features), nn.Linear(2 * model.fc.in_features, 512)
norm2, linear2 = nn.BatchNorm1d(512), nn.Linear(512, 3)
parts = {"bn1": norm1, "fc1": linear1, "bn2": norm2, "fc2": linear2}
for norm in (norm1, norm2):
    norm.running_mean.uniform_(-0.2, 0.2)
    norm.running_var.uniform_(0.5, 1.5)
    norm.eval()


def features(x):
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    return model.layer4(model.layer3(model.layer2(model.layer1(x))))


def with_head(x):
    x = features(x)
    pooled = torch.cat([nn.functional.adaptive_max_pool2d(x, 1), nn.functional.adaptive_avg_pool2d(x, 1)], 1).flatten(1)
    return linear2(norm2(torch.relu(linear1(norm1(pooled)))))


images = torch.randn(3, 3, 96, 80)
head = {f"head.{part}.{key}": tensor for part, layer in parts.items() for key, tensor in layer.state_dict().items()}
save_file(model.state_dict(), f"{folder}/state.safetensors")
save_file({key: tensor for key, tensor in head.items() if "num_batches" not in key}, f"{folder}/head.safetensors")
with torch.no_grad():
    for file, tensor in {"images": images, "logits": model(images), "ours": with_head(images)}.items():
        tensor.numpy().tofile(f"{folder}/{file}")
