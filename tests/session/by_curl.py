"""The HTTP face, asked by curl."""

import json
import subprocess
from urllib.parse import quote

from .daemon import KEY, SECRET, Daemon
from .life import is_over

# Verb and path of each call, as they stand in the control contract.
ROUTES = {
    "CreateLeg": ("POST", "/v1/legs"),
    "GetLeg": ("GET", "/v1/legs/{callId}"),
    "ChangeLeg": ("PATCH", "/v1/legs/{callId}"),
    "SendDigits": ("POST", "/v1/legs/{callId}/dtmf"),
    "GetConference": ("GET", "/v1/conferences/id/{conferenceId}"),
    "CommandParticipant": ("PATCH", "/v1/conferences/id/{conferenceId}/{callId}"),
    "KickParticipant": ("DELETE", "/v1/conferences/id/{conferenceId}/{callId}"),
    "EndConference": ("DELETE", "/v1/conferences/id/{conferenceId}"),
    "StartRecording": ("POST", "/v1/conferences/id/{conferenceId}/recording"),
    "StopRecording": ("DELETE", "/v1/conferences/id/{conferenceId}/recording"),
    "StreamEvents": ("GET", "/v1/events?after={after}"),
}


def face(daemon: Daemon):
    """Asks this daemon."""

    def ask(name: str, ids: dict, body: dict | None) -> tuple[int, object]:
        verb, path = ROUTES[name]
        url = f"http://{daemon.http}" + path.format(**{key: quote(str(value), safe="") for key, value in ids.items()})
        command = ["curl", "--silent", "--show-error", "--user", f"{KEY}:{SECRET}", "--request", verb, url]
        if body is not None:
            command += ["--header", "content-type: application/json", "--data", json.dumps(body)]
        if name == "StreamEvents":
            return 200, events(command)
        command += ["--max-time", "10", "--write-out", "\n%{http_code}"]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        text, status = done.stdout.rsplit("\n", 1)
        return int(status), json.loads(text) if text else {}

    return ask


def events(command: list[str]) -> list[dict]:
    """Server-sent events, to the end of the session."""
    told = []
    with subprocess.Popen(command + ["--no-buffer", "--max-time", "20"], stdout=subprocess.PIPE, text=True) as curl:
        for line in curl.stdout:
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
                if is_over(told):
                    curl.terminate()
                    break
    return told
