"""CMC's and AMDIM's networks as their papers and code describe them: names, nesting and forward.

HobbitLong/CMC models/resnet.py and models/alexnet.py, Philip-Bachman/amdim-public model.py; built
from torch's own modules, so that the toolkit's encoders have something to be compared with.
"""

import torch
import torch.nn.functional as F
from torch import nn


def conv(inputs, outputs, kernel, stride=1, padding=0, *, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)


class CmcBlock(nn.Module):
    """A residual block, basic or bottleneck."""

    def __init__(self, inputs, planes, stride, *, bottleneck):
        super().__init__()
        outputs = planes * (4 if bottleneck else 1)
        kernels = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
        widths = [inputs, planes, planes, outputs] if bottleneck else [inputs, planes, planes]
        self.count = len(kernels)
        for i, (kernel, step) in enumerate(kernels):
            layer = conv(widths[i], widths[i + 1], kernel, step, kernel // 2)
            setattr(self, f"conv{i + 1}", layer)
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = y.relu() if i < self.count else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class CmcResNet(nn.Module):
    """ResNet(in_channel, width): the stem stays wide while the stages are narrowed."""

    def __init__(self, channels, *, stem=16, base=8, blocks=(1, 1, 1, 1), bottleneck=False, dim=16):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, stem, 7, 2, 3), nn.BatchNorm2d(stem)
        inputs = stem
        for stage, count in enumerate(blocks):
            layers = []
            for block in range(count):
                planes, stride = base * 2**stage, 2 if stage and not block else 1
                layers.append(CmcBlock(inputs, planes, stride, bottleneck=bottleneck))
                inputs = planes * (4 if bottleneck else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, dim)

    def forward(self, x, layer):
        """Layer 6 is pooled; 7 is projected, of length 1."""
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return x if layer == 6 else F.normalize(self.fc(x))


class CmcAlexNet(nn.Module):
    """alexnet_half; narrower unless told."""

    def __init__(self, channels, *, widths=(4, 6, 8, 8, 6), hidden=8, dim=16):
        super().__init__()
        pool = nn.MaxPool2d(3, 2)
        plans = [(11, 4, 2, [pool]), (5, 1, 2, [pool]), *[(3, 1, 1, [])] * 2, (3, 1, 1, [pool])]
        for i, (kernel, stride, padding, pooling) in enumerate(plans):
            inputs = widths[i - 1] if i else channels
            layers = conv(inputs, widths[i], kernel, stride, padding), nn.BatchNorm2d(widths[i])
            setattr(self, f"conv_block_{i + 1}", nn.Sequential(*layers, nn.ReLU(), *pooling))
        for name, inputs in (("fc6", 36 * widths[-1]), ("fc7", hidden)):
            layers = nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU()
            setattr(self, name, nn.Sequential(*layers))
        self.fc8 = nn.Sequential(nn.Linear(hidden, dim))

    def forward(self, x, layer):
        """Layer 5 is the last pooling; 8 is projected, of length 1."""
        for i in range(1, 6):
            x = getattr(self, f"conv_block_{i}")(x)
        if layer == 5:
            return x.flatten(1)
        return F.normalize(self.fc8(self.fc7(self.fc6(x.flatten(1)))))


class Cmc(nn.Module):
    """Both halves."""

    def __init__(self, make):
        super().__init__()
        self.l_to_ab, self.ab_to_l = make(1), make(2)

    def forward(self, x, layer):
        return self.l_to_ab(x[:, :1], layer), self.ab_to_l(x[:, 1:], layer)


class MaybeNorm(nn.Module):
    """Held in any case, applied if asked for."""

    def __init__(self, channels, used):
        super().__init__()
        self.bn, self.used = nn.BatchNorm2d(channels), used

    def forward(self, x):
        return self.bn(x) if self.used else x


class AmdimStem(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, mirrored=0):
        super().__init__()
        self.conv, self.mirrored = conv(inputs, outputs, kernel, stride, bias=True), mirrored

    def forward(self, x):
        x = nn.ReflectionPad2d(self.mirrored)(x) if self.mirrored else x
        return self.conv(x).relu()


class AmdimResidual(nn.Module):
    """ConvResNxN."""

    def __init__(self, inputs, outputs, kernel, stride, use_bn):
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, outputs, kernel, stride), conv(outputs, outputs, 1)
        self.bn1 = MaybeNorm(outputs, use_bn)
        self.pool, self.extra = nn.AvgPool2d(kernel, stride), outputs - inputs

    def forward(self, x):
        pooled = self.pool(x)
        empty = pooled.new_zeros(len(x), self.extra, *pooled.shape[2:])
        return self.conv2(self.bn1(self.conv1(x)).relu()) + torch.cat([pooled, empty], 1)


class AmdimBlock(nn.Module):
    """ConvResBlock."""

    def __init__(self, inputs, outputs, kernel, stride, depth, use_bn):
        super().__init__()
        first = AmdimResidual(inputs, outputs, kernel, stride, use_bn)
        rest = [AmdimResidual(outputs, outputs, 1, 1, use_bn) for _ in range(depth - 1)]
        self.layer_list = nn.Sequential(first, *rest)

    def forward(self, x):
        return self.layer_list(x)


class AmdimFake(nn.Module):
    """FakeRKHSConvNet: only its names matter, for it gives the maps of 5x5 and 7x7."""

    def __init__(self, inputs, rkhs):
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, rkhs, 1), conv(rkhs, rkhs, 1)
        self.bn_hid, self.bn_out = MaybeNorm(rkhs, False), MaybeNorm(rkhs, True)
        self.shortcut = conv(inputs, rkhs, 1, bias=True)


class Amdim(nn.Module):
    """Encoder; r1, flattened."""

    def __init__(self, side, *, width=8, rkhs=64, depth=2, use_bn=False):
        super().__init__()

        def block(inputs, outputs, kernel, stride):
            return AmdimBlock(inputs * width, outputs * width, kernel, stride, depth, use_bn)

        w = 4 if side == 32 else 8
        first = {
            32: lambda: [
                AmdimStem(3, width, 3), AmdimResidual(width, width, 1, 1, use_bn), block(1, 2, 4, 2)
            ],
            64: lambda: [AmdimStem(3, width, 3), block(1, 2, 4, 2), block(2, 4, 4, 2)],
            128: lambda: [
                AmdimStem(3, width, 5, 2, 2), AmdimStem(width, width, 3), block(1, 2, 4, 2),
                block(2, 4, 4, 2),
            ],
        }[side]()  # fmt: skip
        self.layer_list = nn.ModuleList(
            [
                *first,
                block(w // 2, w, 2, 2),
                MaybeNorm(w * width, use_bn),
                block(w, w, 3, 1),
                block(w, w, 3, 1),
                AmdimResidual(w * width, rkhs, 3, 1, use_bn),
                MaybeNorm(rkhs, True),
            ]
        )
        self.rkhs_block_5 = AmdimFake(w * width, rkhs)
        self.rkhs_block_7 = AmdimFake(w * width, rkhs)

    def forward(self, x):
        for layer in self.layer_list:
            x = layer(x)
        assert x.shape[2:] == (1, 1)
        return x.flatten(1)
