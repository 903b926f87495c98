"""`python -m quality --programs DIR --directory DIR [TABLE…]`: prints the tables, exits 1 where a gate fails."""

import argparse
import sys
import time
from pathlib import Path

from . import concealment, corpus, frames, harness, loss, opus_fec, pairs, talkers, work
from .codecs import ALL
from .daemon import Daemon
from .peers import NetEq
from .pipe import Pipe, Playout

TABLES = ("harness", "pairs", "ilbc", "g729", "opus", "loss", "talkers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="quality", description="Proof of sound.")
    parser.add_argument("--programs", type=Path, required=True, help="where cargo has put its release build")
    parser.add_argument("--directory", type=Path, required=True, help="where the daemon may write")
    parser.add_argument("--neteq", type=Path, required=True, help="the program of `neteq_peer`")
    parser.add_argument("--codecs", default="", help=f"pairs of these only: {','.join(codec.name for codec in ALL)}")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"only these: {' '.join(TABLES)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    start = time.monotonic()
    print_inputs()
    failures = []
    with work.workers() as pool, Daemon(arguments.programs / "mixminus", arguments.directory) as daemon:
        pipe = Pipe(arguments.programs / "examples" / "codec_pipe")
        playout = Playout(arguments.programs / "examples" / "playout_pipe")
        codecs = [name for name in arguments.codecs.split(",") if name]
        for table in arguments.tables or TABLES:
            if table == "loss":
                failures += concealment.failures(pipe, playout, NetEq(arguments.neteq), pool)
            elif table == "talkers":
                failures += talkers.failures(arguments.programs / "examples" / "activity_pipe", pool)
            else:
                failures += run(table, daemon, pipe, pool, codecs)
    print(f"\n{time.monotonic() - start:.0f} s.", "Every gate holds." if not failures else "These fail:")
    for failure in failures:
        print(f"  {failure}")
    return 1 if failures else 0


def run(name: str, daemon: Daemon, pipe: Pipe, pool: work.Executor, codecs: list[str]) -> list[str]:
    """Prints one table, and returns what fails in it."""
    match name:
        case "harness":
            return harness.failures(daemon, pool)
        case "pairs":
            table = pairs.table(daemon, pool, codecs)
        case "ilbc":
            table = frames.ilbc(pipe, pool)
        case "g729":
            table = frames.g729(pipe, pool)
        case _:
            table = opus_fec.table(daemon, pipe, pool)
    table.print()
    return table.failures()


def print_inputs() -> None:
    """All that a run depends on besides the programs."""
    print(
        f"Clips, each with {corpus.LEAD_S} s of silence before it, at {corpus.ACTIVE_LEVEL_DBFS:.0f} dBFS while active:"
    )
    for clip in dict.fromkeys(corpus.WIDE + corpus.NARROW):
        span = f"{clip.start_s:.0f}-{clip.start_s + clip.seconds:.0f} s"
        print(f"  {clip.name:4} {clip.package}: {', '.join(clip.files)}, {span}")
    print(f"Seeds of lost and late packets: {', '.join(map(str, loss.SEEDS))}.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
