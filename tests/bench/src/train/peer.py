"""PyTorch as its users train with it: torchvision's network with fastai's head, autocast, the fused Adam, channels-last memory,
and a DataLoader whose workers alter the pictures with torchvision's transforms.

Reads commands from standard input, `steps COUNT` or `epoch`, and answers each with images per second. A GPU gets pictures
from pinned memory, and losses are read together at the end of a turn: nobody waits for it in between.
"""

import argparse
import json
import platform
import sys
import time

import numpy
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


class Head(nn.Module):
    """fastai v1's."""

    def __init__(self, features, classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.BatchNorm1d(2 * features),
            nn.Dropout(0.25),
            nn.Linear(2 * features, 512),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(512),
            nn.Dropout(0.5),
            nn.Linear(512, classes),
        )

    def forward(self, x):
        pooled = torch.cat([functional.adaptive_max_pool2d(x, 1), functional.adaptive_avg_pool2d(x, 1)], 1)
        return self.layers(pooled)


class Pictures(Dataset):
    """The pictures of one epoch, mapped from a file, each altered on its own."""

    def __init__(self, options):
        shape = (options.batch_size * options.batches, options.size, options.size, 3)
        self.pixels = numpy.memmap(options.pictures, numpy.uint8, "r", shape=shape)
        self.classes = options.classes
        self.alter = v2.Compose([
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(10, scale=(1.0, 1.1), interpolation=InterpolationMode.BILINEAR),
            v2.RandomPerspective(0.2, p=0.75),
            v2.ColorJitter(brightness=0.2, contrast=0.2),
        ])

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        picture = torch.from_numpy(numpy.array(self.pixels[index])).permute(2, 0, 1)
        return self.alter(picture), index % self.classes


class Run:
    def __init__(self, options):
        torch.set_num_threads(options.threads)
        torch.manual_seed(42)
        self.options = options
        self.device = torch.device(options.device)
        self.mean, self.std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (MEAN, STD))
        self.bfloat16 = options.precision == "bfloat16"
        whole = torchvision.models.get_model(options.architecture, weights=None)
        body = nn.Sequential(*list(whole.children())[:-2])
        self.network = nn.Sequential(body, Head(whole.fc.in_features, options.classes))
        self.network = self.network.to(self.device, memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=1e-2, fused=True
        )
        self.pictures = Pictures(options)
        self.loader = DataLoader(
            self.pictures,
            options.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=options.threads,
            persistent_workers=True,
            pin_memory=self.device.type == "cuda",
        )
        # The workers are there before anything is timed.
        for _ in self.loader:
            pass
        pixels = torch.from_numpy(numpy.array(self.pictures.pixels[: options.batch_size]))
        batch = pixels.permute(0, 3, 1, 2), torch.arange(options.batch_size) % options.classes
        self.batch = [tensor.pin_memory() for tensor in batch] if self.device.type == "cuda" else batch

    def step(self, images, labels):
        """Pictures are u8 [n, 3, s, s] in any memory format. Gives the loss, which may still be being computed."""
        images, labels = (tensor.to(self.device, non_blocking=True) for tensor in (images, labels))
        images = images.float().div_(255).sub_(self.mean).div_(self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.network(images)
        loss = functional.cross_entropy(logits.float(), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def rate(self, batches):
        """Images per second, from here to when everything is done."""
        begin = time.perf_counter()
        losses = [self.step(images, labels) for images, labels in batches]
        torch.stack(losses).tolist()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return len(losses) * self.options.batch_size / (time.perf_counter() - begin)

    def steps(self, count):
        return self.rate(self.batch for _ in range(count))

    def epoch(self):
        return self.rate(self.loader)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--versions", action="store_true")
    for option in ["device", "architecture", "precision", "pictures"]:
        parser.add_argument(f"--{option}")
    for option in ["size", "batch-size", "batches", "classes", "threads"]:
        parser.add_argument(f"--{option}", type=int)
    options = parser.parse_args()
    if options.versions:
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
        if torch.device(options.device).type == "cuda":
            versions["gpu"] = torch.cuda.get_device_name(options.device)
        print(json.dumps({**versions, "python": platform.python_version()}))
        return
    run = Run(options)
    for line in sys.stdin:
        command, *arguments = line.split()
        rate = run.steps(int(arguments[0])) if command == "steps" else run.epoch()
        print(rate, flush=True)


if __name__ == "__main__":
    main()
