"""Do the tests notice? Makes small changes to a source file, one at a time, and runs its tests.

    python tests/mutants.py kernels/tanh.py --count 10 --seed 0
    python tests/mutants.py kernels/tile.py --tests tests/test_matmul.py
    python tests/mutants.py kernels/tanh.py --line 31            all changes of a line

Works in a copy of the tree, with a cache of compiled kernels of its own. Changes are comparisons,
`+ - * /`, `and`, `or`, `not`, numbers, True and False, statements left out, arguments swapped. A
change that all tests pass has survived: either a test is missing, or the change makes no difference
(a faster way, a guess at the work, a message), which is for a person to say. Exit code 0 if none
survived, 1 if some did, 2 if nothing could be tried.
"""

import argparse
import ast
import contextlib
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# Whose tests have another name.
MIRRORS = {
    "kernels/constants.py": ["tests/test_functions.py", "tests/test_tanh.py"],
    "kernels/compiler/inline.py": ["tests/test_kernel.py"],
    "kernels/compiler/jit.py": ["tests/test_kernel.py"],
    "kernels/compiler/lanes.py": ["tests/test_simd.py"],
    "kernels/compiler/permute.py": ["tests/test_simd.py"],
    "kernels/fused.py": ["tests/test_fuse.py"],
    "kernels/runtime/intrinsics.py": ["tests/test_threads.py"],
    "kernels/sparse_tile.py": ["tests/test_sparse.py"],
    "kernels/tile.py": ["tests/test_matmul.py"],
    "kernels/philox.py": ["tests/test_dropout.py", "tests/test_gaussian_noise.py"],
    "layers/at_random.py": ["tests/test_layers_dropout.py", "tests/test_gaussian_noise.py"],
    "layers/batch.py": ["tests/test_batch.py", "tests/test_linear.py", "tests/test_arithmetic.py"],
    "layers/cross_entropy.py": ["tests/test_losses.py"],
    "layers/losses.py": ["tests/test_weighted_losses.py", "tests/test_weighted.py"],
    "layers/node.py": ["tests/test_graph.py"],
    "layers/one_pass.py": ["tests/test_losses.py"],
    "layers/order.py": ["tests/test_graph.py"],
    "layers/sharing.py": ["tests/test_graph.py"],
    "layers/module.py": ["tests/test_layers_api.py", "tests/test_weighted_losses.py"],
    "layers/summary.py": ["tests/test_graph.py"],
    "jitprop/training/files.py": ["tests/test_checkpoints.py"],
}
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
}  # fmt: skip
LEFT_OUT = (ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Expr, ast.Raise, ast.Return)


class Change(NamedTuple):
    """One mutant: `source` is all of the file."""

    line: int
    before: str
    after: str
    source: str


def variants(node: ast.AST) -> Iterator[ast.AST | str]:
    """Yield what may stand in the place of a node: another one, or text."""

    def like(**fields) -> ast.AST:
        other = copy.copy(node)
        vars(other).update(fields)
        return other

    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield like(ops=[*ops[:i], COMPARISONS[type(op)](), *ops[i + 1 :]])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield like(op=OPERATORS[type(op)]())
        case ast.BoolOp(op=op):
            yield like(op=ast.And() if isinstance(op, ast.Or) else ast.Or())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield like(value=not value)
        case ast.Constant(value=int(value)):
            yield from (like(value=value + 1), like(value=value - 1))
        case ast.Constant(value=float(value)):
            yield like(value=2 * value if value else 1.0)
        case ast.IfExp(body=body, orelse=orelse):
            yield like(body=orelse, orelse=body)
        case ast.Call(args=args):
            for i in range(len(args) - 1):
                if not any(isinstance(arg, ast.Starred) for arg in args[i : i + 2]):
                    yield like(args=[*args[:i], args[i + 1], args[i], *args[i + 2 :]])
    if isinstance(node, LEFT_OUT):
        yield "pass"


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree that run: no docstrings, annotations, imports, messages."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    yield node
    for name, field in ast.iter_fields(node):
        if name not in ("annotation", "pattern", "returns"):
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST):
                    yield from nodes(child)


def changes(source: str) -> list[Change]:
    """Return every change there is, from top to bottom."""
    data = source.encode()
    lines = [0]
    for text in data.splitlines(keepends=True):
        lines.append(lines[-1] + len(text))
    found = {}
    for node in nodes(ast.parse(source)):
        for other in variants(node):
            start = lines[node.lineno - 1] + node.col_offset
            end = lines[node.end_lineno - 1] + node.end_col_offset
            text = (
                other if isinstance(other, str) else ast.unparse(ast.fix_missing_locations(other))
            )
            before = data[start:end].decode()
            new = f"({text})" if isinstance(node, ast.expr) else text
            result = (data[:start] + new.encode() + data[end:]).decode()
            if isinstance(other, str) or ast.dump(other) != ast.dump(node):
                found[result] = Change(node.lineno, before, text, result)
    return sorted(found.values(), key=lambda change: change.line)


def mirror(path: str) -> list[str]:
    """Return the test files of a source file."""
    name = Path(path).stem
    names = MIRRORS.get(path) or [
        *([f"tests/test_layers_{name}.py"] if path.startswith("layers/") else []),
        f"tests/test_{name}.py",
    ]
    return [test for test in names if (ROOT / test).exists()]


def copy_tree(target: Path) -> None:
    """Copy what git knows, or would."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for name in listed.decode().split("\0"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def passes(tree: Path, tests: list[str], limit: float | None) -> bool:
    """Return whether the tests pass within `limit` seconds, in which they may crash as well."""
    own = {
        "NUMBA_CACHE_DIR": str(tree / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",  # two changes within a second could be of one size
        "PYTHONPATH": str(tree),
        "TMPDIR": str(tree / "tmp"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env=os.environ | own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(limit) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:  # and whatever it has started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def shown(text: str) -> str:
    """Return a line of it."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def parse(arguments: list[str] | None) -> argparse.Namespace:
    description, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python tests/mutants.py",
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="FILE", help="such as kernels/tanh.py")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="changes (default: 10)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which (default: 0)")
    parser.add_argument("--line", type=int, metavar="N", help="all changes of this line instead")
    parser.add_argument("--tests", metavar="FILE,FILE", help="default: those of the file's name")
    args = parser.parse_args(arguments)
    path = Path(args.path).resolve()
    if not (path.is_file() and path.is_relative_to(ROOT) and path.suffix == ".py"):
        parser.error(f"{args.path} is no source file of {ROOT}")
    args.path = path.relative_to(ROOT).as_posix()
    args.tests = args.tests.split(",") if args.tests else mirror(args.path)
    if not args.tests:
        parser.error(f"{args.path} has no tests of its name: --tests FILE,FILE says which to run")
    if missing := [test for test in args.tests if not (ROOT / test.partition("::")[0]).exists()]:
        parser.error(f"argument --tests: there is no {missing[0]}")
    return args


def main(arguments: list[str] | None = None) -> int:
    """Try the changes that are asked for, print the table, return the exit code."""
    args = parse(arguments)
    every = changes((ROOT / args.path).read_text())
    if args.line:
        chosen = [change for change in every if change.line == args.line]
    else:
        chosen = random.Random(args.seed).sample(every, min(args.count, len(every)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        (tree / "tmp").mkdir()
        start = time.perf_counter()
        if not passes(tree, args.tests, None):
            print(f"mutants: {' '.join(args.tests)} fail as they are", file=sys.stderr)
            return 2
        limit = 10 + 3 * (time.perf_counter() - start)
        survivors = 0
        for change in sorted(chosen):
            (tree / args.path).write_text(change.source)
            start = time.perf_counter()
            survived = passes(tree, args.tests, limit)
            survivors += survived
            seconds = time.perf_counter() - start
            what = f"{shown(change.before)}  ->  {shown(change.after)}"
            verdict = "SURVIVED" if survived else "killed"
            print(f"{verdict:9}{seconds:6.1f} s  {args.path}:{change.line}  {what}", flush=True)
    print(f"{survivors} of {len(chosen)} survived, {len(every)} changes there are")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
