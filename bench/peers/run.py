#!/usr/bin/env python3
"""PyTorch and escnn beside equinv-bench: README.md."""
import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time

import torch


def case_parser():
    """The flags of a case that a peer here reads; defaults are those of equinv-bench."""
    p = argparse.ArgumentParser()
    p.add_argument("--op")
    p.add_argument("--kind", default="")
    p.add_argument("--group", default="C4")
    p.add_argument("--fields-in", type=int)
    p.add_argument("--fields-out", type=int, default=16)
    p.add_argument("--kernel", type=int, default=3)
    p.add_argument("--size", default="")
    p.add_argument("--stride", type=int, default=1)
    p.add_argument("--dilation", type=int, default=1)
    p.add_argument("--padding", type=int)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--batches", type=lambda text: list(map(int, text.split(","))))
    p.add_argument("--pass", dest="direction", default="forward")
    p.add_argument("--k", type=int, default=64)
    p.add_argument("--rows", type=int, default=1)
    p.add_argument("--channels", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    return p


def named_cases(bench):
    lines = subprocess.run([bench, "list"], check=True, capture_output=True, text=True).stdout
    cases = {}
    for line in lines.splitlines():
        name, *flags = shlex.split(line)
        case, unknown = case_parser().parse_known_args(flags)
        if unknown or not case.op:
            continue
        model = case.op in ("extract", "train-step")
        case.name = name
        case.fields_in = case.fields_in or (1 if model or case.op in ("conv-lift", "bispectrum") else 16)
        size = case.size or ("1x1" if case.op in ("project", "bispectrum") else "28x28" if model else "14x14")
        case.height, case.width = map(int, size.split("x"))
        if case.padding is None:
            case.padding = (case.kernel - 1) // 2
        cases[name] = [argparse.Namespace(**{**vars(case), "batch": n}) for n in case.batches or [case.batch]]
    return cases


def time_peer(step, seconds):
    """Median CPU time of a call."""
    samples = []
    end = time.process_time() + seconds
    while time.process_time() < end or len(samples) < 3:
        start = time.process_time()
        step()
        samples.append(time.process_time() - start)
    return statistics.median(samples)


def time_own(options, case):
    command = [options.bench, "perf", case.name, "--batches", str(case.batch), "--threads", "1", "--clock", "cpu",
               "--json", "-",
               "--seconds", str(options.seconds), "--check-seconds", str(options.check_seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def finders_of(op):
    """Modules are wanted only by the cases that run them: escnn and bispectrum may be in different places."""
    if op == "bispectrum":
        import spectrum as module
    elif op == "rowsort":
        import rows as module
    elif op == "project":
        import projections as module
    elif op == "orbit-distance":
        import assignment as module
    elif op.startswith("conv"):
        import layers as module
    else:
        import networks as module
    return module.PEERS


def run_case(options, case, out):
    finders = finders_of(case.op)
    peers = {name: find(case) for name, find in finders.items()
             if not options.peer or name in options.peer}
    peers = {name: peer for name, peer in peers.items() if peer}
    if not peers:
        return
    errors = {name: peer.error() for name, peer in peers.items()}
    for peer in peers.values():
        for _ in range(3):
            peer.step()
    own, times = [], {name: [] for name in peers}
    for _ in range(options.rounds):
        own.append(time_own(options, case))
        for name, peer in peers.items():
            times[name].append(time_peer(peer.step, options.seconds))
    for name in peers:
        row = dict(own[0])
        row["peer"] = name
        row["time_s"] = statistics.median(r["time_s"] for r in own)
        row["peer_time_s"] = statistics.median(times[name])
        row["ratio"] = row["peer_time_s"] / row["time_s"]
        row["max_err"] = max(r["max_err"] for r in own)
        row["peer_max_err"] = errors[name]
        row["best_s"] = min(r["best_s"] for r in own)
        row["peer_best_s"] = min(times[name])
        row["samples"] = options.rounds
        row["peer_impl"] = getattr(peers[name], "version", f"torch {torch.__version__}")
        print(f"{case.name:<32} {case.batch:>5} {row['time_s'] * 1e3:9.3f} ms  {name:<11}"
              f"{row['peer_time_s'] * 1e3:9.3f} ms  ratio {row['ratio']:5.2f}"
              f"  max_err {row['max_err']:.1e}  peer {errors[name]:.1e}", flush=True)
        if out:
            out.write(json.dumps(row) + "\n")
            out.flush()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("case", nargs="*", help="names that `equinv-bench list` shows")
    p.add_argument("--all", action="store_true", help="every network, and the convolutions of goals.txt")
    p.add_argument("--bench", default="build/bin/equinv-bench")
    p.add_argument("--peer", action="append", help="only this peer; may be repeated")
    p.add_argument("--batch", action="append", type=int, help="only this batch size of a case; may be repeated")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.5, help="of each side in a round")
    p.add_argument("--check-seconds", type=float, default=1, help="as equinv-bench takes it")
    p.add_argument("--json", type=argparse.FileType("a"), help="append one object a row; -: stdout")
    options = p.parse_args()
    torch.set_num_threads(1)
    cases = named_cases(options.bench)
    names = options.case + [n for n in cases if options.all and n.startswith(("net-", "p4-", "p4m-"))]
    if not names:
        p.error("nothing to run: expected names of cases or --all")
    for name in names:
        if name not in cases:
            sys.exit(f'"{name}" is no case of {options.bench} list that a peer here can read')
        for case in cases[name]:
            if not options.batch or case.batch in options.batch:
                run_case(options, case, options.json)


if __name__ == "__main__":
    main()
