"""Forms with files: what browsers send is taken apart byte for byte, and anything else is nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.safety.multipart import parts_of

KIND = "multipart/form-data; boundary=----edge"


def body_of(content: bytes, name: str) -> bytes:
    head = f'------edge\r\nContent-Disposition: form-data; name="photo"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n------edge--\r\n"


@given(content=st.binary(max_size=300).filter(lambda data: b"----edge" not in data))
def test_a_file_comes_out_as_it_was_sent(content: bytes) -> None:
    (part,) = parts_of(KIND, body_of(content, "käfer 🛵.png"))
    assert (part.name, part.filename, part.content) == ("photo", "käfer 🛵.png", content)


@given(kind=st.text(max_size=60), body=st.binary(max_size=200))
def test_what_is_no_form_breaks_nothing(kind: str, body: bytes) -> None:
    for where in (KIND, f"multipart/form-data; boundary={kind}", kind):
        assert all(part.content in body for part in parts_of(where, body))
