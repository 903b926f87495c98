"""One party of a call: a socket, its offer, the RTP it sends and the RTP it gets."""

import socket
import struct

from .codecs import Codec, Payloads

RTP_HEADER = struct.Struct("!BBHII")
VERSION_2 = 0x80
MARKER = 0x80
RECEIVE_BYTES = 4096
RECEIVE_BUFFER_BYTES = 1 << 20


class Party:
    """Sends `payloads`, one a packet time, `None` being a packet that gets lost on its way; keeps what it is sent."""

    def __init__(self, codec: Codec, payloads: Payloads = ()) -> None:
        self.codec = codec
        self.payloads = payloads
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.remote = ("127.0.0.1", 0)
        self.packets: list[bytes] = []
        self.last_arrival: float | None = None

    def offer(self) -> str:
        codec, port = self.codec, self.socket.getsockname()[1]
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        lines += [f"m=audio {port} RTP/AVP {codec.payload_type}"]
        lines += [f"a=rtpmap:{codec.payload_type} {codec.rtpmap}"]
        lines += [f"a=fmtp:{codec.payload_type} {codec.fmtp}"] if codec.fmtp else []
        lines += [f"a=ptime:{codec.ptime_ms}", "a=rtcp-mux", "a=sendrecv"]
        return "".join(f"{line}\r\n" for line in lines)

    def accept(self, answer: str) -> None:
        media = next(line for line in answer.splitlines() if line.startswith("m=audio "))
        self.remote = ("127.0.0.1", int(media.split()[1]))

    def send(self, index: int) -> None:
        payload = self.payloads[index]
        if payload is None:
            return
        codec = self.codec
        marker = MARKER if index == 0 else 0
        timestamp = index * codec.packet_clock
        header = RTP_HEADER.pack(VERSION_2, marker | codec.payload_type, index, timestamp, id(self) & 0xFFFFFFFF)
        self.socket.sendto(header + payload, self.remote)

    def receive(self, now: float) -> None:
        """Takes all that has come."""
        self.last_arrival = now
        while True:
            try:
                self.packets.append(self.socket.recv(RECEIVE_BYTES))
            except BlockingIOError:
                return

    def heard(self) -> list[bytes | None]:
        """The payloads that came, each where its timestamp says, from the first to the last; `None` is a hole."""
        codec = self.codec
        placed: dict[int, bytes] = {}
        first = None
        for packet in self.packets:
            _, kind, _, timestamp, _ = RTP_HEADER.unpack_from(packet)
            if kind & 0x7F != codec.payload_type:
                continue
            first = timestamp if first is None else first
            # Signed, as one that overtook the first stands before it.
            since = (timestamp - first + (1 << 31)) % (1 << 32) - (1 << 31)
            placed[since // codec.packet_clock] = packet[RTP_HEADER.size :]
        if not placed:
            return []
        return [placed.get(at) for at in range(min(placed), max(placed) + 1)]

    def close(self) -> None:
        self.socket.close()
