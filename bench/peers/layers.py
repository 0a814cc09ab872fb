"""Single convolutions: through PyTorch, and R2Conv through escnn."""
import copy

import torch
from escnn import gspaces, nn

from peer import Peer, difference, no_grad, order, uniform

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


PEERS = {
    "torch-nchw": torch_conv(torch.contiguous_format),
    "torch-nhwc": torch_conv(torch.channels_last),
    "escnn": escnn_conv,
}
