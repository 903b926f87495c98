"""The daemon under test: the release build, a process of ours, asked over its HTTP interface."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PATIENCE_S = 20.0
HTTP_TIMEOUT_S = 10.0


class Refused(Exception):
    """The daemon's own words for why not."""


class Daemon:
    """Runs from `with` to its end; what it writes stays in `directory`."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.program = program
        self.directory = directory
        self.url = ""

    def __enter__(self) -> "Daemon":
        self.directory.mkdir(parents=True, exist_ok=True)
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        settings = ["http.listen=127.0.0.1:0", "grpc.listen=127.0.0.1:0", "log.level=warn"]
        settings.append(f"recording.dir={self.directory / 'recordings'}")
        command = [str(self.program), "serve", "--ready-file", str(ready)]
        command += [word for setting in settings for word in ("--set", setting)]
        with open(self.directory / "daemon.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.url = "http://" + json.loads(ready.read_text())["http"]
                return self
            except (OSError, ValueError):
                time.sleep(0.02)
        self.__exit__()
        raise RuntimeError(f"the daemon was not ready; its log is {self.directory / 'daemon.log'}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, verb: str, path: str, body: object = None) -> dict:
        """One request; `Refused` where the answer is an error."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=verb)
        try:
            with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                raise Refused(json.loads(text)["message"]) from None
            except (ValueError, KeyError):
                raise Refused(f"{error.code} {error.reason}") from None

    def seat(self, room: str, leg: str, offer: str) -> dict:
        return self.ask("POST", "/v1/legs", {"conferenceId": room, "callId": leg, "sdp": offer})

    def leg(self, leg: str) -> dict:
        return self.ask("GET", f"/v1/legs/{leg}")

    def change_room(self, room: str, **change: object) -> None:
        self.ask("PATCH", f"/v1/conferences/id/{urllib.parse.quote(room, safe='')}", change)

    def clear(self, room: str) -> None:
        self.ask("DELETE", f"/v1/conferences/id/{urllib.parse.quote(room, safe='')}")
