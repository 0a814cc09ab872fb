"""The networks of bench/op_model.c in escnn, and exported to plain PyTorch layers."""
import copy

import torch
from escnn import nn

from layers import gspace
from peer import difference, uniform

CLASSES = 10


class Network(torch.nn.Module):
    """Stages in a row; a stage with a shortcut adds its input before its last ReLU."""

    def __init__(self, case):
        super().__init__()
        self.gspace = gspace(case.group)
        self.input = nn.FieldType(self.gspace, case.fields_in * [self.gspace.trivial_repr])
        self.type = self.input
        self.stages = torch.nn.ModuleList()
        self.shortcut = []
        f = case.fields_out
        getattr(self, case.kind.replace("-", "_") or "plain")(case, f)
        self.fields = len(self.type)
        self.head = torch.nn.Linear(self.fields, CLASSES)

    def block(self, fields, kernel, relu=True):
        out = nn.FieldType(self.gspace, fields * [self.gspace.regular_repr])
        parts = [nn.R2Conv(self.type, out, kernel, padding=(kernel - 1) // 2), nn.InnerBatchNorm(out)]
        self.type = out
        return parts + ([nn.ReLU(out)] if relu else [])

    def add(self, parts, pool=False, shortcut=False):
        if pool:
            parts = parts + [nn.PointwiseMaxPool2D(self.type, 2, 2)]
        self.stages.append(nn.SequentialModule(*parts))
        self.shortcut.append(nn.ReLU(self.type) if shortcut else None)

    def rot_mnist(self, case, f):
        self.add(self.block(f, 7))
        self.add(self.block(f, 5), pool=True)
        self.add(self.block(2 * f, 5))
        self.add(self.block(2 * f, 3), pool=True)
        self.add(self.block(2 * f, 3))

    def resnet(self, case, f):
        self.add(self.block(f, 3))
        for _ in range(2):
            self.add(self.block(f, 3) + self.block(f, 3, relu=False), shortcut=True)

    def latents(self, images):
        x = nn.GeometricTensor(images, self.input)
        for stage, relu in zip(self.stages, self.shortcut):
            x = relu(x + stage(x)) if relu else stage(x)
        return x

    def forward(self, images):
        x = self.latents(images).tensor
        return self.head(x.unflatten(1, (self.fields, -1)).amax(2).mean((2, 3)))


class Exported(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.stages = torch.nn.ModuleList(s.export() for s in network.stages)
        self.shortcut = [bool(r) for r in network.shortcut]

    def latents(self, x):
        for stage, shortcut in zip(self.stages, self.shortcut):
            x = torch.relu(x + stage(x)) if shortcut else stage(x)
        return x


def images_of(case):
    return uniform(case.batch, case.fields_in, case.height, case.width)


class Extract:
    def __init__(self, case, memory_format):
        torch.manual_seed(case.seed)
        network = Network(case).eval()
        self.images = images_of(case)
        self.plain = Exported(network).eval()
        self.exact = copy.deepcopy(self.plain).double()
        if memory_format is None:
            self.run = lambda: network.latents(self.images).tensor
        else:
            self.plain.to(memory_format=memory_format)
            images = self.images.contiguous(memory_format=memory_format)
            self.run = lambda: self.plain.latents(images)

    def step(self):
        with torch.no_grad():
            return self.run()

    def error(self):
        with torch.no_grad():
            return difference(self.step(), self.exact.latents(self.images.double()))


class Train:
    def __init__(self, case):
        torch.manual_seed(case.seed)
        self.network = Network(case)
        self.exact = copy.deepcopy(self.network).double()
        self.images = images_of(case)
        self.labels = torch.randint(0, CLASSES, (case.batch,))
        self.adam = torch.optim.Adam(self.network.parameters())

    def backward(self, network, images):
        loss = torch.nn.functional.cross_entropy(network(images), self.labels)
        loss.backward()

    def step(self):
        self.adam.zero_grad()
        self.backward(self.network, self.images)
        self.adam.step()

    def error(self):
        """Of the gradient of the first filter, before the first step."""
        self.adam.zero_grad()
        self.backward(self.network, self.images)
        self.backward(self.exact, self.images.double())
        first = lambda n: next(p for name, p in n.named_parameters() if name.endswith("weights")).grad
        return difference(first(self.network), first(self.exact))


def extract(memory_format):
    def find(case):
        return Extract(case, memory_format) if case.op == "extract" and case.kind else None
    return find


def train(case):
    return Train(case) if case.op == "train-step" and case.kind else None


PEERS = {
    "escnn": lambda case: extract(None)(case) or train(case),
    "torch-nchw": extract(torch.contiguous_format),
    "torch-nhwc": extract(torch.channels_last),
}
