"""Invariant projections through PyTorch, and the projection of scikit-learn, which is not invariant."""
import sys

import torch

from peer import Peer, difference, no_grad, order, uniform


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


class RandomProjection:
    """GaussianRandomProjection of the latents as they are: k numbers of each, without the group."""

    def __init__(self, case, make):
        import sklearn
        x = uniform(case.batch, case.fields_in * order(case.group) * case.height * case.width).numpy()
        self.fitted, self.x = make(n_components=case.k, random_state=0).fit(x), x
        self.step = lambda: self.fitted.transform(self.x)
        self.version = f"scikit-learn {sklearn.__version__}"

    def error(self):
        exact = self.x.astype("float64") @ self.fitted.components_.T.astype("float64")
        return difference(torch.from_numpy(self.step()), torch.from_numpy(exact))


def scikit_learn(case):
    if case.kind not in ("", "linear") or case.direction != "forward" or case.group == "S":
        return None
    try:
        from sklearn.random_projection import GaussianRandomProjection
    except ImportError as error:
        print(f"{case.name}: peer sklearn is left out: {error}", file=sys.stderr)
        return None
    return RandomProjection(case, GaussianRandomProjection)


PEERS = {"torch": project(False), "torch-fold": project(True), "sklearn": scikit_learn}
