"""`python -m session --program PROGRAM --directory DIRECTORY`: exits with 0 where both faces gave one life."""

import argparse
import sys
from pathlib import Path

from . import by_curl, by_grpc
from .compare import differences, in_order
from .daemon import Daemon
from .life import TEN_CALLS, live

parser = argparse.ArgumentParser(prog="session")
parser.add_argument("--program", type=Path, required=True)
parser.add_argument("--directory", type=Path, required=True)
arguments = parser.parse_args()

lives = []
for name, make_face in (("curl", by_curl.face), ("gRPC", by_grpc.face)):
    with Daemon(arguments.program, arguments.directory / name.lower()) as daemon:
        lives.append(live(make_face(daemon)))

found = []
for number, ((call, status, answer), (_, other_status, other_answer)) in enumerate(zip(*lives), start=1):
    if call == "StreamEvents":
        answer, other_answer = in_order(answer), in_order(other_answer)
    told = differences(answer, other_answer, call)
    if status != other_status:
        told.insert(0, f"{call} is {status} by curl and {other_status} by gRPC: {answer} {other_answer}")
    if number <= len(TEN_CALLS) and status >= 400:
        told.append(f"{call} is refused: {answer}")
    if number > len(TEN_CALLS) and status < 400:
        told.append(f"{call} is not refused: {answer}")
    print(f"{number:2}  {call:20} {status}  {'the same' if not told else 'NOT THE SAME'}")
    found += told
for sentence in found:
    print(sentence, file=sys.stderr)
sys.exit(1 if found else 0)
