#!/usr/bin/env python3
"""The training step of the molecules' autoencoder in plain PyTorch beside examples/molecules: README.md."""
import argparse
import gzip
import json
import math
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy
import torch
from torch import nn
from torch.nn import functional

NODES, ATOM_TYPES, BOND_TYPES, FREQUENCIES = 9, 4, 5, 6
BATCH, CHANNELS, BLOCKS = 64, 32, 3
SLOPE, KL_WEIGHT, PEAK_RATE, MOST_GRADIENT = 0.1, 0.03, 3e-3, 1
OPERATIONS = {(1, 1): 2, (2, 1): 4, (2, 2): 9}
STEPS = 100
CHECK_EPOCHS = 10  # whose weights both sides rebuild molecules with: after one no bond comes back


# ---- layers, channels last; what comes in is symmetric, and 0 where no atom is ----------------------


class Linear(nn.Module):
    """weights [operations, in, out], in the order of equinv.h."""

    def __init__(self, order_in, c, order_out, o):
        super().__init__()
        operations = OPERATIONS[order_in, order_out]
        self.of, self.to = order_in, order_out
        self.weights = nn.Parameter(torch.randn(operations, c, o) * math.sqrt(2 / (operations * c)))
        self.bias = nn.Parameter(torch.zeros(order_out, o))

    def parts(self, *operations):
        """Weights of so many operations each, [operations in, out]; one gradient is put together from theirs."""
        size = self.weights.shape[1]
        return self.weights.flatten(0, 1).split([size * count for count in operations])

    def forward(self, x, mask):
        if self.of == 1:
            own, mean = self.parts(1, 1)
            return x @ own + (x.sum(1) * mask.share @ mean + self.bias).unsqueeze(1)
        rows = x.sum(2) * mask.share.unsqueeze(1)
        nodes = torch.cat((x.diagonal(dim1=1, dim2=2).mT, rows), 2)
        totals = nodes.sum(1) * mask.share
        if self.to == 1:
            node, total = self.parts(2, 2)
            return nodes @ node + (totals @ total + self.bias).unsqueeze(1)
        return self.pairs(x, nodes, totals)


class Products(Linear):
    """One product of the pairs, the others of what is fewer: nodes and samples."""

    def pairs(self, x, nodes, totals):
        pair, node_diagonal, node_both, total_diagonal, total = self.parts(1, 2, 2, 2, 2)
        diagonal = nodes @ node_diagonal + (totals @ total_diagonal + self.bias[0]).unsqueeze(1)
        node = nodes @ node_both + ((totals @ total + self.bias[1]) / 2).unsqueeze(1)
        y = x @ pair
        y += node.unsqueeze(1)
        y += node.unsqueeze(2)
        y.diagonal(dim1=1, dim2=2).add_(diagonal.mT)
        return y


class Stack(Linear):
    """The operations side by side, then one product, as published code does."""

    def pairs(self, x, nodes, totals):
        both = nodes.unsqueeze(1) + nodes.unsqueeze(2)
        of_node = torch.diag_embed(nodes.mT).movedim(1, 3)
        total = totals[:, None, None].expand_as(both)
        eye = torch.eye(NODES, dtype=x.dtype)[:, :, None]
        stack = torch.cat((x, of_node, both, total * eye, total), 3)
        return stack @ self.weights.flatten(0, 1) + self.bias[1] + eye * self.bias[0]


class Norm(nn.Module):
    """With the leaky ReLU, and 0 where no atom is."""

    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(CHANNELS))
        self.beta = nn.Parameter(torch.zeros(CHANNELS))

    def forward(self, x, mask):
        normed = functional.layer_norm(x, x.shape[-1:], self.gamma, self.beta)
        return functional.leaky_relu_(normed.mul_(mask.pairs), SLOPE)


class Tower(nn.Module):
    def __init__(self, linear):
        super().__init__()
        for i in range(BLOCKS):
            block = linear(2, CHANNELS, 2, CHANNELS)
            block.norm = Norm()
            self.add_module(str(i), block)
        self.norm = Norm()

    def forward(self, x, mask):
        for i in range(BLOCKS):
            block = getattr(self, str(i))
            x = x + block(block.norm(x, mask), mask)
        return self.norm(x, mask)


class Encoder(Tower):
    def __init__(self, linear):
        super().__init__(linear)
        self.add_module("in", linear(2, BOND_TYPES + ATOM_TYPES, 2, CHANNELS))
        self.head = linear(2, CHANNELS, 1, 2)

    def forward(self, graphs, mask):
        return self.head(super().forward(getattr(self, "in")(graphs, mask), mask), mask)


class Decoder(Tower):
    def __init__(self, linear):
        super().__init__(linear)
        self.register_buffer("frequencies", 2.0 ** (4 - torch.arange(FREQUENCIES, 0, -1)), persistent=False)
        self.spread = linear(1, 1 + 2 * FREQUENCIES, 1, CHANNELS)
        self.mix = linear(1, CHANNELS, 1, CHANNELS)
        self.lift = linear(2, CHANNELS, 2, CHANNELS)
        self.atoms = linear(2, CHANNELS, 1, ATOM_TYPES)
        self.bonds = linear(2, CHANNELS, 2, BOND_TYPES)

    def forward(self, codes, mask):
        z = codes.unsqueeze(2)
        angles = z * self.frequencies
        pairs = torch.stack((angles.sin(), angles.cos()), 3).flatten(2)
        waves = torch.cat((z, pairs), 2) * mask.nodes
        hidden = functional.leaky_relu(self.spread(waves, mask), SLOPE) * mask.nodes
        nodes = self.mix(hidden, mask) * mask.nodes
        outer = nodes.unsqueeze(1) * nodes.unsqueeze(2)
        x = super().forward(self.lift(outer, mask), mask)
        return self.atoms(x, mask), self.bonds(x, mask)


class Network(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.encoder, self.decoder = Encoder(linear), Decoder(linear)


# ---- molecules -------------------------------------------------------------------------------------


class Mask:
    """Which nodes are there [N, n, 1], which pairs [N, n, n, 1], one over the number of nodes [N, 1]."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.pairs = (nodes * nodes.mT).unsqueeze(3)
        self.share = 1 / nodes.sum(1)



class Molecules:
    """All of them as the network wants them, made once: the step only picks rows."""

    def __init__(self, path, count):
        with gzip.open(path) as file:
            cells = torch.from_numpy(numpy.load(file)[:count].astype(numpy.int64))
        atoms = cells.diagonal(dim1=1, dim2=2)
        there = atoms > 0
        self.mask = Mask(there.unsqueeze(2).float())
        eye = torch.eye(NODES, dtype=torch.bool)
        bonds = cells.masked_fill(eye, 0)
        planes = functional.one_hot(bonds, BOND_TYPES)[..., 1:]
        types = torch.diag_embed(functional.one_hot(atoms, ATOM_TYPES + 1)[..., 1:].mT).movedim(1, 3)
        self.graphs = torch.cat((planes, types, types.sum(3, keepdim=True)), 3).float()
        upper = torch.ones(NODES, NODES, dtype=torch.bool).triu(1)
        counts = there.unsqueeze(1) & there.unsqueeze(2) & upper
        self.atoms = torch.where(there, atoms - 1, -100)  # -100: left out
        self.bonds = bonds.masked_fill(~counts, -100)


# ---- the step --------------------------------------------------------------------------------------


class Peer:
    def __init__(self, linear, molecules, compiled=False):
        torch.manual_seed(1)
        self.molecules = molecules
        self.network = Network(linear)
        self.adam = torch.optim.Adam(self.network.parameters(), fused=True)
        self.order = torch.randperm(len(molecules.atoms)).split(BATCH)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.adam, PEAK_RATE, 1 << 20, pct_start=0.15, final_div_factor=400, cycle_momentum=False)
        self.done = 0
        if compiled:
            self.losses = torch.compile(self.losses)
        self.parameters = sum(p.numel() for p in self.network.parameters())

    def losses(self, index):
        m, network = self.molecules, self.network
        mask = Mask(m.mask.nodes[index])
        mean, log_variance = network.encoder(m.graphs[index], mask).unbind(2)
        codes = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        atoms, bonds = network.decoder(codes, mask)
        there = mask.nodes.squeeze(2)
        divergence = ((mean * mean + log_variance.exp() - 1 - log_variance) * there).sum() / (2 * there.sum())
        return (functional.cross_entropy(atoms.flatten(0, 1), m.atoms[index].flatten()),
                functional.cross_entropy(bonds.flatten(0, 2), m.bonds[index].flatten()), divergence)

    def step(self):
        self.adam.zero_grad()
        atoms, pairs, divergence = self.losses(self.order[self.done % len(self.order)])
        (atoms + pairs + KL_WEIGHT * divergence).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MOST_GRADIENT)
        self.adam.step()
        self.schedule.step()
        self.done += 1

    def time(self):
        """CPU time of a step."""
        start = time.process_time()
        for _ in range(STEPS):
            self.step()
        return (time.process_time() - start) / STEPS


# ---- our side --------------------------------------------------------------------------------------


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size, = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, about in json.loads(data[8:8 + size]).items():
        if name != "__metadata__" and about["dtype"] == "F32":
            first, last = (8 + size + at for at in about["data_offsets"])
            array = numpy.frombuffer(data[first:last], "<f4").reshape(about["shape"])
            tensors[name] = torch.from_numpy(array.copy())
    return tensors


def run_own(options, folder, epochs=1):
    command = [options.program, "--threads", "1", "--epochs", str(epochs), "--train", str(STEPS * BATCH),
               "--test", str(options.test), "--data", options.data, "--output", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    with open(f"{folder}/molecules.json") as file:
        return json.load(file)


def accuracies(network, weights, molecules):
    """Atoms and pairs that come back, by a peer that has our weights."""
    network.load_state_dict({name: weights[name].mT if name.endswith("weights") else weights[name]
                             for name in network.state_dict()})
    with torch.no_grad():
        codes = network.encoder(molecules.graphs, molecules.mask)[..., 0]
        logits = network.decoder(codes, molecules.mask)
    counts = []
    for given, labels in zip(logits, (molecules.atoms, molecules.bonds)):
        counts.append(float((given.argmax(-1) == labels)[labels >= 0].double().mean()))
    return counts


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--program", default="build/bin/equinv-molecules")
    p.add_argument("--data", default="examples/data")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--test", type=int, default=500, help="molecules that both sides rebuild with the same weights")
    p.add_argument("--compile", action="store_true", help="one more peer, by torch.compile; takes a minute or two")
    options = p.parse_args()
    torch.set_num_threads(1)
    molecules = Molecules(f"{options.data}/qm9-train-graphs.npy.gz", STEPS * BATCH)
    table = Molecules(f"{options.data}/qm9-table-graphs.npy.gz", options.test)
    peers = {"torch": Peer(Products, molecules), "torch-stack": Peer(Stack, molecules)}
    if options.compile:
        peers["torch-compile"] = Peer(Products, molecules, compiled=True)
    for peer in peers.values():
        peer.time()
    own, times = [], {name: [] for name in peers}
    with tempfile.TemporaryDirectory() as folder:
        trained = run_own(options, folder, CHECK_EPOCHS)
        weights = read_safetensors(f"{folder}/molecules.safetensors")
        for _ in range(options.rounds):
            own.append(run_own(options, folder))
            for name, peer in peers.items():
                times[name].append(peer.time())
    own_time = statistics.median(r["train_cpu_seconds"] for r in own) / STEPS
    for name, peer in peers.items():
        back = accuracies(peer.network, weights, table)
        peer_time = statistics.median(times[name])
        print(f"molecules-train {BATCH:>5}  {BATCH / own_time:8.0f}/s  {name:<13} {BATCH / peer_time:8.0f}/s  "
              f"ratio {peer_time / own_time:5.2f}  parameters {trained['parameters']}, {peer.parameters}  "
              f"atoms {trained['node_accuracy']:.4f}, {back[0]:.4f}  "
              f"pairs {trained['pair_accuracy']:.4f}, {back[1]:.4f}")


if __name__ == "__main__":
    main()
