"""The mark of a synthetic image: IPTC's DigitalSourceType as XMP, put into a JPEG without a change to its pixels."""

from functools import cache

from mals.grid.cells import Damaged

XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"  # the first bytes of an APP1 segment with XMP (XMP specification, part 3)
PACKET = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{source_type}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


@cache
def xmp_segment(source_type: str) -> bytes:
    """The APP1 segment that states the source of an image, an address as in `mals.origin.SOURCE_TYPES`."""
    packet = PACKET.format(source_type=source_type).encode()
    return b"\xff\xe1" + (len(XMP_HEADER) + len(packet) + 2).to_bytes(2, "big") + XMP_HEADER + packet


def with_xmp(jpeg: bytes, source_type: str) -> bytes:
    """The same JPEG with the segment behind its JFIF header; unchanged if it has the segment. Raises Damaged if it is not a JPEG."""
    if jpeg[:3] != b"\xff\xd8\xff":
        raise Damaged("a crop is not a JPEG")
    segment = xmp_segment(source_type)
    if segment in jpeg[: 4 * len(segment)]:  # it is near the start: only the JFIF header comes before it
        return jpeg
    end = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[3] == 0xE0 else 2
    return jpeg[:end] + segment + jpeg[end:]
