"""Selective bispectra: the library bispectrum (geometric-intelligence, PyPI, MIT), and the same numbers in plain PyTorch."""
import importlib.metadata
import math
import sys

import torch

from peer import Peer, order, uniform


def selective(case):
    return case.kind in ("", "bispectrum") and case.height * case.width == 1


def peer_of(case, spectrum):
    """Forward as it is; backward alone, from a graph that was made before."""
    f = uniform(case.batch * case.fields_in, order(case.group))
    if case.direction == "forward":
        def make_step(f):
            def step():
                with torch.no_grad():
                    return as_real(spectrum(f))
            return step
        return Peer(make_step, [f])
    diff = uniform(*as_real(spectrum(f)).shape)

    def make_step(f, diff):
        f = f.detach().requires_grad_()
        codes = as_real(spectrum(f))
        return lambda: torch.autograd.grad(codes, f, diff, retain_graph=True)[0]
    return Peer(make_step, [f, diff])


def as_real(codes):
    return torch.view_as_real(codes) if codes.is_complex() else codes


def library(case):
    n = int(case.group[1:])
    if not selective(case) or n < (2 if case.group[0] == "C" else 3):
        return None
    try:
        import bispectrum
    except ImportError as error:
        print(f"{case.name}: peer bispectrum is left out: {error}", file=sys.stderr)
        return None
    module = (bispectrum.CnonCn if case.group[0] == "C" else bispectrum.DnonDn)(n)
    peer = peer_of(case, module)
    peer.version = f"bispectrum {importlib.metadata.version('bispectrum')}, torch {torch.__version__}"
    return peer


def cyclic(n):
    def spectrum(f):
        hat = torch.fft.fft(f)
        first = (hat[:, :1] * hat[:, :1] * hat[:, :1].conj(), hat[:, :1] * hat[:, 1:2] * hat[:, 1:2].conj())
        return torch.cat((*first, hat[:, 1:2] * hat[:, 1:-1] * hat[:, 2:].conj()), 1)
    return spectrum


def dihedral(n):
    """F(rho_1 o rho_j) by one product with the matrices of the tensor products: no Clebsch-Gordan matrices."""
    def rho(j):
        angle = 2 * math.pi * j / n * torch.arange(n, dtype=torch.float64)
        c, s = torch.cos(angle), torch.sin(angle)
        turns = torch.stack((c, -s, s, c), 1).reshape(n, 2, 2)
        return torch.cat((turns, turns * torch.tensor([1.0, -1.0], dtype=torch.float64)))
    planes = torch.stack([rho(j) for j in range(1, (n - 1) // 2 + 1)], 1)
    pairs = torch.einsum("gij,gpkl->gpikjl", planes[:, 0], planes).reshape(2 * n, -1)
    planes = planes.reshape(2 * n, -1)
    cast = {d: (planes.to(d), pairs.to(d)) for d in (torch.float32, torch.float64)}

    def spectrum(f):
        of_planes, of_pairs = cast[f.dtype]
        hat = (f @ of_planes).reshape(len(f), -1, 2, 2)
        both = (f @ of_pairs).reshape(len(f), -1, 4, 4)
        trivial = f.sum(1, keepdim=True)
        one = hat[:, 0]
        apart = torch.einsum("bij,bpkl->bpikjl", one, hat).reshape(both.shape)
        return torch.cat((trivial ** 3, trivial * (one.mT @ one).flatten(1), (both.mT @ apart).flatten(1)), 1)
    return spectrum


def plain(case):
    n = int(case.group[1:])
    if not selective(case) or n < (2 if case.group[0] == "C" else 3):
        return None
    return peer_of(case, (cyclic if case.group[0] == "C" else dihedral)(n))


PEERS = {"bispectrum": library, "torch": plain}
