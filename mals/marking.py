"""The mark of a synthetic picture: IPTC's DigitalSourceType as XMP, put into a JPEG without touching its pixels."""

from mals.grid import Damaged

NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"  # what an APP1 segment with XMP begins with (XMP specification, part 3)
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PACKET = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{SOURCE}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
).encode()
SEGMENT = b"\xff\xe1" + (len(NAMESPACE) + len(PACKET) + 2).to_bytes(2, "big") + NAMESPACE + PACKET


def marked(jpeg: bytes) -> bytes:
    """The same JPEG with the mark behind its JFIF header; raises Damaged for what is no JPEG. A picture that is marked stays as it is."""
    if jpeg[:3] != b"\xff\xd8\xff":
        raise Damaged("a crop is not a JPEG")
    if SEGMENT in jpeg[: 4 * len(SEGMENT)]:
        return jpeg
    at = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[3] == 0xE0 else 2
    return jpeg[:at] + SEGMENT + jpeg[at:]
