"""The work of `train.py --arch mlp200`, as a user of PyTorch would write it for speed."""

import argparse

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from jitprop.data import load_dataset
from jitprop.training.settings import ARCHITECTURES, DEFAULTS


def tensors(images: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(images.reshape(len(images), -1)).float() / 255
    return x, torch.from_numpy(labels.astype(np.int64))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.train_torch", description=__doc__)
    settings = DEFAULTS["mlp200"]
    parser.add_argument("--epochs", type=int, default=settings.epochs)
    epochs = parser.parse_args().epochs

    torch.manual_seed(0)
    dataset = load_dataset()
    x, t = tensors(dataset.train_images, dataset.train_labels)
    test_x, test_t = tensors(dataset.test_images, dataset.test_labels)
    (width,) = ARCHITECTURES["mlp200"]
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], width),
        torch.nn.Tanh(),
        torch.nn.Linear(width, dataset.classes),
    )
    optimiser = torch.optim.SGD(
        net.parameters(), lr=settings.rate, momentum=settings.momentum, fused=True
    )
    errors = len(test_x)
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(settings.batch_size):
            loss = cross_entropy(net(x.index_select(0, index)), t.index_select(0, index))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            errors = int((net(test_x).argmax(dim=1) != test_t).sum())
    print(f"test errors: {errors} / {len(test_x)} ({errors / len(test_x):.2%})")


if __name__ == "__main__":
    main()
