"""The U-Net of training/models/unet.py in PyTorch, channels-last, and the speed of its training step.

`benchmarks train` runs this file as a script of its own. By hand:

    python benchmarks/peer_torch.py '{"inputs": 2, "outputs": 1, "size": 64, "batch": 32, "widths": [32, 64, 64],
                                      "patch": 2, "groups": 8, "rounds": 40, "compile": false}'
"""

import json
import sys
import time
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Residual block."""

    def __init__(self, inputs, outputs, groups):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(groups, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(groups, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x):
        """Apply the block to x (sample, channel, y, x)."""
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.skip(x))


class UNet(nn.Module):
    """U-Net with one residual block per level on the way down and on the way up."""

    def __init__(self, inputs, outputs, widths, patch, groups):
        super().__init__()
        self.patch = patch
        self.stem = nn.Conv2d(inputs * patch**2, widths[0], 3, padding=1)
        before = [widths[0], *(4 * width for width in widths[:-1])]
        self.down = nn.ModuleList([Block(a, b, groups) for a, b in zip(before, widths, strict=True)])
        pairs = list(pairwise(widths))
        self.up = nn.ModuleList([nn.Conv2d(b, 4 * a, 1) for a, b in pairs])
        self.join = nn.ModuleList([Block(2 * a, a, groups) for a, _ in pairs])
        self.head = nn.Conv2d(widths[0], outputs * patch**2, 1)

    def forward(self, x):
        """Apply the network to x (sample, channel, y, x)."""
        x = self.stem(F.pixel_unshuffle(x, self.patch))
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.pixel_unshuffle(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.join[level](torch.cat([skips[level], F.pixel_shuffle(self.up[level](x), 2)], 1))
        return F.pixel_shuffle(self.head(x), self.patch)


def measure(spec):
    """Measure the speed of training: forward pass, mean squared error, backward pass, clipping, Adam.

    Args:
        spec: shape of the network and of its batches, as in the example at the top.

    Returns:
        Samples per second, number of parameters, device and version of PyTorch.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    net = UNet(spec["inputs"], spec["outputs"], spec["widths"], spec["patch"], spec["groups"]).to(
        device=device, memory_format=torch.channels_last
    )
    run = torch.compile(net) if spec["compile"] else net
    rule = torch.optim.Adam(net.parameters(), 1e-3)
    shape = (spec["batch"], spec["inputs"], spec["size"], spec["size"])
    x = torch.randn(shape, device=device).to(memory_format=torch.channels_last)
    truth = torch.randn(spec["batch"], spec["outputs"], spec["size"], spec["size"], device=device)
    times = []
    for _ in range(spec["rounds"] + 5):
        start = time.perf_counter()
        rule.zero_grad()
        F.mse_loss(run(x), truth).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        rule.step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    middle = sorted(times[5:])[spec["rounds"] // 2]
    return {
        "samples_per_second": spec["batch"] / middle,
        "parameters": sum(p.numel() for p in net.parameters()),
        "device": device,
        "version": torch.__version__,
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
