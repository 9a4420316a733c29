//! The media type of a recording, by its first bytes. The sender's `Content-Type` is not trusted.

/// The number of bytes that decide the media type.
pub(crate) const HEAD_BYTES: usize = 12;

/// The media type of a file that starts with these bytes.
pub(crate) fn media_type(head: &[u8]) -> &'static str {
    match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => "audio/wav",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "video/mp4",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "video/webm",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [b'I', b'D', b'3', ..] => "audio/mpeg",
        // An MPEG frame begins with eleven bits that are set.
        [0xff, second, ..] if second & 0xe0 == 0xe0 => "audio/mpeg",
        // A browser saves a file of this type and does not show it.
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide_the_media_type() {
        for (head, expected) in [
            (&b"RIFF\x24\x00\x00\x00WAVEfmt "[..], "audio/wav"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"\x1a\x45\xdf\xa3\x01", "video/webm"),
            (b"OggS\0\x02", "audio/ogg"),
            (b"fLaC\0", "audio/flac"),
            (b"ID3\x04", "audio/mpeg"),
            (b"\xff\xfb\x90", "audio/mpeg"),
            (b"<html><script>", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ] {
            assert_eq!(media_type(head), expected);
        }
    }
}
