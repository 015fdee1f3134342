//! What a file says of itself, put right after a change, so that a reader goes on to what the change did.

use flate2::Crc;

/// A safetensors file whose first number is the length of its header.
pub fn header(mut file: Vec<u8>) -> Vec<u8> {
    if let Some((len, rest)) = file.split_first_chunk_mut() {
        *len = (header_len(rest) as u64).to_le_bytes();
    }
    file
}

/// The length of the object in JSON at the start, and of spaces behind it.
fn header_len(bytes: &[u8]) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let closes = bytes.iter().position(|&byte| {
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && quoted && !escaped;
        match byte {
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && byte == b'}' && !quoted
    });
    let end = closes.map_or(bytes.len(), |at| at + 1);
    end + bytes[end..].iter().take_while(|&&byte| byte == b' ').count()
}

/// A checkpoint with the checksum of its bytes.
pub fn checksum(mut file: Vec<u8>) -> Vec<u8> {
    const BEFORE: &[u8] = br#"{"__metadata__":{"checkpoint":"checksum "#;
    let start = 8 + BEFORE.len();
    if let Some(place) = file.get_mut(start..start + 8) {
        place.copy_from_slice(b"00000000");
        let sum = format!("{:08x}", crc32(&file));
        file[start..start + 8].copy_from_slice(sum.as_bytes());
    }
    file
}

/// A PNG file with the checksums of its chunks.
pub fn chunks(mut file: Vec<u8>) -> Vec<u8> {
    let mut at = 8;
    while let Some(&len) = file.get(at..).and_then(|chunk| chunk.first_chunk()) {
        let end = (at + 8).saturating_add(u32::from_be_bytes(len) as usize);
        if end.saturating_add(4) > file.len() {
            break;
        }
        let sum = crc32(&file[at + 4..end]);
        file[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
