"""Rows of one channel, sorted by NumPy and by PyTorch."""
import numpy
import torch

from peer import Peer, uniform


def peer_of(case, sort):
    if case.direction != "forward" or case.channels != 1:
        return None
    return Peer(lambda x: lambda: sort(x), [uniform(case.batch, case.rows)])


def by_numpy(case):
    peer = peer_of(case, lambda x: torch.from_numpy(numpy.sort(x.numpy(), axis=1)))
    if peer:
        peer.version = f"numpy {numpy.__version__}"
    return peer


def by_torch(case):
    return peer_of(case, lambda x: torch.sort(x, dim=1).values)


PEERS = {"numpy": by_numpy, "torch": by_torch}
