"""`python -m quality --daemon PROGRAM --directory DIR [table…]`: prints the tables, exits 1 where a gate fails."""

import argparse
import sys
import time
from pathlib import Path

from . import corpus, pairs
from .codecs import ALL
from .daemon import Daemon


def main() -> int:
    parser = argparse.ArgumentParser(prog="quality", description="Proof of sound.")
    parser.add_argument("--daemon", type=Path, required=True, help="the program `mixminus`")
    parser.add_argument("--directory", type=Path, required=True, help="where the daemon may write")
    parser.add_argument("--codecs", default="", help=f"only these: {','.join(codec.name for codec in ALL)}")
    parser.add_argument("tables", nargs="*", help="pairs")
    arguments = parser.parse_args()
    start = time.monotonic()
    tables = []
    with Daemon(arguments.daemon, arguments.directory) as daemon:
        print_clips()
        tables.append(pairs.table(daemon, [name for name in arguments.codecs.split(",") if name]))
        tables[-1].print()
    failures = [failure for table in tables for failure in table.failures()]
    print(f"{time.monotonic() - start:.0f} s")
    for failure in failures:
        print(f"FAILS: {failure}")
    return 1 if failures else 0


def print_clips() -> None:
    print("Clips, each after 0.6 s of silence, at an active level of -26 dBFS:")
    for clip in dict.fromkeys(corpus.WIDE + corpus.NARROW):
        span = f"{clip.start_s:.0f}-{clip.start_s + clip.seconds:.0f} s"
        print(f"  {clip.name:4} {clip.package}: {', '.join(clip.files)}, {span}")


if __name__ == "__main__":
    sys.exit(main())
