"""The daemon that a session is lived with: a process of ours, new for each, with a key."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

PATIENCE_S = 30.0
KEY, SECRET = "switch", base64.b64encode(b"of the session, and of nothing else").decode()


class Daemon:
    """Runs from `with` to its end; what it writes stays in `directory`, which is its own."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.program = program
        self.directory = directory
        self.http = ""
        self.grpc = ""

    def __enter__(self) -> "Daemon":
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        keys = self.directory / "keys"
        keys.touch(mode=0o600)
        keys.write_text(f"{KEY}:{SECRET}:control\n")
        ready = self.directory / "ready.json"
        settings = [
            "http.listen=127.0.0.1:0",
            "grpc.listen=127.0.0.1:0",
            # Of two daemons, each finds the ports it is first to ask for.
            "rtp.ports=29800-29899",
            "engine.threads=1",
            "log.level=warn",
            f"auth.keys_file={keys}",
            f"recording.dir={self.directory / 'recordings'}",
        ]
        command = [str(self.program), "serve", "--ready-file", str(ready)]
        command += [word for setting in settings for word in ("--set", setting)]
        with open(self.directory / "daemon.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                addresses = json.loads(ready.read_text())
                self.http, self.grpc = addresses["http"], addresses["grpc"]
                return self
            except (OSError, ValueError):
                time.sleep(0.02)
        self.__exit__()
        raise RuntimeError(f"the daemon was not ready; its log is {self.directory / 'daemon.log'}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
