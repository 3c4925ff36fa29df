"""The mark of a synthetic picture: IPTC's DigitalSourceType as XMP, put into a JPEG without touching its pixels."""

from functools import cache

from mals.grid.cells import Damaged

NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"  # what an APP1 segment with XMP begins with (XMP specification, part 3)
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
DRAWN = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"  # by an algorithm that learnt from no media
PACKET = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{source}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


@cache
def segment(source: str) -> bytes:
    """The APP1 segment that says where a picture is from."""
    packet = PACKET.format(source=source).encode()
    return b"\xff\xe1" + (len(NAMESPACE) + len(packet) + 2).to_bytes(2, "big") + NAMESPACE + packet


def marked(jpeg: bytes, source: str = SOURCE) -> bytes:
    """The same JPEG with the mark behind its JFIF header; raises Damaged for what is no JPEG. A picture that is marked stays as it is."""
    if jpeg[:3] != b"\xff\xd8\xff":
        raise Damaged("a crop is not a JPEG")
    mark = segment(source)
    if mark in jpeg[: 4 * len(mark)]:
        return jpeg
    at = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[3] == 0xE0 else 2
    return jpeg[:at] + mark + jpeg[at:]
