//! Where the complete Zstandard frames of a file end (RFC 8878, section 3.1). Only headers are read, and the
//! last frame is decoded: earlier ones were safe on disk before it was begun.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// First four bytes of a frame.
const MAGIC: u32 = 0xFD2F_B528;

/// First four bytes of a frame that decoders skip, but for its lowest four bits.
const SKIPPABLE: u32 = 0x184D_2A50;

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// With a complete frame, or it is empty.
    Complete,
    /// With a frame that is cut off or damaged.
    Torn {
        /// Where that frame begins.
        from: u64,
    },
    /// With something else.
    Foreign {
        /// Where that begins.
        at: u64,
    },
}

/// One frame.
enum Frame {
    Ends(u64),
    Torn,
    Foreign,
}

/// Looks through a file of `len` bytes.
pub(super) fn examine(file: &mut (impl Read + Seek), len: u64) -> io::Result<Tail> {
    let mut reader = Reader { inner: BufReader::new(file), at: 0, len };
    let (mut last, mut tail) = (None, Tail::Complete);
    while reader.at < len && tail == Tail::Complete {
        let begins = reader.at;
        tail = match reader.frame()? {
            Frame::Ends(end) => {
                last = Some((begins, end));
                Tail::Complete
            }
            Frame::Torn => Tail::Torn { from: begins },
            // The file had grown, and its bytes did not reach the disk.
            Frame::Foreign if reader.only_zeros_from(begins)? => Tail::Torn { from: begins },
            Frame::Foreign => return Ok(Tail::Foreign { at: begins }),
        }
    }
    // Also before a torn one: zeros in the middle of a frame can make two out of it.
    match last {
        Some((begins, end)) if !reader.decodes(begins, end)? => Ok(Tail::Torn { from: begins }),
        _ => Ok(tail),
    }
}

struct Reader<R> {
    inner: BufReader<R>,
    at: u64,
    len: u64,
}

impl<R: Read + Seek> Reader<R> {
    /// Up to four bytes as a little-endian number; `None` when the file ends before.
    fn number<const N: usize>(&mut self) -> io::Result<Option<u32>> {
        let mut bytes = [0; 4];
        if self.len - self.at < N as u64 {
            return Ok(None);
        }
        self.inner.read_exact(&mut bytes[..N])?;
        self.at += N as u64;
        Ok(Some(u32::from_le_bytes(bytes)))
    }

    /// Passes over bytes; `false` when the file ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        if self.len - self.at < bytes {
            return Ok(false);
        }
        self.inner.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX))?;
        self.at += bytes;
        Ok(true)
    }

    fn frame(&mut self) -> io::Result<Frame> {
        let Some(magic) = self.number::<4>()? else {
            let mut rest = Vec::new();
            self.inner.read_to_end(&mut rest)?;
            let torn = MAGIC.to_le_bytes().starts_with(&rest);
            return Ok(if torn { Frame::Torn } else { Frame::Foreign });
        };
        let complete = match magic {
            MAGIC => self.blocks()?,
            other if other & !0xf == SKIPPABLE => match self.number::<4>()? {
                Some(size) => self.skip(u64::from(size))?,
                None => false,
            },
            _ => return Ok(Frame::Foreign),
        };
        Ok(if complete { Frame::Ends(self.at) } else { Frame::Torn })
    }

    /// Passes over the rest of the header, the blocks and the checksum; `false` when the file ends before.
    fn blocks(&mut self) -> io::Result<bool> {
        let Some(descriptor) = self.number::<1>()? else { return Ok(false) };
        let single_segment = descriptor & 0x20 != 0;
        let window = u64::from(!single_segment);
        let dictionary = [0, 1, 2, 4][(descriptor & 3) as usize];
        let content_size = match descriptor >> 6 {
            0 => u64::from(single_segment),
            flag => 1 << flag,
        };
        if !self.skip(window + dictionary + content_size)? {
            return Ok(false);
        }
        loop {
            let Some(header) = self.number::<3>()? else { return Ok(false) };
            // A run-length block is one byte, whatever its size says.
            let size = if header >> 1 & 3 == 1 { 1 } else { u64::from(header >> 3) };
            if !self.skip(size)? {
                return Ok(false);
            }
            if header & 1 == 1 {
                return self.skip(if descriptor & 4 != 0 { 4 } else { 0 });
            }
        }
    }

    fn only_zeros_from(&mut self, from: u64) -> io::Result<bool> {
        self.inner.seek(SeekFrom::Start(from))?;
        let mut bytes = [0; 8192];
        loop {
            match self.inner.read(&mut bytes)? {
                0 => return Ok(true),
                n if bytes[..n].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }

    /// Whether one frame can be decoded; its checksum is checked with it.
    fn decodes(&mut self, begins: u64, end: u64) -> io::Result<bool> {
        self.inner.seek(SeekFrom::Start(begins))?;
        let frame = Read::by_ref(&mut self.inner).take(end - begins);
        let mut decoder = zstd::stream::read::Decoder::new(frame)?;
        Ok(io::copy(&mut decoder, &mut io::sink()).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn frame(text: &[u8], checksum: bool, known_size: bool) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(checksum).unwrap();
        if known_size {
            encoder.set_pledged_src_size(Some(text.len() as u64)).unwrap();
        }
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn frames_of_every_shape_are_walked_and_every_cut_is_found() {
        let noise: Vec<u8> = (0..300_000).map(|_| fastrand::u8(..)).collect();
        for text in [&b""[..], b"x", &[7; 200_000], &noise, &noise[..300], &noise[..70_000]] {
            for (checksum, known_size) in
                [(true, true), (true, false), (false, true), (false, false)]
            {
                let mut bytes = frame(b"before", true, false);
                let from = bytes.len() as u64;
                bytes.extend(frame(text, checksum, known_size));
                let len = bytes.len() as u64;
                assert_eq!(examine(&mut Cursor::new(&bytes), len).unwrap(), Tail::Complete);
                for cut in (from + 1..len).step_by((text.len() / 50).max(1)) {
                    let bytes = &bytes[..usize::try_from(cut).unwrap()];
                    let tail = examine(&mut Cursor::new(bytes), cut).unwrap();
                    assert_eq!(tail, Tail::Torn { from }, "{} bytes, cut at {cut}", text.len());
                }
            }
        }
    }

    #[test]
    fn a_skippable_frame_is_skipped_and_other_text_is_not() {
        let mut bytes = vec![0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        bytes.extend(frame(b"x", true, true));
        let len = bytes.len() as u64;
        assert_eq!(examine(&mut Cursor::new(&bytes), len).unwrap(), Tail::Complete);
        bytes.extend(b"text");
        let tail = examine(&mut Cursor::new(&bytes), len + 4).unwrap();
        assert_eq!(tail, Tail::Foreign { at: len });
    }
}
