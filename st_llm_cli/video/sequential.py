"""Decoding a whole file from its start: slower than by index, and right whatever the file's index says."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

NO_STAMP = -(2**63)


@dataclass(frozen=True)
class SoundFrames:
    """The frames of a file that came out of the decoder whole."""

    ordinals: array[int]
    """Place of each sound frame among all frames that come out of the decoder."""
    shown_at: array[int]
    """Time stamp of each sound frame, in units of the stream's time base; NO_STAMP where it has none."""
    damaged_packets: int
    """Packets that did not decode, or not whole."""


def find_sound_frames(container: InputContainer, stream: VideoStream) -> SoundFrames:
    """Decode a file to its end, keeping no picture, and learn which frames are sound.

    A frame is not sound if its packet failed, if the decoder marks it as corrupt, or if it was predicted from
    such a frame: these are all frames decoded from there to the next sound key frame, and those after it in
    the file that are shown before it. Such frames often look plausible while showing another moment of the
    video.

    Args:
        container: Open file, at its start. It is left at its end.
        stream: Video stream of the file.

    Returns:
        The sound frames, in the order they are shown.
    """
    packet_stamps, packet_keys, failed = array("q"), bytearray(), set[int]()
    shown_at, corrupt = array("q"), set[int]()
    for packet, frames in decode_packets(container, stream):
        if packet.size > 0:
            if frames is None or packet.is_corrupt:
                failed.add(len(packet_stamps))
            packet_stamps.append(_stamp(packet))
            packet_keys.append(packet.is_keyframe)
        for frame in frames or ():
            if frame.is_corrupt:
                corrupt.add(_stamp(frame))
            shown_at.append(_stamp(frame))
    failed.update(place for place, stamp in enumerate(packet_stamps) if stamp in corrupt)
    unsound = _stamps_spoilt(packet_stamps, packet_keys, failed)
    ordinals = array("q", [place for place, stamp in enumerate(shown_at) if stamp not in unsound])
    return SoundFrames(ordinals, array("q", [shown_at[place] for place in ordinals]), len(failed))


def frames_at(
    container: InputContainer, stream: VideoStream, ordinals: Sequence[int]
) -> Iterator[VideoFrame]:
    """Decode a file from its start and give the frames at some places.

    Args:
        container: Open file, at its start.
        stream: Video stream of the file.
        ordinals: Places among all frames that come out of the decoder, ascending.

    Yields:
        The frame at each place.
    """
    wanted = iter(ordinals)
    target = next(wanted)
    place = 0
    for _, frames in decode_packets(container, stream):
        for frame in frames or ():
            if place == target:
                yield frame
                following = next(wanted, None)
                if following is None:
                    return
                target = following
            place += 1


def decode_packets(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[Packet[VideoStream], list[VideoFrame] | None]]:
    """Decode a file packet by packet, going on after a packet that fails.

    Args:
        container: Open file, at its start.
        stream: Video stream of the file.

    Yields:
        Each packet and the frames that came out of the decoder with it, None if the packet failed. The last
        packet is empty and brings the frames still held back.
    """
    # One thread: with several, a failure is reported packets later, and the frames it spoilt cannot be told.
    stream.codec_context.thread_count = 1
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            # The file ends in the middle of a packet, or cannot be read on: what was decoded until here is
            # sound.
            packet: Packet[VideoStream] = Packet()
            packet.stream = stream
        try:
            yield packet, packet.decode()
        except av.error.FFmpegError:
            yield packet, None


def _stamps_spoilt(stamps: array[int], keys: bytearray, failed: set[int]) -> set[int]:
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
