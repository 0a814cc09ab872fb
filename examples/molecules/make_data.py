#!/usr/bin/env python3
"""Makes the molecule files of examples/data from public extracts of QM9.

    make_data.py FOLDER [OUT] [--all]

FOLDER holds qm9_smiles_133247.smi.gz (SMILES in QM9's order) and qm9_7500_all_properties.csv.gz
(7,500 rows of the property table); examples/data/README.md says where they are from. Needs RDKit and
NumPy (pip install rdkit numpy) and is run once: the program reads what it wrote.

Written to OUT (default: examples/data beside this script), NPY files, gzipped:

    qm9-train-graphs.npy.gz      u8  [40000, 9, 9]  molecules of the SMILES file
    qm9-table-graphs.npy.gz      u8  [7484, 9, 9]   molecules of the property table
    qm9-table-properties.npy.gz  f32 [7484, 6]      homo, lumo, gap (hartree), mu (debye),
                                                    alpha (bohr^3), cv (cal / mol K)

A molecule is a symmetric matrix of its heavy atoms. Diagonal: 0 no atom, 1 C, 2 N, 3 O, 4 F; atoms stand
first, absent ones last. Elsewhere: 0 no bond, 1 single, 2 double, 3 triple, 4 aromatic (RDKit's model).
Hydrogens are not kept. Charged molecules, several in one row, single atoms and more than 9 heavy atoms
are left out. No
training molecule has the graph of another one or of a molecule of the table. --all keeps every one of
them instead of 40,000 drawn with a fixed seed.
"""
import argparse
import csv
import gzip
import io
import pathlib

import numpy
from rdkit import Chem, RDLogger

NODES = 9
TRAINING = 40000
SEED = 1
ATOMS = {"C": 1, "N": 2, "O": 3, "F": 4}
BONDS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
    Chem.BondType.AROMATIC: 4,
}
PROPERTIES = ["homo", "lumo", "gap", "mu", "alpha", "cv"]


def graph_of(smiles):
    """The matrix of a SMILES, or None for what is left out."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not 2 <= molecule.GetNumAtoms() <= NODES:
        return None
    if len(Chem.GetMolFrags(molecule)) > 1:
        return None
    graph = numpy.zeros((NODES, NODES), numpy.uint8)
    for atom in molecule.GetAtoms():
        if atom.GetFormalCharge() or atom.GetSymbol() not in ATOMS:
            return None
        graph[atom.GetIdx(), atom.GetIdx()] = ATOMS[atom.GetSymbol()]
    for bond in molecule.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        graph[i, j] = graph[j, i] = BONDS[bond.GetBondType()]
    return graph


def key_of(graph):
    """A text that isomorphic graphs share: tautomers that differ in hydrogens alone have one."""
    molecule = Chem.RWMol()
    symbols = {number: symbol for symbol, number in ATOMS.items()}
    types = {number: bond for bond, number in BONDS.items()}
    count = int(numpy.count_nonzero(numpy.diagonal(graph)))
    for i in range(count):
        atom = Chem.Atom(symbols[int(graph[i, i])])
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for i in range(count):
        for j in range(i):
            if graph[i, j]:
                molecule.AddBond(i, j, types[int(graph[i, j])])
    Chem.FastFindRings(molecule)
    return Chem.MolToSmiles(molecule)


def save(path, array):
    """An NPY file, gzipped without a name or a time, so that the same data give the same bytes."""
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.ascontiguousarray(array))
    with open(path, "wb") as file:
        with gzip.GzipFile("", "wb", 9, file, 0) as packed:
            packed.write(buffer.getvalue())
    print(f"{path}: {array.shape}, {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    default = pathlib.Path(__file__).parent.parent / "data"
    parser.add_argument("out", type=pathlib.Path, nargs="?", default=default)
    parser.add_argument("--all", action="store_true", help="every molecule, not 40,000 of them")
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")

    graphs, properties, seen = [], [], set()
    with gzip.open(arguments.folder / "qm9_7500_all_properties.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            graph = graph_of(row["smiles"])
            if graph is not None:
                graphs.append(graph)
                properties.append([float(row[name]) for name in PROPERTIES])
                seen.add(key_of(graph))
    arguments.out.mkdir(parents=True, exist_ok=True)
    save(arguments.out / "qm9-table-graphs.npy.gz", numpy.stack(graphs))
    save(arguments.out / "qm9-table-properties.npy.gz", numpy.array(properties, numpy.float32))

    graphs = []
    with gzip.open(arguments.folder / "qm9_smiles_133247.smi.gz", "rt") as file:
        for line in file:
            graph = graph_of(line.strip())
            key = graph is not None and key_of(graph)
            if key and key not in seen:
                seen.add(key)
                graphs.append(graph)
    print(f"{len(graphs)} molecules outside the table")
    if not arguments.all:
        drawn = numpy.random.Generator(numpy.random.PCG64(SEED)).permutation(len(graphs))
        graphs = [graphs[i] for i in sorted(drawn[:TRAINING])]
    save(arguments.out / "qm9-train-graphs.npy.gz", numpy.stack(graphs))


if __name__ == "__main__":
    main()
