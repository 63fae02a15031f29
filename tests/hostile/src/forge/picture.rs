//! PNG pictures: chunks with their checksums. Other pictures are changed byte by byte.

use chiffre_testing::Rng;

const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Chunks that decoders know.
const NAMES: [&[u8; 4]; 12] = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"fdAT"];
/// Extents and depths that a header may have.
const EXTENTS: [u32; 7] = [0, 1, 4, 5, 65_536, 0x7FFF_FFFF, u32::MAX];

/// The picture with one change of a chunk, all of whose checksums are right.
pub fn change(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let mut chunks = chunks(file)?;
    let at = rng.below(chunks.len().max(1));
    match rng.below(7) {
        0 => chunks.get_mut(at)?.0 = **rng.one_of(&NAMES),
        1 => {
            let copy = chunks.get(at)?.clone();
            chunks.insert(rng.below(chunks.len() + 1), copy);
        }
        2 => drop(chunks.remove(at)),
        3 => {
            let name = **rng.one_of(&NAMES);
            let content = (0..rng.below(40)).map(|_| rng.word() as u8).collect();
            chunks.insert(rng.below(chunks.len() + 1), (name, content));
        }
        4 => {
            // Other extents, in one number.
            let header = chunks.iter_mut().find(|c| &c.0 == b"IHDR" && c.1.len() == 13)?;
            let place = 4 * rng.below(2);
            header.1[place..place + 4].copy_from_slice(&rng.one_of(&EXTENTS).to_be_bytes());
        }
        5 => {
            // Another kind of pixels, with rows that may fit them.
            let header = chunks.iter_mut().find(|c| &c.0 == b"IHDR" && c.1.len() == 13)?;
            header.1[8] = [1, 2, 4, 8, 16, 3][rng.below(6)];
            header.1[9] = [0, 2, 3, 4, 6, 1][rng.below(6)];
            header.1[12] = rng.below(2) as u8;
            let data = chunks.iter_mut().find(|c| &c.0 == b"IDAT")?;
            data.1 = zlib(&(0..rng.below(200)).map(|_| rng.below(6) as u8).collect::<Vec<_>>());
        }
        _ => {
            let chunk = chunks.get_mut(at)?;
            chunk.1 = super::raw::change(&chunk.1, rng);
        }
    }
    Some(png(&chunks))
}

/// A PNG picture of these chunks.
pub fn png(chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (name, content) in chunks {
        out.extend((content.len() as u32).to_be_bytes());
        let checked = [&name[..], content].concat();
        out.extend(&checked);
        out.extend(crc32(&checked).to_be_bytes());
    }
    out
}

fn chunks(file: &[u8]) -> Option<Vec<([u8; 4], Vec<u8>)>> {
    let mut rest = file.strip_prefix(MAGIC)?;
    let mut out = vec![];
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (name, behind) = behind.split_first_chunk::<4>()?;
        let (content, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        out.push((*name, content.to_vec()));
        rest = behind.get(4..)?;
    }
    (!out.is_empty()).then_some(out)
}

/// The checksum of PNG's chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &b| (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 }))
}

/// A stream of zlib that holds the bytes as they are (RFC 1950, RFC 1951).
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), &x| {
        let a = (a + u32::from(x)) % 65_521;
        (a, (a + b) % 65_521)
    });
    let head = [0x78, 0x01, 0x01];
    [&head[..], &length.to_le_bytes(), &(!length).to_le_bytes(), bytes, &(b << 16 | a).to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(zlib(b"abc")[10..], 0x024D_0127u32.to_be_bytes());
    }
}
