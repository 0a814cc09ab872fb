"""Single operations: convolutions and projections through PyTorch, R2Conv through escnn."""
import copy

import torch
from escnn import gspaces, nn

from peer import Peer, difference, order, uniform

# Which gradients a pass asks for.
PASSES = {"forward": None, "backward-data": (True, False, False),
          "backward-weights": (False, True, False)}


def gspace(group):
    n = int(group[1:])
    return gspaces.rot2dOnR2(n) if group[0] == "C" else gspaces.flipRot2dOnR2(n)


def conv_channels(case):
    lift, plane = case.op == "conv-lift", case.op == "conv-plane"
    g = order(case.group)
    return case.fields_in * (1 if lift else g), case.fields_out * (1 if plane else g)


def dense_conv(case, memory_format):
    c_in, c_out = conv_channels(case)
    x = uniform(case.batch, c_in, case.height, case.width)
    w = uniform(c_out, c_in, case.kernel, case.kernel)
    settings = dict(stride=case.stride, padding=case.padding, dilation=case.dilation)
    diff = torch.rand_like(torch.nn.functional.conv2d(x, w, **settings))
    mask = PASSES[case.direction]

    def make_step(x, w, diff):
        x, w, diff = (t.contiguous(memory_format=memory_format) for t in (x, w, diff))
        if not mask:
            return lambda: torch.nn.functional.conv2d(x, w, **settings)
        pair = lambda v: [v, v]
        return lambda: next(t for t in torch.ops.aten.convolution_backward(
            diff, x, w, None, pair(case.stride), pair(case.padding), pair(case.dilation), False, [0, 0], 1,
            mask) if t is not None)

    return Peer(lambda *a: no_grad(make_step(*a)), (x, w, diff))


def no_grad(step):
    def run():
        with torch.no_grad():
            return step()
    return run


def torch_conv(memory_format):
    return lambda case: dense_conv(case, memory_format) if case.op.startswith("conv") else None


class EscnnConv:
    def __init__(self, case):
        g = gspace(case.group)
        trivial = lambda n: nn.FieldType(g, n * [g.trivial_repr])
        regular = lambda n: nn.FieldType(g, n * [g.regular_repr])
        self.type = (trivial if case.op == "conv-lift" else regular)(case.fields_in)
        out = (trivial if case.op == "conv-plane" else regular)(case.fields_out)
        conv = nn.R2Conv(self.type, out, case.kernel, stride=case.stride, padding=case.padding,
                         dilation=case.dilation, bias=False)
        self.direction = case.direction
        x = uniform(case.batch, self.type.size, case.height, case.width)
        diff = torch.rand_like(conv(nn.GeometricTensor(x, self.type)).tensor)
        self.exact = self.step_of(copy.deepcopy(conv).double(), x.double(), diff.double())
        self.step = self.step_of(conv, x, diff)

    def step_of(self, conv, x, diff):
        forward = lambda: conv(nn.GeometricTensor(x, self.type)).tensor
        if self.direction == "forward":
            conv.eval()
            return no_grad(forward)
        what = conv.weights
        if self.direction == "backward-data":
            what.requires_grad_(False)
            what = x.requires_grad_(True)
        y = forward()
        return lambda: torch.autograd.grad(y, what, diff, retain_graph=True)[0]

    def error(self):
        return difference(self.step(), self.exact())


def escnn_conv(case):
    return EscnnConv(case) if case.op.startswith("conv") else None


def turned(group):
    """[h, g]: where the orbit's member h of a template finds its number g."""
    n, mirrored = int(group[1:]), group[0] == "D"
    def product(a, b):
        turn = a % n - b % n if a >= n else a % n + b % n
        return turn % n + n * ((a >= n) != (b >= n))
    elements = range(2 * n if mirrored else n)
    return torch.tensor([[product(h, g) for g in elements] for h in elements])


REDUCTIONS = {
    "max": lambda y: y.amax(2),
    "mean-relu": lambda y: y.relu().mean(2),
    "sorted": lambda y: y.sort(2).values,
}


def project(fold):
    """linear, mean: a matrix; others: all turned templates, then the reduction. Backward from a graph made before."""
    def find(case):
        kind = case.kind or "linear"
        linear = kind in ("linear", "mean")
        if case.op != "project" or not (linear or kind in REDUCTIONS) or (fold and not linear):
            return None
        g, pixels = order(case.group), case.height * case.width
        if not linear and pixels > 1 and case.direction != "forward":
            return None
        z = uniform(case.batch, case.fields_in, g, pixels)
        w = uniform(case.k, case.fields_in, g, pixels)
        table = turned(case.group)

        def matrix(w):
            if fold:
                return w.mean(2).reshape(case.k, -1).T
            if linear:
                return w.mean(2, keepdim=True).expand_as(w).reshape(case.k, -1).T
            return w[:, :, table].permute(0, 2, 1, 3, 4).reshape(case.k * g, -1).T

        def code(z, m):
            y = (z.sum(2) if fold else z).reshape(case.batch, -1) @ m
            return y if linear else REDUCTIONS[kind](y.reshape(case.batch, case.k, g))

        def make_step(z, w, diff=None):
            if case.direction == "forward":
                m = matrix(w).contiguous()
                return no_grad(lambda: code(z, m))
            what_is_z = case.direction == "backward-data"
            what = (z if what_is_z else w).detach().requires_grad_()
            y = code(what, matrix(w).contiguous()) if what_is_z else code(z, matrix(what))
            return lambda: torch.autograd.grad(y, what, diff, retain_graph=True)[0]

        inputs = [z, w]
        if case.direction != "forward":
            inputs.append(torch.rand_like(code(z, matrix(w))))
        return Peer(make_step, inputs)
    return find


PEERS = {
    "torch-nchw": torch_conv(torch.contiguous_format),
    "torch-nhwc": torch_conv(torch.channels_last),
    "escnn": escnn_conv,
    "torch": project(False),
    "torch-fold": project(True),
}
