"""The ten calls, each by its gRPC name with its HTTP form: what a switch does with a room from beginning to end.

A call is made through a face, `face(name, ids, body)`, which gives `(status, body)`: the status of HTTP and JSON.
"""

from collections.abc import Callable

Face = Callable[[str, dict, dict | None], tuple[int, object]]

ROOM = "board meeting"
IDS = {"conferenceId": ROOM}


def offer(port: int) -> str:
    """Of PCMU and Opus, at a port where nobody listens: no sound is needed here."""
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0 96 101",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "",
    ]
    return "\r\n".join(lines)


TEN_CALLS: list[tuple[str, dict, dict | None]] = [
    ("CreateLeg", {}, {"conferenceId": ROOM, "callId": "ann", "cli": "+4670000001", "sdp": offer(40_000)}),
    ("CreateLeg", {}, {"conferenceId": ROOM, "callId": "bob", "cli": "+4670000002", "sdp": offer(40_002), "custom": {"desk": 7}}),
    ("StartRecording", IDS, {"destinationUrl": "file://meetings/board.wav"}),
    ("CommandParticipant", IDS | {"callId": "bob"}, {"command": "mute"}),
    ("ChangeLeg", {"callId": "ann"}, {"onhold": True, "moh": "music1"}),
    ("GetConference", IDS, None),
    ("KickParticipant", IDS | {"callId": "bob"}, None),
    ("StopRecording", IDS, None),
    ("EndConference", IDS, None),
    ("StreamEvents", {"after": 0}, None),
]

# What goes wrong has one form as well: none of these may change anything.
REFUSED: list[tuple[str, dict, dict | None]] = [
    ("GetLeg", {"callId": "nobody"}, None),
    ("GetConference", {"conferenceId": "nowhere"}, None),
    ("CreateLeg", {}, {"conferenceId": "x" * 65, "sdp": offer(40_004)}),
    ("CreateLeg", {}, {"conferenceId": ROOM, "callId": "ann", "sdp": "no such thing"}),
    ("CommandParticipant", IDS | {"callId": "ann"}, {"command": "dance"}),
    ("SendDigits", {"callId": "ann"}, {"digits": "12E"}),
]

# What is told when all is over, in either order.
LAST_EVENTS = {"room.ended", "recording.available"}


def is_over(events: list[dict]) -> bool:
    """Whether nothing more is to come."""
    return LAST_EVENTS <= {event["type"] for event in events}


def live(face: Face) -> list[tuple[str, int, object]]:
    """What each call was answered with: the ten, then those that are refused."""
    answers = []
    for name, ids, body in TEN_CALLS + REFUSED:
        status, answer = face(name, ids, body)
        answers.append((name, status, answer))
    return answers
