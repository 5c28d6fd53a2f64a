"""Decoding a whole file from its start: slower than by index, and right whatever the file's index says."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

NO_STAMP = -(2**63)
DecodedPacket: TypeAlias = "tuple[Packet[VideoStream] | None, list[VideoFrame] | None]"


@dataclass(frozen=True)
class SoundFrames:
    """The frames of a file that came out of the decoder whole, in the order they are shown."""

    ordinals: array[int]
    """Place of each sound frame among all frames that come out of the decoder."""
    numbers: array[int]
    """Number of each sound frame among all frames the file holds, the damaged ones included."""
    all_shown_at: array[int]
    """Time stamp of every frame the file holds, by the stream's time base; NO_STAMP where it has none."""
    damaged_packets: int
    """Packets that did not decode, or not whole."""
    hidden_packets: int
    """Packets an edit list tells players to decode but not to show."""
    is_strict: bool
    """How they were decoded: the same frames come out only in the same way."""


def find_sound_frames(container: InputContainer, stream: VideoStream, is_strict: bool) -> SoundFrames:
    """Decode a file to its end, keeping no picture, and learn which frames are sound.

    A frame is not sound if its packet failed, if the decoder marks it as corrupt, or if it was predicted from
    such a frame: these are all frames decoded from there to the next sound key frame, and those after it in
    the file that are shown before it. Such frames often look plausible while showing another moment of the
    video.

    Args:
        container: Open file, at its start. It is left at its end.
        stream: Video stream of the file.
        is_strict: Whether a packet fails that the decoder can patch up. Patched pictures are often wrong, but
            some cameras write sound ones that look as if they needed it: be strict with damaged files only.

    Returns:
        The sound frames.
    """
    record = _Record(is_marked_early=container.format.name == "mpegts")
    for packet, frames in decode_packets(container, stream, is_strict):
        record.add(packet, frames)
    failed = record.failed | {place for place, stamp in enumerate(record.packets) if stamp in record.corrupt}
    spoilt = stamps_spoilt(record.packets, record.keys, failed)
    ordinals = array("q", [place for place, stamp in enumerate(record.frames) if stamp not in spoilt])
    all_shown_at = _all_frames(record) if failed else record.frames
    numbers = ordinals
    if all_shown_at is not record.frames:
        numbers = array("q", [bisect_left(all_shown_at, record.frames[place]) for place in ordinals])
    return SoundFrames(ordinals, numbers, all_shown_at, len(failed), record.hidden, is_strict)


def frames_at(
    container: InputContainer, stream: VideoStream, ordinals: Sequence[int], is_strict: bool
) -> Iterator[VideoFrame]:
    """Decode a file from its start and give the frames at some places.

    Args:
        container: Open file, at its start.
        stream: Video stream of the file.
        ordinals: Places among all frames that come out of the decoder, ascending.
        is_strict: As in `find_sound_frames`.

    Yields:
        The frame at each place.
    """
    wanted = iter(ordinals)
    target = next(wanted)
    place = 0
    for _, frames in decode_packets(container, stream, is_strict):
        for frame in frames or ():
            if place == target:
                yield frame
                following = next(wanted, None)
                if following is None:
                    return
                target = following
            place += 1


def decode_packets(
    container: InputContainer, stream: VideoStream, is_strict: bool
) -> Iterator[DecodedPacket]:
    """Decode a file packet by packet, going on after a packet that fails.

    Args:
        container: Open file, at its start.
        stream: Video stream of the file.
        is_strict: As in `find_sound_frames`.

    Yields:
        Each packet and the frames that came out of the decoder with it, None if the packet failed. At the end
        come the frames still held back, with an empty packet or none.
    """
    # One thread: with several, a failure is reported packets later, and the frames it spoilt cannot be told.
    stream.codec_context.thread_count = 1
    if is_strict:
        stream.codec_context.options = {"err_detect": "explode"}
    try:
        for packet in container.demux(stream):
            yield packet, _decode(packet)
    except av.error.FFmpegError:
        # The file cannot be read on. What came before it broke off is still in the decoder.
        yield None, stream.codec_context.decode(None)


def _decode(packet: Packet[VideoStream]) -> list[VideoFrame] | None:
    try:
        return packet.decode()
    except av.error.FFmpegError:
        return None


class _Record:
    """What went into the decoder and what came out of it, without the pictures: 8 bytes a frame.

    Args:
        is_marked_early: Whether the mark of a damaged packet stands on the one before it. In MPEG-TS, FFmpeg
            knows that a frame is whole when the next begins, and gives it the mark that belongs to that one.
    """

    def __init__(self, *, is_marked_early: bool) -> None:
        self.is_marked_early = is_marked_early
        self.packets = array("q")
        """Time stamp of each packet, in the order of the file."""
        self.keys = bytearray()
        """Whether each packet is a key frame."""
        self.failed: set[int] = set()
        """Places of the packets that failed."""
        self.is_marked = False
        """Whether the next packet was marked as damaged on this one."""
        self.hidden = 0
        """Packets that are decoded but not shown."""
        self.frames = array("q")
        """Time stamp of each frame, in the order they came out."""
        self.corrupt: set[int] = set()
        """Time stamps of frames marked as corrupt."""

    def add(self, packet: Packet[VideoStream] | None, frames: list[VideoFrame] | None) -> None:
        if packet is not None and packet.size > 0:
            if self.is_marked or frames is None or (packet.is_corrupt and not self.is_marked_early):
                self.failed.add(len(self.packets))
            self.is_marked = packet.is_corrupt and self.is_marked_early
            self.hidden += packet.is_discard
            self.packets.append(_stamp(packet))
            self.keys.append(packet.is_keyframe)
        for frame in frames or ():
            self.frames.append(_stamp(frame))
            if frame.is_corrupt:
                self.corrupt.add(self.frames[-1])


def _all_frames(record: _Record) -> array[int]:
    """Give the time stamps of all frames of a damaged file: by its packets, if each is one frame."""
    stamps = set(record.packets)
    if record.hidden or NO_STAMP in stamps or len(stamps) < len(record.packets):
        return record.frames
    return array("q", sorted(stamps)) if stamps.issuperset(record.frames) else record.frames


def stamps_spoilt(stamps: array[int], keys: bytearray, failed: set[int]) -> set[int]:
    """Give the time stamps of failed packets and of those that were decoded on top of them."""
    spoilt: set[int] = set()
    is_spoilt, clean_from = False, NO_STAMP
    for place, stamp in enumerate(stamps):
        if place in failed:
            is_spoilt = True
        elif keys[place] and is_spoilt:
            is_spoilt, clean_from = False, stamp
        if is_spoilt or stamp < clean_from:
            spoilt.add(stamp)
    return spoilt


def _stamp(source: Packet[VideoStream] | VideoFrame) -> int:
    return NO_STAMP if source.pts is None else source.pts
