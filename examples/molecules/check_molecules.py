#!/usr/bin/env python3
"""Judges the molecules of build/paper/molecules-steps.npy by RDKit, beside the program's own figures.

    check_molecules.py [FOLDER]        (default build/paper)

A step is a molecule for RDKit if it sanitises in one piece with hydrogens where the graph leaves room for
them; aromatic nitrogens may have one, which the graph does not say, so every choice is tried. Needs RDKit and
NumPy (pip install rdkit numpy). Exit code 1 if the two judges differ on more than 1 % of the steps.
"""
import itertools
import json
import pathlib
import sys

import numpy
from rdkit import Chem, RDLogger

SYMBOLS = {1: "C", 2: "N", 3: "O", 4: "F"}
BONDS = {
    1: Chem.BondType.SINGLE,
    2: Chem.BondType.DOUBLE,
    3: Chem.BondType.TRIPLE,
    4: Chem.BondType.AROMATIC,
}


def sanitises(graph, with_hydrogen):
    molecule = Chem.RWMol()
    count = int(numpy.count_nonzero(numpy.diagonal(graph)))
    aromatic = [bool((graph[i, :count] == 4).any()) for i in range(count)]
    for i in range(count):
        atom = Chem.Atom(SYMBOLS[int(graph[i, i])])
        atom.SetIsAromatic(aromatic[i])
        if i in with_hydrogen:
            atom.SetNumExplicitHs(1)
        molecule.AddAtom(atom)
    for i in range(count):
        for j in range(i):
            if graph[i, j]:
                molecule.AddBond(i, j, BONDS[int(graph[i, j])])
    if len(Chem.GetMolFrags(molecule)) != 1:
        return False
    try:
        Chem.SanitizeMol(molecule)
    except (Chem.MolSanitizeException, ValueError):
        return False
    return True


def is_molecule(graph):
    off = graph * (1 - numpy.eye(len(graph), dtype=graph.dtype))
    nitrogens = [i for i in range(len(graph)) if graph[i, i] == 2 and (off[i] == 4).sum() == 2]
    choices = itertools.chain.from_iterable(
        itertools.combinations(nitrogens, k) for k in range(len(nitrogens) + 1)
    )
    return any(sanitises(graph, choice) for choice in choices)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/paper")
    RDLogger.DisableLog("rdApp.*")
    steps = numpy.load(folder / "molecules-steps.npy")
    figures = json.loads((folder / "molecules.json").read_text())
    worst = 0.0
    for code, lines in zip(["raw", "sorted"], steps):
        inner = lines[:, 1:-1].reshape(-1, *lines.shape[-2:])
        share = sum(is_molecule(graph) for graph in inner) / len(inner)
        worst = max(worst, abs(share - figures["valid_" + code]))
        print(f"{code}: {share:.4f} by RDKit, {figures['valid_' + code]:.4f} by the program")
    return 0 if worst <= 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
