"""What every peer in Python needs."""
import torch


def order(group):
    return int(group[1:]) * (2 if group[0] == "D" else 1)


def uniform(*shape):
    return torch.rand(*shape) * 2 - 1


def difference(value, exact):
    return float((value.double() - exact).abs().max() / exact.abs().max())


def no_grad(step):
    def run():
        with torch.no_grad():
            return step()
    return run


class Peer:
    """A step that is timed, and its error against the same step in f64."""

    def __init__(self, make_step, inputs):
        self.step = make_step(*inputs)
        exact = make_step(*(t.double() for t in inputs))
        self.error = lambda: difference(self.step(), exact())
